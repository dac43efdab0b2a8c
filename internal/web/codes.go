package web

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

//go:generate sh -c "go run ../../cmd/countersign errors --markdown > ../../docs/errors.md"

// Code describes one error code: what docs/errors.md and the titles of problems are made from.
type Code struct {
	Code    string
	Status  int
	Meaning string // for whoever called, in one sentence
	Advice  string // what the caller can do
}

// Codes lists every error code an answer can have, in the order of the documentation. A test
// finds the codes in the source and demands each here.
func Codes() []Code { return slices.Concat(answered(), ofApplications(), toldOperators()) }

// answered are those of pages and calls.
func answered() []Code {
	return []Code{
		{"body_malformed", 400, "The body is not the JSON object that this call takes", "Send one UTF-8 JSON object: no unknown, repeated or upper-case names, no NUL, nothing after it."},
		{"body_too_large", 413, "The body is larger than 64 KiB", "Send less."},
		{"body_timeout", 408, "The body did not arrive in time", "Try again."},
		{"content_type_unsupported", 415, "The body has the wrong content type", "Send application/json to the API, a plain form to a page."},
		{"input_invalid", 422, "A field is missing, unknown, or has the wrong type or length", "Compare with /api/v1/openapi.json. `detail` says which field it is and what is wanted; of what was sent it repeats nothing but the name of a field that is unknown."},
		{"form_malformed", 422, "The form has a repeated field, a NUL, or is not UTF-8", "Send the form as the page made it."},
		{"session_ended", 401, "There is no session, or it has ended", "Sign in."},
		{"session_unproved", 401, "The session is bound to its browser, which has not proved its key for five minutes", "Send all cookies that the browser sent. Let a browser call again: it proves its key first. If that fails, sign in."},
		{"session_key_unproved", 401, "The session is bound to another key than the call proved, or the one has a key and the other has none", "Send a token of type DPoP as Authorization: DPoP, with a proof by the key that it was issued to; one of type Bearer as Authorization: Bearer."},
		{"dpop_proof_refused", 401, "The proof in the DPoP header is missing, malformed, for something else, or was used before", "Make a new one for each call: one header, typ dpop+jwt, ES256 or EdDSA, the public key as jwk; jti, htm, htu, iat, and ath and nonce as docs/apps.md has them."},
		{"dpop_nonce_needed", 401, "The proof in the DPoP header answers no nonce of ours that is still good", "Make a new one with the nonce of the DPoP-Nonce header, and send the call again."},
		{"password_refused", 401, "The password was not accepted", "Ask again. Unknown names and locked accounts get the same answer."},
		{"code_refused", 401, "The code was not accepted", "Ask again, or have another sent."},
		{"flow_ended", 410, "The sign-in, registration, recovery or change of an address is over, or was begun elsewhere", "Begin again."},
		{"link_ended", 410, "The link does nothing, or nothing any more", "Say that it was used or is too old, and that the newest letter has one that works. Why is not said."},
		{"step_out_of_order", 409, "The sign-in, registration or recovery does not stand at this step", "Do what the last answer's step asked for."},
		{"too_many_attempts", 429, "There were too many tries", "Wait as Retry-After says. Which limit spoke is not said."},
		{"resend_too_soon", 429, "A code was sent lately", "Wait as Retry-After says, or use the code sent."},
		{"identifier_malformed", 422, "This is no e-mail address, phone number or user name", "Correct it. Says nothing about whether anybody has it."},
		{"identifier_taken", 409, "Another account signs in with this", "Use another, or sign in. Said to operators, and to whoever has proved the address."},
		{"identifier_uses_invalid", 422, "This kind of identifier cannot be used like that", "Nothing can be sent to a user name, and only what was proved may recover an account."},
		{"address_known", 409, "The account has this address already", "Nothing is left to do."},
		{"too_many_addresses", 409, "The account has ten addresses", "Remove one first."},
		{"last_signin_address", 409, "Nobody could sign in to the account any more", "Add another address to sign in with first."},
		{"last_notice_address", 409, "The account's holder could not be told of anything any more", "Add another address for notices first."},
		{"account_frozen", 409, "Addresses, contacts and the saved code stay as they are for now", "Wait until frozen_until, or use a device that was remembered long before."},
		{"reauthentication_required", 403, "The session proved who it is too long ago for this", "Go through /api/v1/signin/again, then ask again with the new token."},
		{"enrolment_required", 403, "The session is good for nothing before a passkey or an app is enrolled", "Enrol with this session what the sign-in asked for (enrol; with passkey_only nothing but a passkey will do): begin-passkey and add-passkey, or add-app and confirm-app. Then ask again."},
		{"factor_choice_invalid", 422, "There is no such way here, or it stands there twice", "Send each way once. The call that lists factors names those of the account; off takes those that are sent."},
		{"last_passkey", 409, "Sign-ins of this account take nothing but a passkey, and this is its last", "Add another first."},
		{"group_malformed", 422, "This is no name of a group", "Use up to 32 small letters, digits, dots, hyphens and underscores, beginning with a letter or a digit. Said to operators."},
		{"account_unknown", 404, "There is no such account", "Check how the name is written. At the second door: or open it first, by PUT /api/v1/door/accounts/{reference}."},
		{"account_closed", 409, "The account is closed, which cannot be undone", "Make another."},
		{"way_unknown", 422, "No code comes from there", "Use one of the ways of the last answer."},
		{"destination_missing", 422, "No code can be sent to what was typed", "Ask for the e-mail address or phone number that the code should go to, and send it as to. Says nothing about whether anybody has it."},
		{"contact_malformed", 422, "A name is missing, too long or not text", "Send both names, of at most 60 characters."},
		{"contact_unreachable", 422, "Nothing can be sent to this", "Send an e-mail address, or a phone number if the server sends text messages."},
		{"contact_known", 409, "The account has this contact already", "Nothing is left to do."},
		{"contact_is_own", 409, "This is an address of the account's own", "Name another person."},
		{"too_many_contacts", 409, "The account has five contacts", "Remove one first."},
		{"passkey_refused", 401, "The passkey was not accepted", "Ask for it again, or go on another way."},
		{"passkey_unknown", 401, "This passkey is none of ours", "Tell the authenticator so (signalUnknownCredential), and go on another way."},
		{"passkey_model_refused", 422, "Passkeys of this device or security key are not taken here", "Use another, or ask whoever runs the service which are taken."},
		{"passkey_taken", 409, "The passkey was enrolled before", "Use it, or add another."},
		{"too_many_passkeys", 409, "The account has twenty passkeys", "Remove one first."},
		{"too_many_authenticators", 409, "The account has five apps and tokens", "Remove one first."},
		{"authenticator_name_empty", 422, "Nothing that prints is in the name", "Choose a name of letters, digits or signs."},
		{"device_unproved", 403, "This is not the recognised device that the session was opened from, or it did not prove it", "Sign in again from a device that is remembered, or use another way on the new one."},
		{"device_key_malformed", 422, "The device's key or its signature is malformed", "Sign the flow's newest nonce with the key that is sent, as docs/apps.md has it. No code was spent."},
		{"device_key_unsupported", 422, "The device's key is of a kind or a curve that is not taken", "Make a P-256 or an Ed25519 key. No code was spent."},
		{"attestation_refused", 422, "The attestation of the device's key does not hold", "Have the phone attest a new key of your own app for the flow's newest nonce, as docs/apps.md has it. No code was spent."},
		{"attestation_required", 422, "No device is remembered without an attestation of its key", "Send one as docs/apps.md has it, or leave remember out. No code was spent."},
		{"attestation_unsupported", 422, "Attestations of this kind are not looked at here", "Leave it out, or ask the operator: the settings in [app]. No code was spent."},
		{"language_unknown", 422, "No letters are in that language", "Choose one of the languages that the description lists."},
		{"token_unknown", 404, "There is no hardware token by that serial number", "See countersign token list."},
		{"token_assigned", 409, "Somebody has that hardware token", "Unassign it first."},
		{"passkey_name_empty", 422, "Nothing that prints is in the name", "Choose a name of letters, digits or signs."},
		{"device_name_empty", 422, "Nothing that prints is in the name", "Choose a name of letters, digits or signs."},
		{"password_malformed", 422, "The password is not text", "Send UTF-8 without NUL."},
		{"password_too_short", 422, "The password is too short", "Choose a longer one: 15 characters, unless password.min_length says otherwise."},
		{"password_too_long", 422, "The password is too long", "Choose a shorter one."},
		{"password_unchanged", 422, "The new password is the current one", "Choose another."},
		{"password_context", 422, "The password is made of names and addresses that a stranger would try", "Choose another."},
		{"password_common", 422, "The password is among those tried first", "Choose another."},
		{"registration_closed", 403, "Nobody can open an account here", "Ask the operator: registration.mode."},
		{"invitation_refused", 403, "The invitation is missing, mistyped, used, withdrawn, over, or for another address", "Ask whoever invited you for a new one."},
		{"invitation_invalid", 422, "An invitation cannot be like that", "Ask for 1 to 10,000 uses, or for one if it is bound to an address, and for at most a year."},
		{"claim_missing", 422, "Something that is asked for was left out", "See GET /api/v1/registration."},
		{"claim_malformed", 422, "An answer has the wrong form, or nobody asked for it", "One line of at most 200 characters; a date as YYYY-MM-DD."},
		{"terms_not_accepted", 422, "The terms in force were not accepted", "Show them, and send their version."},
		{"host_unknown", 421, "The Host header names another server", "Use the address in site.public_url, or list the name in http.internal_hosts (API only)."},
		{"client_outdated", 426, "This version of the application is not accepted any more", "Show the person `detail`, which is in their language, and have them update. Upgrade names the first version that is accepted, if there is one (HTTP/1.1 only)."},
		{"api_retired", 410, "This version of the API is withdrawn", "Show the person `detail`, and use a newer version of the API. Every call of this version gets this answer."},
		{"method_not_allowed", 405, "This path does not take this method", "See the Allow header."},
		{"not_found", 404, "There is nothing here", "Check the path or the id."},
		{"report_refused", 403, "The report is not the provider's, or there is no such provider here", "For providers of text messages: docs/operating.md says how each signs. Why is not said."},
		{"cross_site", 403, "The request was sent by another site's page", "Send it from this site's own page, or without browser headers."},
		{"client_gone", 499, "The client closed the connection first", "Seen in logs and metrics only."},
		{"internal", 500, "Something is broken here", "Tell the operator the request_id; the log has the reason."},
		{"busy", 503, "Too much is going on at once", "Wait as Retry-After says, then try again."},
		{"database_unavailable", 503, "The database cannot be reached", "Wait as Retry-After says, then try again. If it stays: the server's log and `/readyz` say whether its disk has failed."},
		{"keys_missing", 503, "This node does not have the keys that the database needs", "Wait as Retry-After says, then try again; the operator copies the key file to the node."},
	}
}

