// What a server asks Countersign: the second door, for accounts of its own, and whose a session is. It depends on nothing but fetch.
// Types are in api.d.ts, which is generated from the server's own description (/api/v1/openapi.json).

/** @typedef {import("./api.js").operations} Operations */
/**
 * @template {keyof Operations} O
 * @typedef {Operations[O] extends { requestBody: { content: { "application/json": infer B } } } ? B : never} Asked
 */
/**
 * @template {keyof Operations} O
 * @typedef {Operations[O]["responses"] extends infer R ? { [S in keyof R]: S extends 200 | 201 | 202 ? R[S] extends { content: { "application/json": infer B } } ? B : never : never }[keyof R] : never} Answered
 */

/** A refusal. Look at code, which docs/errors.md lists, and say it to people in words of your own: message is for whoever develops, but for client_outdated. */
export class CountersignError extends Error {
  /**
   * @param {number} status of HTTP; 0 if there was no answer
   * @param {string} code "unreachable" if there was no answer
   * @param {string} message what was said beyond the code, or its title
   * @param {number} [retryAfter] seconds
   * @param {string} [requestId] what Countersign's log calls the call
   */
  constructor(status, code, message, retryAfter, requestId) {
    super(message);
    this.name = "CountersignError";
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }
}

export class Countersign {
  #url;
  #authorization;
  #fetch;
  #patience;

