package pages

import (
	"slices"
	"time"

	"countersign/internal/account"
	"countersign/internal/attestation"
	"countersign/internal/factor"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/recovery"
	"countersign/internal/signin"
	"countersign/internal/totp"
)

func (p *Pages) securityShots() []Shot {
	now := time.Date(2026, time.November, 23, 14, 12, 0, 0, time.UTC)
	long := now.Add(-400 * 24 * time.Hour)
	who := account.Account{CreatedAt: long}
	address := func(id string, k account.Kind, value string, at time.Time) account.Address {
		reach := k != account.Username
		return account.Address{ID: id, Kind: k, Normal: value, Verified: reach, SignsIn: true, Notices: reach, Recovers: reach, AddedAt: at}
	}
	mail := address("1", account.Email, "ada@example.org", long)
	phone := address("2", account.Phone, "+4915112345678", now.Add(-time.Hour))
	name := address("3", account.Username, "lovelace", long)
	unproved := account.Address{ID: "4", Kind: account.Email, Normal: "a.very.long.address.that.somebody.has.had.since.school@mail.department.example.org", AddedAt: long}
	contact := func(label, value string, at time.Time) recovery.Contact {
		return recovery.Contact{ID: label, Label: label, Holder: "Ada", AddedAt: at, Identifier: account.Address{Kind: account.Email, Normal: value}.Identifier()}
	}
	contacts := []recovery.Contact{contact("Grace", "grace@elsewhere.example", long), contact("Mary", "mary@elsewhere.example", now.Add(-time.Hour))}
	good := profile.Overview{
		Account: who, Addresses: []account.Address{mail, phone, name}, Contacts: contacts, SavedCode: true, Fresh: true, ReviewedAt: now.Add(-30 * 24 * time.Hour),
	}
	poor := profile.Overview{Account: who, Addresses: []account.Address{mail, unproved}, Fresh: true, DueForReview: true}
	stale := good
	stale.Fresh = false
	frozen := good
	frozen.Frozen, frozen.Standing.FrozenUntil = true, now.Add(70*time.Hour)
	own := profile.Factors{Backup: 7, Passkeys: []passkey.Passkey{
		{ID: "1", Name: "iCloud Keychain", UserVerified: true, CreatedAt: long, LastUsedAt: now.Add(-time.Hour)},
		{ID: "2", Name: "Security key", UserVerified: true, DeviceBound: true, Model: "Example Key 5 Series with NFC", Attested: true, CreatedAt: long},
		{ID: "3", Name: "Old key", DeviceBound: true, Model: "Example Key 1", Denied: attestation.Reported, CreatedAt: long},
	}, Apps: []totp.Authenticator{
		{ID: "1", Name: "My phone", AddedAt: long, LastUsedAt: now.Add(-time.Hour)}, {ID: "2", Serial: "0847-113", AddedAt: long},
	}}
	own.Second = signin.Second{Policy: factor.Unrecognised, Least: factor.Unrecognised, Ways: []signin.SecondWay{
		{Way: factor.Passkey, Opens: true}, {Way: factor.OTP, Opens: true}, {Way: factor.SMS, Opens: true}, {Way: factor.Backup, Stopped: true}, {Way: factor.Email},
	}}
	none := profile.Factors{Second: signin.Second{Policy: factor.Always, Least: factor.Always, Ways: []signin.SecondWay{
		{Way: factor.SMS, Opens: true}, {Way: factor.Email, Off: true},
	}}}
	bound := profile.Factors{Passkeys: own.Passkeys[1:2], Second: signin.Second{
		Policy: factor.PhishingResistant, Least: factor.PhishingResistant, Ways: []signin.SecondWay{{Way: factor.Passkey, Opens: true}, {Way: factor.Email}},
	}}
	enrol := func(n factor.Nudge, must, stale bool) func(frame) view {
		return func(f frame) view {
			v := enrolPage(f, profile.Factors{Nudge: n}, must, now)
			v.Passkey, v.Stale = madeUpPasskey(p), stale
			return v
		}
	}
	page := func(o profile.Overview, own profile.Factors, change func(frame) frame) func(frame) view {
		return func(f frame) view {
			v := securityPage(change(f), o, own, now)
			if v.Open {
				v.Passkey = madeUpPasskey(p)
			}
			return v
		}
	}
	same := func(f frame) frame { return f }
	app := func(f frame) appView {
		v, err := appPage(f, totp.Enrolment{
			ID: "1", Key: secret.Of("JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP"),
			URL: secret.Of("otpauth://totp/Example:ada%40example.org?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Example"),
		})
		if err != nil {
			panic(err)
		}
		return v
	}
	return append([]Shot{
		p.shot("security", "security_title", page(good, own, same)),
		p.shot("security-poor", "security_title", page(poor, none, same)),
		p.shot("security-passkeys-only", "security_title", page(good, bound, same)),
		p.shot("security-stale", "security_title", page(stale, own, same)),
		p.shot("security-frozen", "security_title", page(frozen, own, same)),
		p.shot("security-changed", "security_title", page(good, own, func(f frame) frame { return f.flash("password-changed") })),
		p.shot("security-refused", "security_title", page(poor, none, func(f frame) frame { return f.fails(f.say("security_last_notice")) })),
		p.shot("enrol", "enrol_title", enrol(factor.Nudge{Required: true, Left: 2, Deadline: now.Add(40 * 24 * time.Hour)}, false, false)),
		p.shot("enrol-must", "enrol_title", enrol(factor.Nudge{}, true, false)),
		p.shot("enrol-passkey", "enrol_title", enrol(factor.Nudge{Passkey: true}, true, false)),
		p.shot("enrol-stale", "enrol_title", enrol(factor.Nudge{}, true, true)),
		p.shot("app", "app_title", func(f frame) view { return app(f) }),
		p.shot("app-refused", "app_title", func(f frame) view {
			v := app(f.fails(f.say("app_code_refused")))
			v.Name = "My phone"
			return v
		}),
		p.shot("backup", "backup_title", func(f frame) view {
			f.SignedIn = true
			return backupView{frame: f, Codes: slices.Repeat([]string{"K7QM-2XRD-9HTV-4WPA-B6ZN-E3JC"}, 10)}
		}),
	}, p.changeShots(now)...)
}