// ofApplications are those that applications meet, or people on their way to one.
func ofApplications() []Code {
	return []Code{
		{"client_unproved", 401, "The call does not prove which client it is of", "Send the client's id and secret, or a fresh assertion, or its id with its certificate, at oidc.mtls_url. The client must be registered for the second door. The log says what was wrong."},
		{"account_locked", 403, "The account is locked", "Ask the operator. Only clients of the second door are told."},
		{"reference_malformed", 422, "The reference cannot be one", "Name the account by 1 to 128 bytes of characters that print, without spaces."},
		{"reference_held", 409, "The account was erased lately, and its codes went elsewhere", "Open it with an address that it had, or wait as Retry-After says: 72 hours from when it was erased. Its addresses were told."},
		{"idempotency_key_malformed", 400, "The Idempotency-Key cannot be one", "Send it once, with 1 to 255 characters that print, in double quotes, and another for each call."},
		{"call_under_way", 409, "The same call is under way", "Repeat it a moment later: then its answer is there."},
		{"call_differs", 422, "The Idempotency-Key stands for another call", "Give each call a key of its own; the same only for the very same call."},
		{"second_door_required", 403, "What protects the account changes after the second door alone", "Have the person pass the second door, and name its flow within the next minutes."},
		{"contact_missing", 422, "A new account needs an address that codes go to", "Send email or phone."},
		{"contact_proof_required", 403, "Where codes go changes after the second door alone", "Have the person pass the second door, and name its flow within the next minutes."},
		{"site_unknown", 422, "The client was not registered with this origin", "Name one of the origins of countersign oidc add --second-door, or none."},
		{"oidc_request_invalid", 422, "The application is not registered here, or its request is not in order and says nowhere how to tell it", "Tell the application's maker: its client_id has to be as it was registered. The log says what is wrong. The browser is sent nowhere."},
		{"oidc_redirect_unregistered", 422, "The application wants its answer at an address that was not registered for it", "Tell the application's maker: its redirect_uri has to be one of those that were registered, letter by letter. The browser is sent nowhere."},
		{"oidc_request_ended", 410, "The application's request is over, was answered, or was begun in another browser", "Go back to the application and begin again."},
		{"device_code_unknown", 422, "No device waits with that code", "Type the code that the device shows, or have it show a new one."},
	}
}

