package message

import "strings"

// Kinds are all kinds of letter.
func Kinds() []Kind {
	return []Kind{
		SigninCode, AddressCode, RecoveryCode, ContactCode, RegistrationAttempt, ContactAdded, NewDevice, DeviceEnded, SecondFailed, SigninRefused,
		PasswordChanged, AddressAdded, AddressRemoved, ContactsChanged, SavedCodeChanged, FactorAdded, FactorRemoved, FactorChosen, FactorStopped, SIMSwapped,
		FactorsReset, BackupChanged, BackupUsed, RecoveryWaiting, RecoveryStopped, RecoveryDone, Protected, LanguageChanged, DataDownloaded,
		EraseAsked, EraseStopped, DoorClosed, Test,
	}
}

// Site is who a letter is from: a name, and an address such as https://id.example.org.
type Site struct{ Name, Base string }

// Sample is a letter with made-up params, to look at.
func Sample(k Kind, ch Channel, language string, from Site) Letter {
	values := map[string]string{
		"code": "482913", "minutes": "10", "holder": "Ada", "when": "2026-11-23T18:49:00Z", "ends": "2026-11-24T18:49:00Z",
		"device": "Firefox on Linux", "link": from.Base + "/notme#csn_" + strings.Repeat("x", linkSecret-len("csn_")), "site": from.Name,
	}
	l := Letter{Kind: k, Channel: ch, To: map[Channel]string{Email: "ada@example.org", SMS: "+4915112345678"}[ch], Language: language, Params: map[string]string{}}
	need, _ := k.form()
	for _, name := range need {
		l.Params[name] = values[name]
	}
	return l
}

// Alphabet says in what a text message is sent: GSM-7 (GSM 03.38), or UCS-2, in which less than half as much fits.
func Alphabet(text string) string {
	if _, ok := septets(text); ok {
		return "GSM-7"
	}
	return "UCS-2"
}
