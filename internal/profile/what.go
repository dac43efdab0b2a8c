package profile

import (
	"slices"

	"countersign/internal/account"
	"countersign/internal/audit"
)

// What is what was done, in the words of whom it concerns.
type What string

// What an owner is shown.
const (
	SignedIn        What = "signed_in"
	SignedOut       What = "signed_out"
	SignInEnded     What = "sign_in_ended"
	OthersEnded     What = "others_ended"
	AllEnded        What = "all_ended"
	WrongPassword   What = "wrong_password"
	RightPassword   What = "right_password" // and the sign-in was not finished
	CodeAsked       What = "code_asked"     // and the sign-in was not finished
	WrongCode       What = "wrong_code"
	WrongPasskey    What = "wrong_passkey"
	PasskeyCopied   What = "passkey_went_back"
	TooMany         What = "too_many"
	Remembered      What = "device_remembered"
	Renamed         What = "device_renamed"
	Forgotten       What = "device_forgotten"
	AllForgotten    What = "devices_forgotten"
	Unproved        What = "device_unproved"
	Replayed        What = "device_replayed"
	RecoveryCode    What = "recovery_code"
	RecoveryProved  What = "recovery_proved"
	RecoveryFailed  What = "recovery_failed"
	ContactsAsked   What = "contacts_asked"
	RecoveryWaits   What = "recovery_waits"
	RecoveryStopped What = "recovery_stopped"
	RecoveryDone    What = "recovery_done"
	PasswordChanged What = "password_changed"
	AddressCode     What = "address_code" // and the address was not added
	AddressAdded    What = "address_added"
	AddressRemoved  What = "address_removed"
	AddressChanged  What = "address_changed"
	ContactAdded    What = "contact_added"
	ContactRemoved  What = "contact_removed"
	SavedCodeMade   What = "saved_code_made"
	SavedCodeGone   What = "saved_code_removed"
	FactorAdded     What = "factor_added"
	FactorRenamed   What = "factor_renamed"
	FactorRemoved   What = "factor_removed"
	FactorChosen    What = "factor_chosen"
	FactorStopped   What = "factor_stopped"
	SIMSwapped      What = "sim_swapped"
	PolicySet       What = "policy_set"   // by an operator
	FactorTaken     What = "factor_taken" // by an operator
	FactorsReset    What = "factors_reset"
	BackupTaken     What = "backup_taken"
	BackupMade      What = "backup_made"
	BackupGone      What = "backup_removed"
	Protected       What = "account_protected"
	AppAllowed      What = "application_allowed" // to know who one is
	AppEnded        What = "application_ended"
	AppReplayed     What = "application_replayed" // a code or token of it came again
	Opened          What = "account_opened"
	Locked          What = "account_locked"
	Unlocked        What = "account_unlocked"
	Closed          What = "account_closed"
	LookedAt        What = "looked_at"
	LookedAtAll     What = "looked_at_all" // with addresses and numbers
	LanguageChanged What = "language_changed"
	Downloaded      What = "data_downloaded"
	EraseAsked      What = "erase_asked"
	EraseStopped    What = "erase_stopped"
	LetInAsked      What = "approval_asked" // of another device, and the sign-in was not finished
	LetInWrong      What = "approval_wrong" // number
	LetIn           What = "approval_given"
	LetInRefused    What = "approval_refused"
	TokenGiven      What = "token_assigned"
	TokenTaken      What = "token_unassigned"
)

