package subscriber

import (
	"fmt"
	"slices"
	"strings"

	"countersign/internal/audit"
)

// Type is a type of event as subscribers see it. Fields are those of data.detail that it may have, and all that is
// sent of it: each is an id, a number or a word from a fixed list, and none says how anybody can be reached. What operators
// write freely, such as why letters are paused or how a group is called, is not among them.
type Type struct {
	Kind         audit.Kind
	Says, Fields string
}

// Types returns every type, one for each kind of the record. A test sees to that, and to docs/webhooks.md.
func Types() []Type {
	return []Type{
		{audit.LoginSuccess, "Somebody signed in.", "session methods flow replaces"},
		{audit.PasswordPassed, "A right password was typed; the second proof is still to come.", "flow"},
		{audit.PasswordFailed, "A wrong password was typed.", "flow hash"},
		{audit.PasskeyFailed, "A passkey was refused.", "flow why"},
		{audit.PasskeyWentBack, "A passkey's counter went back: a copy of it may be about.", "flow passkey"},
		{audit.SecondDoorPassed, "An account of an application's own has passed the second door; the application had looked at its first proof.", "methods flow app"},
		{audit.CodeSent, "A code was asked for, whether or not there was anybody to send it to.", "flow way for"},
		{audit.CodeFailed, "A wrong code was typed.", "flow for way"},
		{audit.Throttled, "Somebody tried too often.", "flow limit for way"},
		{audit.DeviceRemembered, "A device was remembered.", "device flow"},
		{audit.DeviceBound, "A device's browser has bound it to a key of its machine.", "device"},
		{audit.DeviceRecognised, "A device was recognised.", "device by flow"},
		{audit.DeviceUnproved, "A remembered device could not prove its key.", "device flow"},
		{audit.DeviceReplayed, "A device showed a handle that was changed before: a copy may be about. The device is forgotten.", "device flow"},
		{audit.DeviceForgotten, "A device was forgotten, or all.", "by_session which app target"},
		{audit.DeviceRenamed, "A device was named.", "by_session which"},
		{audit.SessionEnded, "A session was ended: by its id, the others, or all.", "by_session which"},
		{audit.RecoveryProved, "A proof was given in a recovery.", "method"},
		{audit.RecoveryFailed, "A proof failed in a recovery.", "method"},
		{audit.RecoveryAsked, "The people whom a holder trusts were asked in a recovery.", ""},
		{audit.RecoveryWaits, "A recovery waits; every address was told.", ""},
		{audit.RecoveryStopped, "A recovery was stopped.", ""},
		{audit.RecoveryDone, "A recovery set a new password. Every session and remembered device has ended.", "methods"},
		{audit.PasswordChanged, "The password was changed.", "by_session"},
		{audit.Protected, "The holder said that something was not them. Every session and remembered device has ended.", "by undone"},
		{audit.AddressAdded, "An address was added; which is its kind.", "by_session which"},
		{audit.AddressRemoved, "An address was removed; which is its id.", "by_session which"},
		{audit.AddressChanged, "An address, or what it is used for, was changed; which is its id.", "by_session which app kind"},
		{audit.ContactsChanged, "The people trusted for recoveries were changed.", "by_session which"},
		{audit.SavedCodeChanged, "The saved code for recoveries was made or removed.", "by_session which"},
		{audit.FactorChanged, "A second proof was added, renamed, removed, reset or chosen.", "by_session which authenticator app"},
		{audit.FactorStopped, "A second proof was stopped after a hundred wrong codes in a row.", "flow way"},
		{audit.SIMSwapped, "A code was not sent because the SIM card of its number changed lately.", ""},
		{audit.BackupChanged, "Backup codes were made or removed.", "by_session which app"},
		{audit.AccountCreated, "An account was opened, or accounts were imported.", "by terms import number app"},
		{audit.AccountChanged, "An account was changed: its state, language, policy or groups.", "by_session which state language policy"},
		{audit.AccountRead, "An operator looked at an account, or exported accounts.", "revealed exported hashes"},
		{audit.DataDownloaded, "The holder downloaded what is kept of them.", "by_session"},
		{audit.EraseAsked, "An account is to be erased, after a time in which every address can stop it.", "by_session"},
		{audit.EraseStopped, "An account is not to be erased after all.", "by_session"},
		{audit.AccountErased, "An account was erased.", ""},
		{audit.ApprovalAsked, "A sign-in asked another device to let it in.", "flow"},
		{audit.ApprovalFailed, "A wrong number was typed on the other device.", "by_session which"},
		{audit.ApprovalGiven, "The other device let a sign-in in.", "by_session which"},
		{audit.ApprovalRefused, "The other device refused a sign-in. Every address was told.", "by_session which"},
		{audit.TokensImported, "Hardware tokens were brought in.", "tokens"},
		{audit.TokenAssigned, "A hardware token was given to an account.", "authenticator"},
		{audit.TokenUnassigned, "A hardware token was taken from an account.", "authenticator"},
		{audit.KeysChanged, "The server's keys were changed.", "key was"},
		{audit.LettersPaused, "Letters of a channel were stopped.", "channel"},
		{audit.LettersResumed, "Letters of a channel leave again.", "channel"},
		{audit.ClientRuleChanged, "The rule for an application was changed or cleared.", "client warn_below refuse_below sunset cleared"},
		{audit.APIRetired, "A version of the API is withdrawn.", "api at"},
		{audit.APIUnretired, "A version of the API is served again.", "api"},
		{audit.ApplicationChanged, "An application that signs people in through us was changed.", "client was"},
		{audit.ApplicationAllowed, "A holder let an application sign them in.", "client scopes session"},
		{audit.ApplicationEnded, "What an application was let do has ended.", "client by_session"},
		{audit.ApplicationReplayed, "A code or a refresh token of an application came again: a copy may be about.", "client what"},
		{audit.InvitationMade, "An invitation was made.", "invitation"},
		{audit.InvitationRevoked, "An invitation was revoked.", "invitation"},
		{audit.WebhookChanged, "A webhook was added, removed, paused, resumed, replayed, given a new secret, or is gone (it answered 410).", "webhook was"},
	}
}

func typeOf(kind audit.Kind) (t Type, known bool) {
	all := Types()
	i := slices.IndexFunc(all, func(t Type) bool { return t.Kind == kind })
	if i < 0 {
		return Type{}, false
	}
	return all[i], true
}

// Markdown returns the table of types, for docs/webhooks.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| type | what happened | data.detail |\n|---|---|---|\n")
	for _, t := range Types() {
		fields := "–"
		if t.Fields != "" {
			fields = "`" + strings.ReplaceAll(t.Fields, " ", "`, `") + "`"
		}
		_, _ = fmt.Fprintf(&b, "| `%s` | %s | %s |\n", t.Kind, t.Says, fields)
	}
	return b.String()
}
