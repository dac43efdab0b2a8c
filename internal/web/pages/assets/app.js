// What a form cannot do alone. Every page works without this file; whatever fails here, the form
// goes out as it would have without it.

const STORE = "keys";
const KEY = "device";

// database opens the one store that holds the device's key.
function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("countersign", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

async function inStore(mode, act) {
  const db = await database();
  try {
    return await new Promise((resolve, reject) => {
      const change = db.transaction(STORE, mode);
      const request = act(change.objectStore(STORE));
      change.oncomplete = () => resolve(request.result);
      change.onerror = change.onabort = () => reject(change.error);
    });
  } finally {
    db.close();
  }
}

const readKey = () => inStore("readonly", (store) => store.get(KEY));

// makeKey returns the device's key pair. Two tabs at once agree on one: add fails for the second.
async function makeKey() {
  const kept = await readKey();
  if (kept) return kept;
  const made = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  try {
    await inStore("readwrite", (store) => store.add(made, KEY));
  } catch {
    // the other tab was first
  }
  return readKey();
}

const canKeepKeys = () => Boolean(window.isSecureContext && globalThis.crypto?.subtle && globalThis.indexedDB);

function base64url(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// sign proves the key for this flow and this origin. WebCrypto gives r and s, 64 bytes.
async function sign(pair, purpose, form) {
  const statement = ["countersign-device-v1", purpose, form.dataset.origin, form.dataset.nonce].join("\n");
  const bytes = new TextEncoder().encode(statement);
  return base64url(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, bytes));
}

const atMost = (ms, work) => Promise.race([work, new Promise((_, reject) => setTimeout(reject, ms, new Error("late")))]);

// recognise answers the device page at once, with a proof if there is a key.
async function recognise(form) {
  try {
    const pair = canKeepKeys() && (await atMost(3000, readKey()));
    if (pair) form.elements.signature.value = await sign(pair, "recognise", form);
  } catch {
    // no proof: the server asks for a code
  }
  form.submit();
}

// approve proves that this device is the recognised one, and takes a number that was scanned from behind the #.
function approve(form) {
  const [id, number] = location.hash.slice(1).split(".");
  if (id === form.dataset.nonce && /^\d{6}$/.test(number)) {
    form.elements.number.value = number;
    history.replaceState(null, "", location.pathname + location.search);
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.going) return;
    form.dataset.going = "yes";
    try {
      const pair = canKeepKeys() && (await atMost(3000, readKey()));
      if (pair) form.elements.signature.value = await sign(pair, "approve", form);
    } catch {
      // no proof: the server says so
    }
    form.submit();
  });
}

// awaitApproval asks whether another device has let this one in, and goes on when it has.
function awaitApproval(form) {
  form.querySelector("[data-scripted]").hidden = false;
  const go = async () => {
    const answer = await fetch(form.dataset.await).catch(() => null);
    const state = answer?.ok ? (await answer.json()).state : answer?.status === 410 ? "over" : "waiting";
    if (state === "waiting") return setTimeout(go, 3000);
    if (state !== "approved") return location.reload();
    await prove(form);
    form.submit();
  };
  setTimeout(go, 2000);
}

// watchSent asks a few times what became of the message with the code.
function watchSent(line, pauses) {
  setTimeout(async () => {
    const answer = await fetch(line.dataset.sent).catch(() => null);
    const words = answer?.ok && line.dataset[(await answer.json()).state];
    if (words) line.textContent = words;
    else if (pauses.length) watchSent(line, pauses);
  }, pauses.shift());
}

// prove adds the key to a form in which the device is to be remembered.
async function prove(form) {
  if (!form.elements.remember?.checked || !canKeepKeys()) return;
  try {
    const pair = await atMost(5000, makeKey());
    const signature = await sign(pair, "remember", form);
    form.elements.public_key.value = base64url(await crypto.subtle.exportKey("spki", pair.publicKey));
    form.elements.signature.value = signature;
  } catch {
    form.elements.public_key.value = form.elements.signature.value = "";
  }
}

// remember offers to remember the device, where a key can be kept.
function remember(box) {
  const form = box.closest("form");
  form.querySelector(canKeepKeys() ? "[data-remember]" : "[data-cannot-remember]").hidden = false;
  if ("keep" in form.dataset) return; // that sends the form itself
  form.addEventListener("submit", async (event) => {
    if (!form.elements.remember.checked || !canKeepKeys()) return;
    event.preventDefault();
    if (form.dataset.going) return;
    form.dataset.going = "yes";
    await prove(form);
    form.submit();
  });
}