// toldOperators are those of commands alone.
func toldOperators() []Code {
	return []Code{
		{"oidc_client_invalid", 422, "An application cannot be registered like that", "Do what the message says. Said to operators."},
		{"oidc_client_listed", 409, "The application stands in the file of clients", "Change it there. Said to operators."},
		{"oidc_client_unknown", 404, "There is no such application, or it has no secret", "See countersign oidc list. Said to operators."},
		{"webhook_url", 422, "This is no address for a webhook", "Do what the message says: https, or http to this machine. Said to operators."},
		{"webhook_event", 422, "There is no such event", "See countersign webhook events. Said to operators."},
		{"webhook_many", 409, "There are as many webhooks as may be", "Remove one: each is a row more for every event. Said to operators."},
		{"webhook_unknown", 404, "There is no webhook by that id", "See countersign webhook list. Said to operators."},
	}
}

// operatorsOnly reports whether nobody but an operator's command is told the code: readers of the
// documentation need to know, the operator at the terminal does not.
func operatorsOnly(code string) bool {
	return slices.Contains([]string{"account_closed", "invitation_invalid", "token_unknown", "token_assigned", "oidc_client_invalid", "oidc_client_listed", "oidc_client_unknown"}, code)
}

// title is the title of a problem. It depends on the code alone.
func title(code string, status int) string {
	for _, c := range Codes() {
		if c.Code == code {
			return c.Meaning
		}
	}
	return http.StatusText(status)
}

// ErrorsMarkdown is docs/errors.md.
func ErrorsMarkdown() string {
	var b strings.Builder
	b.WriteString("# Error codes\n\n" +
		"Generated by `countersign errors --markdown`; a test keeps it in step with the source.\n\n" +
		"An API error is `application/problem+json` with `type`, `title`, `status`, `code` and `request_id` (and `detail` where a person\n" +
		"must be told something, or which field is wrong), and repeats nothing that was sent, but the name of a field that is unknown. Programs should look at `code`, which never changes its meaning; the log knows the request by `request_id`.\n" +
		"Answers 429 and 503 have a coarse `Retry-After`. No code depends on whether an account exists, but at the second door, where an application asks about accounts of its own.\n\n" +
		"| code | status | meaning | what to do |\n|---|---|---|---|\n")
	for _, c := range Codes() {
		if operatorsOnly(c.Code) {
			c.Advice += " Seen by operators only."
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s. | %s |\n", c.Code, c.Status, c.Meaning, c.Advice)
	}
	return b.String()
}
