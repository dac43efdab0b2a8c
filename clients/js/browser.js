// What a page does for Countersign: keep the device's key and sign with it, ask for passkeys, and fill in codes.
// It depends on nothing. Whatever a browser cannot do gives undefined, and a code is asked for instead.

const STORE = "keys";
const KEY = "device";

/** @returns {Promise<IDBDatabase>} */
function database() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("countersign", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

/**
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest} act
 * @returns {Promise<any>}
 */
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

/** @returns {Promise<CryptoKeyPair | undefined>} */
const readKey = () => inStore("readonly", (store) => store.get(KEY));

/**
 * The device's key, made if there is none. Two tabs at once agree on one: add fails for the second.
 *
 * @returns {Promise<CryptoKeyPair | undefined>}
 */
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

/** @param {ArrayBuffer} buffer */
function encode(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** @param {string} text */
function decode(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)).buffer;
}

/**
 * WebCrypto gives r and s, 64 bytes, as the server wants them. The origin is this page's own: a page elsewhere cannot sign for it.
 *
 * @param {CryptoKeyPair} pair
 * @param {"remember" | "recognise"} purpose
 * @param {string} nonce
 */
async function sign(pair, purpose, nonce) {
  const statement = ["countersign-device-v1", purpose, location.origin, nonce].join("\n");
  return encode(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, new TextEncoder().encode(statement)));
}

/**
 * A store that hangs, as some browsers' does after a crash, must not keep a person at the door.
 *
 * @template T
 * @param {number} ms
 * @param {() => Promise<T>} work
 * @returns {Promise<T | undefined>}
 */
function within(ms, work) {
  const late = new Promise((resolve) => setTimeout(resolve, ms));
  return canRemember() ? Promise.race([work(), late]).catch(() => undefined) : Promise.resolve(undefined);
}

/** Whether this browser can keep a key: offer to remember the device only then. */
export function canRemember() {
  return Boolean(globalThis.isSecureContext && globalThis.crypto?.subtle && globalThis.indexedDB);
}

/**
 * Proves that this is the device that was remembered: the signature for /door/device.
 *
 * @param {string} nonce of the answer with step "device"
 * @returns {Promise<string | undefined>} undefined: there is no key here
 */
export function recognise(nonce) {
  return within(3000, async () => {
    const pair = await readKey();
    return pair && sign(pair, "recognise", nonce);
  });
}

/**
 * Makes the device's key, if there is none yet, and proves it: "remember" for /door/code. No script can read the key out, nor can this one.
 *
 * @param {string} nonce of the answer with step "second"
 * @returns {Promise<{public_key: string, signature: string} | undefined>} undefined: this browser keeps no key
 */
export function remember(nonce) {
  return within(5000, async () => {
    const pair = await makeKey();
    return pair && { public_key: encode(await crypto.subtle.exportKey("spki", pair.publicKey)), signature: await sign(pair, "remember", nonce) };
  });
}

/** Deletes the device's key, for all accounts in this browser. */
export async function forget() {
  await within(5000, () => inStore("readwrite", (store) => store.delete(KEY)));
}

/** Whether passkeys can be asked for: show a button only then. */
export function canPasskey() {
  return Boolean(globalThis.isSecureContext && globalThis.PublicKeyCredential);
}

/**
 * Makes a passkey.
 *
 * @param {any} options as the API gave them, from /account/passkeys/options
 * @param {{signal?: AbortSignal}} [how]
 * @returns {Promise<string>} the "credential" for the API. It throws what navigator.credentials.create throws: an InvalidStateError says
 *   that the authenticator has one for this account already
 */
export async function createPasskey(options, { signal } = {}) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON?.(options) ?? {
    ...options,
    challenge: decode(options.challenge),
    user: { ...options.user, id: decode(options.user.id) },
    excludeCredentials: listed(options.excludeCredentials),
  };
  return answered(await navigator.credentials.create({ publicKey, signal }));
}

/**
 * Asks for a passkey. With mediation "conditional" the browser offers them among the names that it fills into a field with
 * autocomplete="username webauthn"; stop that one by its signal before asking in another way.
 *
 * @param {any} options as the API gave them, from /signin/passkey/options
 * @param {{mediation?: CredentialMediationRequirement, signal?: AbortSignal}} [how]
 * @returns {Promise<string>} the "credential" for the API. It throws what navigator.credentials.get throws
 */
export async function getPasskey(options, { mediation, signal } = {}) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON?.(options) ?? {
    ...options,
    challenge: decode(options.challenge),
    allowCredentials: listed(options.allowCredentials),
  };
  return answered(await navigator.credentials.get({ publicKey, mediation, signal }));
}

/** @param {{id: string}[]} [credentials] */
const listed = (credentials = []) => credentials.map((c) => ({ ...c, id: decode(c.id) }));

/** @param {any} credential */
function answered(credential) {
  if (!credential) throw new DOMException("no passkey was used", "NotAllowedError");
  return JSON.stringify(credential.toJSON?.() ?? spelled(credential));
}

/**
 * toJSON for browsers without it: all until 2025 had neither that nor parse…FromJSON, Safari until 18.4 among them.
 *
 * @param {any} credential
 */
function spelled({ id, rawId, type, response, authenticatorAttachment }) {
  /** @type {Record<string, any>} */
  const out = {};
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (response[name]) out[name] = encode(response[name]);
  }
  if (response.getTransports) out.transports = response.getTransports();
  return { id, rawId: encode(rawId), type, authenticatorAttachment, response: out, clientExtensionResults: {} };
}

/**
 * Has a field filled in with a code that comes by text message: by the browser's keyboard, and by WebOTP where there is that. The message
 * names the site (@photos.example.net #492817), which has to be this page's.
 *
 * @param {HTMLInputElement} field
 * @returns {() => void} stops waiting; sending the form does so, too
 */
export function autofillCode(field) {
  field.autocomplete = "one-time-code";
  field.inputMode ||= "numeric";
  const stop = new AbortController();
  const end = () => stop.abort();
  if ("OTPCredential" in globalThis) {
    field.form?.addEventListener("submit", end, { once: true });
    addEventListener("pagehide", end, { once: true });
    const asked = /** @type {any} */ ({ otp: { transport: ["sms"] }, signal: stop.signal });
    navigator.credentials.get(asked).then((found) => {
      const { code } = /** @type {any} */ (found ?? {});
      if (code && !field.value) field.value = code;
    }, () => {}); // refused, stopped, or nothing came: it can be typed
  }
  return end;
}