// whatOf says what an event is to the owner; it is empty for what is none of theirs, or told by another
// event, and for kinds of a later release.
func whatOf(e audit.Past) What {
	switch e.Kind {
	case audit.LoginSuccess, audit.SecondDoorPassed:
		return SignedIn
	case audit.PasswordFailed:
		return WrongPassword
	case audit.PasswordPassed:
		return RightPassword
	case audit.CodeFailed:
		return WrongCode
	case audit.PasskeyFailed:
		return WrongPasskey
	case audit.PasskeyWentBack:
		return PasskeyCopied
	case audit.CodeSent:
		return codeFor(e.Detail["for"])
	case audit.Throttled:
		return TooMany
	case audit.DeviceRemembered:
		return Remembered
	case audit.DeviceUnproved:
		return Unproved
	case audit.DeviceReplayed:
		return Replayed
	case audit.DeviceForgotten:
		return either(e.Detail["which"] == "all", AllForgotten, Forgotten)
	case audit.DeviceRenamed:
		return Renamed
	case audit.SessionEnded:
		return ended(e)
	case audit.RecoveryProved:
		return RecoveryProved
	case audit.RecoveryFailed:
		return RecoveryFailed
	case audit.RecoveryAsked:
		return ContactsAsked
	case audit.RecoveryWaits:
		return RecoveryWaits
	case audit.RecoveryStopped:
		return RecoveryStopped
	case audit.RecoveryDone:
		return RecoveryDone
	case audit.AccountCreated:
		return Opened
	case audit.AccountChanged:
		return changed(e)
	case audit.AccountRead:
		return either(e.Detail["revealed"] == "true", LookedAtAll, LookedAt)
	case audit.DataDownloaded:
		return Downloaded
	case audit.EraseAsked, audit.EraseStopped:
		return either(e.Kind == audit.EraseAsked, EraseAsked, EraseStopped)
	case audit.ApprovalAsked:
		return LetInAsked
	case audit.ApprovalFailed:
		return LetInWrong
	case audit.ApprovalGiven:
		return LetIn
	case audit.ApprovalRefused:
		return LetInRefused
	case audit.TokenAssigned:
		return TokenGiven
	case audit.TokenUnassigned:
		return TokenTaken
	case audit.Protected:
		return Protected
	case audit.ApplicationAllowed, audit.ApplicationEnded, audit.ApplicationReplayed:
		return map[audit.Kind]What{audit.ApplicationAllowed: AppAllowed, audit.ApplicationEnded: AppEnded, audit.ApplicationReplayed: AppReplayed}[e.Kind]
	case audit.PasswordChanged:
		return PasswordChanged
	case audit.AddressAdded:
		return AddressAdded
	case audit.AddressRemoved:
		return AddressRemoved
	case audit.AddressChanged:
		return AddressChanged
	case audit.ContactsChanged:
		return either(e.Detail["which"] == "added", ContactAdded, ContactRemoved)
	case audit.SavedCodeChanged:
		return either(e.Detail["which"] == "made", SavedCodeMade, SavedCodeGone)
	case audit.FactorChanged:
		if e.Actor == "operator" {
			return either(e.Detail["which"] == "reset", FactorsReset, FactorTaken)
		}
		return map[string]What{"added": FactorAdded, "renamed": FactorRenamed, "removed": FactorRemoved, "chosen": FactorChosen}[e.Detail["which"]]
	case audit.FactorStopped, audit.SIMSwapped:
		return either(e.Kind == audit.SIMSwapped, SIMSwapped, FactorStopped)
	case audit.BackupChanged:
		if e.Actor == "operator" {
			return BackupTaken
		}
		return either(e.Detail["which"] == "made", BackupMade, BackupGone)
	case audit.DeviceRecognised: // the sign-in that follows says so
	case audit.DeviceBound: // the list of devices says so
	case audit.AccountErased: // nobody is left to be shown it
	case audit.ClientRuleChanged, audit.APIRetired, audit.APIUnretired, audit.KeysChanged, audit.InvitationMade, audit.InvitationRevoked, audit.TokensImported,
		audit.LettersPaused, audit.LettersResumed, audit.ApplicationChanged, audit.WebhookChanged: // of no account
	}
	return ""
}

func codeFor(what string) What {
	switch what {
	case "recovery":
		return RecoveryCode
	case "address":
		return AddressCode
	}
	return CodeAsked
}

func ended(e audit.Past) What {
	switch e.Detail["which"] {
	case e.Detail["by_session"]:
		return SignedOut
	case "others":
		return OthersEnded
	case "all":
		return AllEnded
	}
	return SignInEnded
}

func changed(e audit.Past) What {
	switch account.State(e.Detail["state"]) {
	case account.Locked:
		return Locked
	case account.Active:
		return Unlocked
	case account.Closed:
		return Closed
	case account.Decoy: // nobody's
	}
	if _, policy := e.Detail["policy"]; policy {
		return PolicySet
	}
	return either(e.Detail["language"] != "", LanguageChanged, "")
}

func either(yes bool, a, b What) What {
	if yes {
		return a
	}
	return b
}

// leadsOn says that a sign-in which succeeded had this on its way.
func (w What) leadsOn() bool { return slices.Contains([]What{RightPassword, CodeAsked, LetInAsked}, w) }

// ofApplication says that it is about one that signs people in through us.
func (w What) ofApplication() bool {
	return slices.Contains([]What{AppAllowed, AppEnded, AppReplayed}, w)
}

// repeats says that many of the same in a row are one line.
func (w What) repeats() bool {
	return slices.Contains([]What{WrongPassword, RightPassword, CodeAsked, WrongCode, WrongPasskey, TooMany, Unproved, AddressCode, RecoveryCode, RecoveryFailed, LookedAt, LookedAtAll}, w)
}

// foreign says that somebody else may have done it, unless an operator did.
func (w What) foreign() bool {
	return !slices.Contains([]What{
		PolicySet, TooMany, Opened, Locked, Unlocked, Closed, LookedAt, LookedAtAll, // the server or an operator
		WrongPassword, // anybody can type one
	}, w)
}
