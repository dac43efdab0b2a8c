package pages

import (
	"time"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/profile"
	"countersign/internal/recovery"
	"countersign/internal/totp"
)

// securityView is the one view that has contact data.
type securityView struct {
	frame
	passkeysView
	secondView
	appsView

	Advice      []adviceView // what would protect the account better; empty: it is well protected
	Open        bool         // it may be changed now
	Stale       bool         // not before a new proof
	FrozenUntil *instant     // not before then
	Addresses   []addressRow
	Only        bool // there is one address that can be told of things
	Contacts    []contactRow
	MoreHelp    bool // there is room for another contact
	SavedCode   bool
	Reviewed    *instant
}

func (securityView) template() string { return "security" }

type adviceView struct{ Words, Link, Path string }

// owned is something of the account's that its holder can rename or remove.
type owned struct {
	words

	Path string // where it is changed
	Name string
	Ask  string // before it is removed
}

type addressRow struct {
	owned

	Uses                      string
	Reachable                 bool // something can be sent there
	SignsIn, Notices, Recover bool
	Unproved                  bool
	Added                     instant
	NewUntil                  *instant // it cannot recover the account before
}

type contactRow struct {
	owned

	Holder, Address string
	Added           instant
	NewUntil        *instant // they cannot help before
}

func securityPage(f frame, o profile.Overview, own profile.Factors, now time.Time) securityView {
	v := securityView{
		frame: f.at(securityPath), Open: o.Fresh && !o.Frozen, Stale: !o.Fresh && !o.Frozen, SavedCode: o.SavedCode,
		passkeysView: passkeysView{Passkeys: f.passkeyRows(own.Passkeys), Signal: signal(own.Signal)}, appsView: appsView{f.appRows(own.Apps), len(own.Apps) < totp.MaxPerAccount, own.Backup}, secondView: f.secondView(own.Second),
		MoreHelp: len(o.Contacts) < recovery.MaxContacts, Reviewed: f.later(o.ReviewedAt, time.Time{}),
	}
	if o.Frozen {
		v.FrozenUntil = f.later(o.Standing.FrozenUntil, now)
	}
	told := 0
	for _, a := range o.Addresses {
		v.Addresses = append(v.Addresses, f.addressRow(a, o.Account, now))
		if a.Verified && a.Notices {
			told++
		}
	}
	v.Only = told == 1
	for _, c := range o.Contacts {
		v.Contacts = append(v.Contacts, contactRow{
			owned: f.owned("contacts", c.ID, c.Label, "contact_remove_ask"), Holder: c.Holder, Address: c.Identifier.Normal(), Added: f.instant(c.AddedAt),
			NewUntil: f.later(account.Address{AddedAt: c.AddedAt}.SettledAt(o.Account), now),
		})
	}
	v.Advice = f.advice(o, own, told)
	return v
}

func (f frame) owned(kind, id, name, ask string) owned {
	return owned{f.words, securityPath + "/" + kind + "/" + id, name, f.say(ask)}
}

// later is an instant that is still to come.
func (f frame) later(at, now time.Time) *instant {
	if !at.After(now) {
		return nil
	}
	i := f.instant(at)
	return &i
}

func (f frame) addressRow(a account.Address, who account.Account, now time.Time) addressRow {
	ask := "address_remove_ask"
	if a.Kind == account.Username {
		ask = "address_remove_name_ask"
	}
	row := addressRow{
		owned: f.owned("addresses", a.ID, a.Normal, ask), Reachable: a.Kind != account.Username, SignsIn: a.SignsIn, Notices: a.Notices, Recover: a.Recovers,
		Unproved: !a.Verified && a.Kind != account.Username, Added: f.instant(a.AddedAt),
	}
	if a.Verified {
		row.NewUntil = f.later(a.SettledAt(who), now)
	}
	var uses []string
	for key, is := range map[string]bool{"use_signs_in": a.SignsIn, "use_notices": a.Notices && a.Verified, "use_recovers": a.Recovers} {
		if is {
			uses = append(uses, key)
		}
	}
	row.Uses = f.uses(uses)
	return row
}

// uses says what an address is for, always in one order.
func (f frame) uses(keys []string) string {
	var said []string
	for _, key := range []string{"use_signs_in", "use_notices", "use_recovers"} {
		for _, k := range keys {
			if k == key {
				said = append(said, f.say(key))
			}
		}
	}
	if len(said) == 0 {
		return f.say("use_none")
	}
	return f.and(said)
}

// advice is what the holder would do best, the most important first.
func (f frame) advice(o profile.Overview, own profile.Factors, told int) (all []adviceView) {
	if told < 2 {
		key := "advice_address"
		if told == 0 {
			key = "advice_no_address"
		}
		all = append(all, adviceView{f.say(key), f.say("address_add"), securityPath + "/addresses/new"})
	}
	if !o.SavedCode && len(o.Contacts) < 2 {
		all = append(all, adviceView{f.say("advice_saved"), f.say("advice_saved_go"), "#saved"})
	}
	only := own.Second.Policy == factor.PhishingResistant // a list of codes would open nothing
	switch {
	case len(own.Passkeys) == 0 && (only || len(own.Apps) == 0):
		all = append(all, adviceView{f.say("advice_passkey"), f.say("advice_passkey_go"), "#passkeys"})
	case only && len(own.Passkeys) == 1:
		all = append(all, adviceView{f.say("advice_second_passkey"), f.say("advice_passkey_go"), "#passkeys"})
	case only:
	case own.Backup == 0:
		all = append(all, adviceView{f.say("advice_backup"), f.say("advice_backup_go"), "#backup"})
	}
	if o.DueForReview {
		all = append(all, adviceView{f.say("advice_review"), f.say("advice_review_go"), "#review"})
	}
	return all
}

type passwordView struct {
	frame

	Min                        int
	CurrentProblem, NewProblem string
}

func (passwordView) template() string { return "password" }

// addressView has no field for what was typed.
type addressView struct {
	frame

	Field registerView
}

func (addressView) template() string { return "address" }

type addressCodeView struct {
	frame

	Submit, Resend string // paths
	Way            factor.Way
	Lead           string
	WaitSeconds    int
	NoMore         bool
}

func (addressCodeView) template() string { return "address_code" }

func addressCodePage(f frame, path string, at profile.AddressFlow, pause time.Duration) addressCodeView {
	return addressCodeView{
		frame: f, Submit: path + "/code", Resend: path + "/send", Way: at.Way, Lead: f.say("address_code_lead_" + string(at.Way)),
		WaitSeconds: int((pause + time.Second - 1) / time.Second), NoMore: at.ResendAt.IsZero(),
	}
}

// contactView has no field for what was typed.
type contactView struct {
	frame

	Field                    registerView
	WrongNames, WrongAddress bool
}

// wrong says what has to be put right, and where.
func (v contactView) wrong(key string) contactView {
	v.frame = v.fails(v.say(key))
	v.WrongNames = key == "contact_missing" || key == "contact_malformed"
	v.WrongAddress = key == "contact_missing" || !v.WrongNames && key != "contact_too_many"
	return v
}

func (contactView) template() string { return "contact" }

// savedView shows a saved code, this once.
type savedView struct {
	frame

	Code string
}

func (savedView) template() string { return "saved" }