// fromText offers to fill in a code that has just come by text message, where the browser can.
async function fromText(form) {
  if ((form.dataset.code ?? form.dataset.otp) !== "sms" || !("OTPCredential" in window)) return;
  const stop = new AbortController();
  form.addEventListener("submit", () => stop.abort());
  window.addEventListener("pagehide", () => stop.abort());
  try {
    const found = await navigator.credentials.get({ otp: { transport: ["sms"] }, signal: stop.signal });
    if (found?.code && !form.elements.code.value) form.elements.code.value = found.code;
  } catch {
    // refused, stopped, or nothing came: it can be typed
  }
}

// Passkeys (WebAuthn Level 3). A browser that cannot use them shows no button for them.
const canPasskey = () => Boolean(window.isSecureContext && window.PublicKeyCredential?.parseRequestOptionsFromJSON);

let ceremony; // a page has one at a time: the one under way is stopped before another begins

async function inCeremony(act) {
  ceremony?.abort();
  const mine = (ceremony = new AbortController());
  try {
    return await act(mine.signal);
  } catch (error) {
    return { error, stopped: mine.signal.aborted };
  }
}

function show(root, selector, shown) {
  root.querySelectorAll(selector).forEach((e) => (e.hidden = !shown));
}

// answered sends the answer of a passkey, and where there is a key of this device its proof. If the passkey's
// authenticator is a part of this device, the device is the person's own, and is recognised from now on.
async function answered(form, credential) {
  form.elements.response.value = JSON.stringify(credential.toJSON());
  if (form.dataset.nonce && canKeepKeys()) {
    try {
      const mine = credential.authenticatorAttachment === "platform";
      const pair = await atMost(5000, mine ? makeKey() : readKey());
      if (pair) form.elements.recognise.value = await sign(pair, "recognise", form);
      if (mine) {
        form.elements.signature.value = await sign(pair, "remember", form);
        form.elements.public_key.value = base64url(await crypto.subtle.exportKey("spki", pair.publicKey));
        form.elements.remember.value = "on";
      }
    } catch {
      // not recognised, and signed in all the same
    }
  }
  form.submit();
}

// passkey asks for one when its button is pressed, and where the form says so offers them among the names that
// the browser fills in.
async function passkey(form) {
  if (!canPasskey()) return show(document, "[data-no-passkeys]", true);
  const options = JSON.parse(form.dataset.passkey);
  form.dataset.nonce = options.challenge;
  form.hidden = false;
  const ask = async (mediation) => {
    const got = await inCeremony((signal) =>
      navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options), mediation, signal }));
    if (got && !got.error) return answered(form, got);
    if (got?.stopped || mediation === "conditional") return;
    show(form, "[data-failed]", true);
    offer();
  };
  const offer = async () => {
    if ("autofill" in form.dataset && (await PublicKeyCredential.isConditionalMediationAvailable?.())) ask("conditional");
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show(form, "[data-failed]", false);
    ask();
  });
  // The challenge lasts ten minutes. A page that nobody has typed into gets another before that.
  setTimeout(() => {
    const typed = [...document.querySelectorAll("input:not([type=hidden], [type=checkbox])")].some((field) => field.value);
    if (form.isConnected && !typed) location.assign(form.action.endsWith("/signin/passkey") ? "/signin" : location.href);
  }, Math.max(60_000, options.timeout - 60_000));
  offer();
}

function newPasskey(form) {
  if (!canPasskey()) return show(document, "[data-no-passkeys]", true);
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    show(form, "[data-failed], [data-there-already]", false);
    const options = PublicKeyCredential.parseCreationOptionsFromJSON(JSON.parse(form.dataset.newPasskey));
    const made = await inCeremony((signal) => navigator.credentials.create({ publicKey: options, signal }));
    if (made && !made.error) return answered(form, made);
    if (!made?.stopped) show(form, made?.error?.name === "InvalidStateError" ? "[data-there-already]" : "[data-failed]", true);
  });
}

// Authenticators are told which passkeys we take, so that they offer no other.
function signalAccepted(mark) {
  window.PublicKeyCredential?.signalAllAcceptedCredentials?.(JSON.parse(mark.dataset.passkeys)).catch(() => null);
}

function signalUnknown(mark) {
  window.PublicKeyCredential?.signalUnknownCredential?.({ rpId: mark.dataset.rp, credentialId: mark.dataset.unknownPasskey }).catch(() => null);
}

// countDown holds the button back until another code may be sent.
function countDown(button) {
  const words = button.textContent;
  const until = Date.now() + Number(button.dataset.wait) * 1000;
  const tick = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? button.dataset.waitWords.replace("{seconds}", left) : words;
    if (left > 0) setTimeout(tick, 1000);
  };
  tick();
}

function reveal(button) {
  const field = document.getElementById(button.dataset.reveal);
  const show = button.textContent;
  const set = (shown) => {
    field.type = shown ? "text" : "password";
    button.textContent = shown ? button.dataset.hide : show; // the words say what it does, so it is no pressed button
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    set(field.type === "password");
    field.focus();
  });
  field.form.addEventListener("submit", () => set(false)); // or the browser keeps it among typed texts
}

