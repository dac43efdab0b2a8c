// An application with users and passwords of its own. With SECOND_DOOR=off it is as it was before: whoever has the password is in.
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import express from "express";
import { logged, secondDoor } from "./door.js";
import { page, safe } from "./page.js";

const port = Number(process.env.PORT ?? 3000);
const origin = `http://localhost:${port}`;
const file = process.env.USERS ?? "users.json";

const hash = promisify(scrypt);
const cost = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 }; // OWASP's, for 32 MiB

async function hashed(password, salt = randomBytes(16).toString("base64")) {
  return { salt, hash: (await hash(password, salt, 32, cost)).toString("base64") };
}

// The table of users: it knows nothing of Countersign, before as after.
async function users() {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  const made = [{ id: "u-17", name: "Ada", email: "ada@example.org", ...(await hashed("violet harbour engine 7")) }];
  writeFileSync(file, JSON.stringify(made, null, 2), { mode: 0o600 });
  return made;
}

const all = await users();
const nobody = await hashed(randomBytes(16).toString("hex")); // who is not there takes as long

async function passwordRight(email, password) {
  const user = all.find((u) => u.email === email);
  const kept = user ?? nobody;
  const { hash: given } = await hashed(password, kept.salt);
  return timingSafeEqual(Buffer.from(given), Buffer.from(kept.hash)) && user;
}

const sessions = new Map(); // token to user

function cookie(req, name) {
  return req.headers.cookie?.split("; ").find((c) => c.startsWith(name + "="))?.slice(name.length + 1);
}

const strict = { httpOnly: true, secure: true, sameSite: "lax", path: "/" };

function letIn(res, user) {
  const token = randomBytes(32).toString("base64url");
  sessions.set(token, user);
  res.cookie("session", token, strict).redirect(303, "/");
}

const app = express();
app.disable("x-powered-by");
app.use(express.static(new URL("public", import.meta.url).pathname));
app.use(express.urlencoded({ extended: false }));
app.use((req, res, next) => {
  res.set({ "Cache-Control": "no-store", "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; form-action 'self'" });
  if (req.method === "GET" || req.headers.origin === origin) return next();
  res.status(403).send("A form of another site."); // nobody else's page signs people in or out
});

const door = process.env.SECOND_DOOR === "off" ? undefined : secondDoor({
  url: process.env.COUNTERSIGN_URL ?? "http://localhost:8080",
  id: "photos",
  secret: process.env.COUNTERSIGN_SECRET ?? "the-secret-of-the-demo-and-of-nothing-else",
  site: origin,
  strict, letIn,
});

function signInPage(problem = "") {
  return page("Sign in", `<p role="alert">${safe(problem)}</p><form method="post" action="/signin">
    <p><label for="email">E-mail</label> <input id="email" name="email" type="email" autocomplete="username" required></p>
    <p><label for="password">Password</label> <input id="password" name="password" type="password" autocomplete="current-password" required></p>
    <p><button>Sign in</button></p></form>`);
}

app.get("/signin", (req, res) => res.send(signInPage()));

app.post("/signin", async (req, res) => {
  const user = await passwordRight(String(req.body.email), String(req.body.password));
  if (!user) return res.status(401).send(signInPage("That is not right."));
  if (door) return door.begin(req, res, user); // this line is the second door
  letIn(res, user);
});

app.post("/signout", (req, res) => {
  sessions.delete(cookie(req, "session"));
  res.clearCookie("session", strict).redirect(303, "/signin");
});

app.get("/", (req, res) => {
  const user = sessions.get(cookie(req, "session"));
  if (!user) return res.redirect(303, "/signin");
  res.send(page("Photos", `<p>Hello ${safe(user.name)}, here are your photos.</p><form method="post" action="/signout"><button>Sign out</button></form>`));
});

if (door) app.use(door.router);

app.use((error, req, res, next) => {
  console.error(logged(error));
  res.status(503).send(page("Not now", "<p>That does not work at the moment. Please try again later.</p>"));
});

app.listen(port, "localhost", () => console.log(`Photos is ready: ${origin}`));
