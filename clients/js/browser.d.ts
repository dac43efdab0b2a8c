/** Whether this browser can keep a key: offer to remember the device only then. */
export function canRemember(): boolean;
/**
 * Proves that this is the device that was remembered: the signature for /door/device.
 *
 * @param {string} nonce of the answer with step "device"
 * @returns {Promise<string | undefined>} undefined: there is no key here
 */
export function recognise(nonce: string): Promise<string | undefined>;
/**
 * Makes the device's key, if there is none yet, and proves it: "remember" for /door/code. No script can read the key out, nor can this one.
 *
 * @param {string} nonce of the answer with step "second"
 * @returns {Promise<{public_key: string, signature: string} | undefined>} undefined: this browser keeps no key
 */
export function remember(nonce: string): Promise<{
    public_key: string;
    signature: string;
} | undefined>;
/** Deletes the device's key, for all accounts in this browser. */
export function forget(): Promise<void>;
/** Whether passkeys can be asked for: show a button only then. */
export function canPasskey(): boolean;
/**
 * Makes a passkey.
 *
 * @param {any} options as the API gave them, from /account/passkeys/options
 * @param {{signal?: AbortSignal}} [how]
 * @returns {Promise<string>} the "credential" for the API. It throws what navigator.credentials.create throws: an InvalidStateError says
 *   that the authenticator has one for this account already
 */
export function createPasskey(options: any, { signal }?: {
    signal?: AbortSignal;
}): Promise<string>;
/**
 * Asks for a passkey. With mediation "conditional" the browser offers them among the names that it fills into a field with
 * autocomplete="username webauthn"; stop that one by its signal before asking in another way.
 *
 * @param {any} options as the API gave them, from /signin/passkey/options
 * @param {{mediation?: CredentialMediationRequirement, signal?: AbortSignal}} [how]
 * @returns {Promise<string>} the "credential" for the API. It throws what navigator.credentials.get throws
 */
export function getPasskey(options: any, { mediation, signal }?: {
    mediation?: CredentialMediationRequirement;
    signal?: AbortSignal;
}): Promise<string>;
/**
 * Has a field filled in with a code that comes by text message: by the browser's keyboard, and by WebOTP where there is that. The message
 * names the site (@photos.example.net #492817), which has to be this page's.
 *
 * @param {HTMLInputElement} field
 * @returns {() => void} stops waiting; sending the form does so, too
 */
export function autofillCode(field: HTMLInputElement): () => void;