  /**
   * @param {{url: string, id?: string, secret?: string, authorization?: () => string | Promise<string>, fetch?: typeof globalThis.fetch, patience?: number}} options
   *   url is Countersign's public URL. id and secret are the client's, for the second door; a client with a key gives authorization in their place: it is called for
   *   each call, and returns "Bearer " and a fresh assertion. A client with a certificate gives its id and a fetch that shows it, and url is oidc.mtls_url, where
   *   there is the second door alone. patience is how many milliseconds an answer may take: 5000 without
   */
  constructor({ url, id = "", secret, authorization, fetch, patience = 5000 }) {
    this.#url = url.replace(/\/$/, "") + "/api/v1";
    this.#authorization = authorization ?? (() => {
      if (!secret && !(id && fetch)) throw new TypeError("the second door wants id and secret, authorization, or id and a fetch that shows a certificate");
      const bytes = new TextEncoder().encode(`${encodeURIComponent(id)}:${encodeURIComponent(secret ?? "")}`); // RFC 6749 section 2.3.1
      return "Basic " + btoa(String.fromCharCode(...bytes));
    });
    this.#fetch = (to, how) => (fetch ?? globalThis.fetch)(to, how); // and not as a method of ours, which some refuse
    this.#patience = patience;
  }

  /**
   * Whose session it is, of an app or page that signs in at Countersign; undefined if it is over.
   *
   * @param {string} token
   * @returns {Promise<Answered<"check-session"> | undefined>}
   */
  async session(token) {
    try {
      return await this.#call("GET", "/session", undefined, "Bearer " + token);
    } catch (error) {
      if (error instanceof CountersignError && error.status === 401) return undefined;
      throw error;
    }
  }

  /**
   * Opens an account, or changes where its codes go.
   *
   * @param {string} reference @param {Asked<"put-door-account">} account
   * @returns {Promise<Answered<"put-door-account">>}
   */
  putAccount(reference, account) {
    return this.#door("PUT", pathOf(reference), account);
  }

  /**
   * Comes to the second door, when the first proof was right.
   *
   * @param {Asked<"begin-door">} body
   * @returns {Promise<Answered<"begin-door">>}
   */
  begin(body) {
    return this.#door("POST", "/begin", body);
  }

  /**
   * Shows what the device signed. A device that is not recognised is no failure: then the step is "second".
   *
   * @param {Asked<"prove-door-device">} body
   * @returns {Promise<Answered<"prove-door-device">>}
   */
  device(body) {
    return this.#door("POST", "/device", body);
  }

  /**
   * @param {Asked<"send-door-code">} body
   * @returns {Promise<Answered<"send-door-code">>}
   */
  sendCode(body) {
    return this.#door("POST", "/code/send", body);
  }

  /**
   * A wrong code is a CountersignError "code_refused".
   *
   * @param {Asked<"prove-door-code">} body
   * @returns {Promise<Answered<"prove-door-code">>}
   */
  code(body) {
    return this.#door("POST", "/code", body);
  }

  /**
   * Where the person is remembered, to show them.
   *
   * @param {string} reference
   * @returns {Promise<Answered<"list-door-devices">["devices"]>}
   */
  async devices(reference) {
    return (await this.#door("GET", pathOf(reference) + "/devices")).devices;
  }

  /**
   * Forgets a device.
   *
   * @param {string} reference @param {string} id
   * @returns {Promise<void>}
   */
  forgetDevice(reference, id) {
    return this.#door("DELETE", `${pathOf(reference)}/devices/${encodeURIComponent(id)}`);
  }

  /**
   * Forgets all of the account's: after a theft, or a new password.
   *
   * @param {string} reference
   * @returns {Promise<void>}
   */
  forgetDevices(reference) {
    return this.#door("DELETE", pathOf(reference) + "/devices");
  }

  /**
   * Erases the account at Countersign, at once.
   *
   * @param {string} reference
   * @returns {Promise<void>}
   */
  removeAccount(reference) {
    return this.#door("DELETE", pathOf(reference));
  }

  /**
   * What the person has set up: apps, and how many backup codes are left.
   *
   * @param {string} reference
   * @returns {Promise<Answered<"list-door-factors">>}
   */
  factors(reference) {
    return this.#door("GET", pathOf(reference) + "/factors");
  }

  /**
   * Makes the key of a new authenticator app. flow is one of the account's that was allowed within the last minutes; so it is for the next calls.
   *
   * @param {string} reference @param {Asked<"add-door-app">} body
   * @returns {Promise<Answered<"add-door-app">>}
   */
  addApp(reference, body) {
    return this.#door("POST", pathOf(reference) + "/apps", body);
  }

  /**
   * Enrols an app by its first code. A wrong one is a CountersignError "code_refused".
   *
   * @param {string} reference @param {string} id @param {Asked<"confirm-door-app">} body
   * @returns {Promise<void>}
   */
  confirmApp(reference, id, body) {
    return this.#door("POST", `${pathOf(reference)}/apps/${encodeURIComponent(id)}/confirm`, body);
  }

  /**
   * @param {string} reference @param {string} id @param {Asked<"remove-door-app">} body
   * @returns {Promise<void>}
   */
  removeApp(reference, id, body) {
    return this.#door("POST", `${pathOf(reference)}/apps/${encodeURIComponent(id)}/remove`, body);
  }

  /**
   * Makes a list of backup codes, in place of the one there is.
   *
   * @param {string} reference @param {Asked<"make-door-backup-codes">} body
   * @returns {Promise<Answered<"make-door-backup-codes">["codes"]>}
   */
  async newBackupCodes(reference, body) {
    return (await this.#door("POST", pathOf(reference) + "/backup-codes", body)).codes;
  }

  /**
   * A POST that got no answer is made once more: its key has it done once. Of two beginnings one is never used, so they need none.
   *
   * @param {string} method @param {string} path @param {unknown} [body]
   */
  async #door(method, path, body) {
    const key = method === "POST" && path !== "/begin" ? `"${crypto.randomUUID()}"` : undefined;
    try {
      return await this.#call(method, "/door" + path, body, await this.#authorization(), key);
    } catch (error) {
      if (!key || !(error instanceof CountersignError) || error.code !== "unreachable" && error.code !== "call_under_way") throw error;
      return this.#call(method, "/door" + path, body, await this.#authorization(), key);
    }
  }

  /**
   * @param {string} method @param {string} path @param {unknown} body @param {string} authorization @param {string} [key]
   * @returns {Promise<any>}
   */
  async #call(method, path, body, authorization, key) {
    /** @type {Record<string, string>} */
    const headers = { Authorization: authorization, Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key) headers["Idempotency-Key"] = key;
    let answer, text;
    try {
      // A redirect would take the secret somewhere else.
      answer = await this.#fetch(this.#url + path, { method, headers, body: JSON.stringify(body), redirect: "error", signal: AbortSignal.timeout(this.#patience) });
      text = await answer.text();
    } catch (cause) {
      throw Object.assign(new CountersignError(0, "unreachable", "Countersign did not answer"), { cause });
    }
    if (answer.ok) return text ? JSON.parse(text) : undefined;
    /** @type {{code?: string, title?: string, detail?: string, request_id?: string}} */
    let problem = {};
    try {
      problem = JSON.parse(text);
    } catch {
      // a proxy's page
    }
    const wait = Number(answer.headers.get("Retry-After"));
    const message = problem.detail ?? problem.title ?? answer.statusText;
    throw new CountersignError(answer.status, problem.code ?? "internal", message, wait || undefined, problem.request_id);
  }
}

/** @param {string} reference */
const pathOf = (reference) => "/accounts/" + encodeURIComponent(reference);
