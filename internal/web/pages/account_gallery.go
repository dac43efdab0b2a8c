package pages

import (
	"net/netip"
	"time"

	"countersign/internal/profile"
)

func (p *Pages) accountShots() []Shot {
	at := time.Date(2026, time.November, 23, 14, 12, 0, 0, time.UTC)
	fresh := profile.Self{Language: "en", Fresh: true}
	erasing := profile.Self{Language: "de", Fresh: true, EraseAt: at.Add(14 * 24 * time.Hour)}
	page := func(self profile.Self, done string) func(frame) view {
		return func(f frame) view { return p.accountPage(f.flash(done), self) }
	}
	return []Shot{
		p.shot("account", "account_title", page(fresh, "")),
		p.shot("account-stale", "account_title", page(profile.Self{Language: "ar"}, "")),
		p.shot("account-erasing", "account_title", page(erasing, "erase-asked")),
		p.shot("account-erasing-stale", "account_title", page(profile.Self{Language: "fr", EraseAt: erasing.EraseAt}, "")),
		p.shot("account-kept", "account_title", page(fresh, "kept")),
		p.shot("account-language", "account_title", page(fresh, "language-set")),
	}
}

func (p *Pages) disavowShots() []Shot {
	deed := profile.Deed{
		ID: "example", What: profile.SignedIn, Name: "Safari on iOS", Source: netip.MustParseAddr("192.0.2.7"), Methods: []string{"password", "sms"}, Times: 1,
		At: time.Date(2026, time.November, 20, 19, 12, 0, 0, time.UTC),
	}
	renamed := deed
	renamed.What, renamed.Subject = profile.Renamed, "AVeryLongNameThatSomebodyGaveToADeviceWithoutAnySpaceInIt0123456789"
	return []Shot{
		p.shot("disavow", "notme_ask_title", func(f frame) view { return disavowPage(f, deed, true, true) }),
		p.shot("disavow-stale", "notme_ask_title", func(f frame) view { return disavowPage(f, deed, true, false) }),
		p.shot("disavow-long", "notme_ask_title", func(f frame) view { return disavowPage(f, renamed, false, true) }),
	}
}