// keepTyped keeps what was typed when a form is refused, but passwords. The server never sends it back.
function keepTyped(form) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.dataset.going) return;
    form.dataset.going = "yes";
    await prove(form);
    const typed = [...form.elements].filter((e) => e.name && !["hidden", "password"].includes(e.type));
    const sent = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) }).catch(() => null);
    if (!sent || sent.status === 403) return form.submit(); // the browser is to have it: then it can send it again
    if (sent.url !== form.action) return location.assign(sent.url); // to itself it is sent so that the browser proves its key
    const answer = new DOMParser().parseFromString(await sent.text(), "text/html");
    const main = answer.querySelector("main");
    if (!main) return form.submit();
    document.title = answer.title;
    document.querySelector("main").replaceWith(main);
    enhance(main);
    for (const before of typed) {
      const field = main.querySelector(`[name="${before.name}"]`);
      if (field?.type === "checkbox") field.checked = before.checked;
      else if (field) field.value = before.value;
    }
    (document.getElementById("problem") ?? main).focus();
  });
}

// invitation takes an invitation out of the address, where it stands behind a # that no server sees.
function invitation(field) {
  const secret = location.hash.slice(1);
  if (!secret.startsWith("csi_")) return;
  field.value = secret;
  history.replaceState(null, "", location.pathname + location.search);
}

// username keeps the address in this tab until the account is open, for the password manager to see.
function username(field) {
  try {
    if (field.dataset.username === "show") field.value = sessionStorage.getItem("username") ?? "";
    else field.form.addEventListener("submit", () => sessionStorage.setItem("username", field.value));
  } catch {
    // this browser keeps nothing
  }
}

function copy(button) {
  const words = button.textContent;
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy).catch(() => null);
    button.textContent = button.dataset.copied;
    setTimeout(() => (button.textContent = words), 2000);
  });
}

// watch fetches the demo's inbox while somebody looks at it, and changes it only when a message has come.
function watch() {
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch(location.href).then((r) => (r.ok ? r.text() : ""), () => "");
    const fresh = new DOMParser().parseFromString(answer, "text/html").querySelector("[data-inbox]");
    const shown = document.querySelector("[data-inbox]");
    if (!fresh || fresh.dataset.version === shown.dataset.version) return;
    shown.dataset.version = fresh.dataset.version;
    const feeds = fresh.querySelectorAll(".feed");
    shown.querySelectorAll(".feed").forEach((feed, i) => feed.replaceChildren(...feeds[i].childNodes));
    enhance(shown);
  }, 2000);
}

// link moves the secret behind the # of a letter's link into its field, and out of the address line and the history.
function link(form) {
  const take = () => {
    const secret = location.hash.slice(1);
    if (!secret.startsWith("csn_")) return;
    form.elements.link.value = secret;
    form.querySelector(".field").hidden = true;
    history.replaceState(history.state, "", location.pathname + location.search);
    document.querySelectorAll(".tongues a").forEach((tongue) => (tongue.hash = secret));
  };
  take();
  addEventListener("hashchange", take); // another letter's link, opened in the same tab
}

// localTime shows the reader's own time in place of UTC, and the year only if it is not this one. A line
// may end between the date and the time, and nowhere inside them.
function localTime(time) {
  const at = new Date(time.dateTime);
  const year = at.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  const words = new Intl.DateTimeFormat(document.documentElement.lang + "-u-nu-latn", { year, month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
  const parts = words.formatToParts(at);
  const beforeTime = (i) => parts[i + 1]?.type === "hour";
  time.textContent = parts.map(({ value }, i) => (beforeTime(i) ? value : value.replaceAll(" ", "\u00a0"))).join("");
}

function enhance(root) {
  const each = (selector, act) => root.querySelectorAll(selector).forEach(act);
  each("time", localTime);
  each("[data-reveal]", reveal);
  each("[data-copy]", copy);
  each("[data-wait]", countDown);
  each("[data-keep]", keepTyped);
  each("[data-recognise]", recognise);
  each("[data-approve]", approve);
  each("[data-await]", awaitApproval);
  each("[data-sent]", (line) => watchSent(line, [3000, 4000, 6000, 8000, 10000, 15000, 20000]));
  each("[data-remember]", remember);
  each("[data-code], [data-otp]", fromText);
  each("[data-passkey]", passkey);
  each("[data-new-passkey]", newPasskey);
  each("[data-passkeys]", signalAccepted);
  each("[data-unknown-passkey]", signalUnknown);
  each("[data-invitation]", invitation);
  each("[data-username]", username);
  each("[data-zone]", (field) => (field.value ||= Intl.DateTimeFormat().resolvedOptions().timeZone));
  each("[data-link]", link);
}

enhance(document);
window.addEventListener("pageshow", (event) => event.persisted && location.reload()); // never a page of before
if (document.querySelector("[data-inbox]")) watch();
