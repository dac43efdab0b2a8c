// The second door: between a right password and a session.
import { randomBytes } from "node:crypto";
import { Countersign, CountersignError } from "countersign/server";
import express from "express";
import { page, safe } from "./page.js";

const HANDLE = "device"; // the cookie with what a remembered browser shows
const WAITING = "door"; // the cookie of a browser that is at the door
const ten = 10 * 60 * 1000; // minutes: as long as a flow lasts
const words = { sms: "by text message", email: "by e-mail" };

// What people are told of a refusal, by its code: what Countersign says of it is for whoever develops, and goes to the log.
const refusals = {
  code_refused: "That is not the code. Look at the newest message.",
  resend_too_soon: "A code is on its way. Please wait a moment before you ask for another.",
  too_many_attempts: "That was tried too often. Please try again later.",
  flow_ended: "That took too long. Please sign in again.",
  account_locked: "This account is locked. Please write to us.",
};
const last = ["flow_ended", "too_many_attempts", "account_locked"]; // those that end the sign-in

export function logged(error) {
  if (!(error instanceof CountersignError)) return error;
  const { code, message, requestId, cause } = error;
  return `countersign: ${code}: ${message} (${requestId ? "request " + requestId : cause?.cause ?? cause})`;
}

export function secondDoor({ url, id, secret, site, strict, letIn }) {
  const countersign = new Countersign({ url, id, secret });
  const waiting = new Map(); // who is at the door; the flow never leaves this server

  const cookie = (req, name) => req.headers.cookie?.split("; ").find((c) => c.startsWith(name + "="))?.slice(name.length + 1);
  const person = (req) => ({ address: req.ip, user_agent: req.get("User-Agent")?.slice(0, 1024) });

  const at = (req) => waiting.get(cookie(req, WAITING));

  async function go(req, res, mine, answer) {
    if (answer.device) res.cookie(HANDLE, answer.device.handle, { ...strict, expires: new Date(answer.device.expires_at) });
    if (answer.allowed) {
      waiting.delete(mine.key);
      res.clearCookie(WAITING, strict);
      return letIn(res, mine.user);
    }
    Object.assign(mine, { step: answer.step, nonce: answer.nonce, ways: answer.ways ?? [] });
    if (mine.step === "second" && !mine.sent) await send(req, mine, mine.ways.find((way) => words[way]));
    res.redirect(303, "/door");
  }

  async function send(req, mine, way) {
    if (!words[way]) return;
    await countersign.sendCode({ flow: mine.flow, way, person: person(req) });
    mine.sent = way;
  }

  // begin is called when the password was right.
  async function begin(req, res, user) {
    const handle = cookie(req, HANDLE);
    const asked = { reference: user.id, site, devices: handle ? [handle] : [], person: person(req) };
    const answer = await countersign.begin(asked).catch(async (error) => {
      if (error.code !== "account_unknown") throw error;
      await countersign.putAccount(user.id, { email: user.email, language: "en" }); // the first time since the second door is there
      return countersign.begin(asked);
    });
    const key = randomBytes(32).toString("base64url");
    const mine = { key, user, handle, flow: answer.flow };
    waiting.set(key, mine);
    setTimeout(() => waiting.delete(key), ten).unref();
    res.cookie(WAITING, key, { ...strict, maxAge: ten });
    await go(req, res, mine, answer);
  }

  const router = express.Router();
  router.get("/countersign/browser.js", (req, res) => res.sendFile(new URL(import.meta.resolve("countersign/browser")).pathname));

  router.get("/door", (req, res) => {
    const mine = at(req);
    if (!mine) return res.redirect(303, "/signin");
    const form = (action, inner) => `<form method="post" action="/door/${action}" data-step="${action}" data-nonce="${safe(mine.nonce)}">${inner}</form>`;
    const script = `<script type="module" src="/door.js"></script>`;
    if (mine.step === "device") {
      return res.send(page("One moment", form("device", `<input type="hidden" name="signature"><noscript><button>Continue</button></noscript>`) + script));
    }
    const problem = mine.problem ?? "";
    delete mine.problem;
    res.send(page("Enter the code", `<p role="alert">${safe(problem)}</p><p>We do not know this device yet. We have sent you a code ${words[mine.sent] ?? ""}.</p>` +
      form("code", `<p><label for="code">Code</label> <input id="code" name="code" required></p>
        <p hidden><label for="remember">Remember this device</label> <input id="remember" name="remember" type="checkbox"></p>
        <input type="hidden" name="public_key"><input type="hidden" name="signature"><p><button>Continue</button></p>`) +
      mine.ways.filter((way) => words[way]).map((way) => form("send", `<button name="way" value="${way}">Send ${way === mine.sent ? "another" : "a"} code ${words[way]}</button>`)).join("") + script));
  });

  // step answers a form of the door; what Countersign refuses the person is told.
  const step = (act) => async (req, res) => {
    const mine = at(req);
    if (!mine) return res.redirect(303, "/signin");
    try {
      await act(req, res, mine);
    } catch (error) {
      if (!(error instanceof CountersignError) || error.status === 0 || error.status >= 500) throw error;
      if (error.code !== "code_refused") console.error(logged(error)); // a wrong code is nobody's fault here
      const problem = refusals[error.code] ?? "That did not work. Please try again.";
      if (last.includes(error.code)) {
        waiting.delete(mine.key);
        res.clearCookie(WAITING, strict);
        return res.status(error.status).send(page("Not signed in", `<p role="alert">${safe(problem)}</p><p><a href="/signin">Sign in</a></p>`));
      }
      mine.problem = problem;
      res.redirect(303, "/door");
    }
  };

  router.post("/door/device", step(async (req, res, mine) => {
    const { signature } = req.body;
    const device = signature ? { handle: mine.handle, signature } : undefined;
    await go(req, res, mine, await countersign.device({ flow: mine.flow, device, person: person(req) }));
  }));

  router.post("/door/send", step(async (req, res, mine) => {
    await send(req, mine, req.body.way);
    res.redirect(303, "/door");
  }));

  router.post("/door/code", step(async (req, res, mine) => {
    const { code, public_key, signature } = req.body;
    const remember = public_key && signature ? { public_key, signature, handle: mine.handle } : undefined;
    await go(req, res, mine, await countersign.code({ flow: mine.flow, code, remember, person: person(req) }));
  }));

  return { begin, router };
}