// changeShots are the forms that the overview leads to.
func (p *Pages) changeShots(now time.Time) []Shot {
	h := &Security{Pages: p, Ways: []factor.Way{factor.Email, factor.SMS}}
	mailOnly := &Security{Pages: p, Ways: []factor.Way{factor.Email}}
	code := func(f frame, way factor.Way, pause time.Duration) view {
		f.SignedIn = true
		return addressCodePage(f, securityPath+"/addresses/example", profile.AddressFlow{Way: way, ResendAt: now}, pause)
	}
	password := func(f frame, key, current, fresh string) view {
		v := h.passwordPage(f.fails(f.say(key)))
		v.CurrentProblem, v.NewProblem = current, fresh
		return v
	}
	return []Shot{
		p.shot("password", "password_title", func(f frame) view { return h.passwordPage(f) }),
		p.shot("password-wrong", "password_title", func(f frame) view { return password(f, "password_current_refused", f.say("again_refused"), "") }),
		p.shot("password-common", "password_title", func(f frame) view { return password(f, "password_new_refused", "", f.say("wrong_password_common")) }),
		p.shot("password-missing", "password_title", func(f frame) view {
			return password(f, "password_missing", f.say("wrong_claim_missing"), f.say("wrong_claim_missing"))
		}),
		p.shot("address", "address_title", func(f frame) view { return h.addressPage(f) }),
		p.shot("address-email", "address_title", func(f frame) view { return mailOnly.addressPage(f) }),
		p.shot("address-known", "address_title", func(f frame) view { return h.addressPage(f.fails(f.say("address_known"))) }),
		p.shot("address-code", "address_code_title", func(f frame) view { return code(f, factor.Email, 30*time.Second) }),
		p.shot("address-code-sms", "address_code_title", func(f frame) view { return code(f.flash("code-sent"), factor.SMS, 0) }),
		p.shot("address-code-refused", "address_code_title", func(f frame) view { return code(f.fails(f.say("code_refused")), factor.SMS, 0) }),
		p.shot("contact", "contact_title", func(f frame) view { return h.contactPage(f) }),
		p.shot("contact-refused", "contact_title", func(f frame) view { return h.contactPage(f).wrong("contact_is_own") }),
		p.shot("saved", "saved_title", func(f frame) view {
			f.SignedIn = true
			return savedView{frame: f, Code: "0123-4567-89AB-CDEF-GHJK-MNPQ"}
		}),
	}
}
