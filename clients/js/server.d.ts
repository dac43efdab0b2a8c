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
    constructor(status: number, code: string, message: string, retryAfter?: number, requestId?: string);
    status: number;
    code: string;
    retryAfter: number | undefined;
    requestId: string | undefined;
}
export class Countersign {
    /**
     * @param {{url: string, id?: string, secret?: string, authorization?: () => string | Promise<string>, fetch?: typeof globalThis.fetch, patience?: number}} options
     *   url is Countersign's public URL. id and secret are the client's, for the second door; a client with a key gives authorization in their place: it is called for
     *   each call, and returns "Bearer " and a fresh assertion. A client with a certificate gives its id and a fetch that shows it, and url is oidc.mtls_url, where
     *   there is the second door alone. patience is how many milliseconds an answer may take: 5000 without
     */
    constructor({ url, id, secret, authorization, fetch, patience }: {
        url: string;
        id?: string;
        secret?: string;
        authorization?: () => string | Promise<string>;
        fetch?: typeof globalThis.fetch;
        patience?: number;
    });
    /**
     * Whose session it is, of an app or page that signs in at Countersign; undefined if it is over.
     *
     * @param {string} token
     * @returns {Promise<Answered<"check-session"> | undefined>}
     */
    session(token: string): Promise<Answered<"check-session"> | undefined>;
    /**
     * Opens an account, or changes where its codes go.
     *
     * @param {string} reference @param {Asked<"put-door-account">} account
     * @returns {Promise<Answered<"put-door-account">>}
     */
    putAccount(reference: string, account: Asked<"put-door-account">): Promise<Answered<"put-door-account">>;
    /**
     * Comes to the second door, when the first proof was right.
     *
     * @param {Asked<"begin-door">} body
     * @returns {Promise<Answered<"begin-door">>}
     */
    begin(body: Asked<"begin-door">): Promise<Answered<"begin-door">>;
    /**
     * Shows what the device signed. A device that is not recognised is no failure: then the step is "second".
     *
     * @param {Asked<"prove-door-device">} body
     * @returns {Promise<Answered<"prove-door-device">>}
     */
    device(body: Asked<"prove-door-device">): Promise<Answered<"prove-door-device">>;
    /**
     * @param {Asked<"send-door-code">} body
     * @returns {Promise<Answered<"send-door-code">>}
     */
    sendCode(body: Asked<"send-door-code">): Promise<Answered<"send-door-code">>;
    /**
     * A wrong code is a CountersignError "code_refused".
     *
     * @param {Asked<"prove-door-code">} body
     * @returns {Promise<Answered<"prove-door-code">>}
     */
    code(body: Asked<"prove-door-code">): Promise<Answered<"prove-door-code">>;
    /**
     * Where the person is remembered, to show them.
     *
     * @param {string} reference
     * @returns {Promise<Answered<"list-door-devices">["devices"]>}
     */
    devices(reference: string): Promise<Answered<"list-door-devices">["devices"]>;
    /**
     * Forgets a device.
     *
     * @param {string} reference @param {string} id
     * @returns {Promise<void>}
     */
    forgetDevice(reference: string, id: string): Promise<void>;
    /**
     * Forgets all of the account's: after a theft, or a new password.
     *
     * @param {string} reference
     * @returns {Promise<void>}
     */
    forgetDevices(reference: string): Promise<void>;
    /**
     * Erases the account at Countersign, at once.
     *
     * @param {string} reference
     * @returns {Promise<void>}
     */
    removeAccount(reference: string): Promise<void>;
    /**
     * What the person has set up: apps, and how many backup codes are left.
     *
     * @param {string} reference
     * @returns {Promise<Answered<"list-door-factors">>}
     */
    factors(reference: string): Promise<Answered<"list-door-factors">>;
    /**
     * Makes the key of a new authenticator app. flow is one of the account's that was allowed within the last minutes; so it is for the next calls.
     *
     * @param {string} reference @param {Asked<"add-door-app">} body
     * @returns {Promise<Answered<"add-door-app">>}
     */
    addApp(reference: string, body: Asked<"add-door-app">): Promise<Answered<"add-door-app">>;
    /**
     * Enrols an app by its first code. A wrong one is a CountersignError "code_refused".
     *
     * @param {string} reference @param {string} id @param {Asked<"confirm-door-app">} body
     * @returns {Promise<void>}
     */
    confirmApp(reference: string, id: string, body: Asked<"confirm-door-app">): Promise<void>;
    /**
     * @param {string} reference @param {string} id @param {Asked<"remove-door-app">} body
     * @returns {Promise<void>}
     */
    removeApp(reference: string, id: string, body: Asked<"remove-door-app">): Promise<void>;
    /**
     * Makes a list of backup codes, in place of the one there is.
     *
     * @param {string} reference @param {Asked<"make-door-backup-codes">} body
     * @returns {Promise<Answered<"make-door-backup-codes">["codes"]>}
     */
    newBackupCodes(reference: string, body: Asked<"make-door-backup-codes">): Promise<Answered<"make-door-backup-codes">["codes"]>;
    #private;
}
export type Operations = import("./api.js").operations;
export type Asked<O extends keyof Operations> = Operations[O] extends {
    requestBody: {
        content: {
            "application/json": infer B;
        };
    };
} ? B : never;
export type Answered<O extends keyof Operations> = Operations[O]["responses"] extends infer R ? { [S in keyof R]: S extends 200 | 201 | 202 ? R[S] extends {
    content: {
        "application/json": infer B;
    };
} ? B : never : never; }[keyof R] : never;
