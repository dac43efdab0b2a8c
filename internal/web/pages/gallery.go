package pages

import (
	"io"
	"net/http"
	"net/netip"
	"time"

	"countersign/internal/device"
	"countersign/internal/factor"
	links "countersign/internal/notice"
	"countersign/internal/outbox"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/web"
)

// Shot is one page in one state, with made-up data.
type Shot struct {
	Name  string
	Write func(w io.Writer, lang string) error
}

// Gallery is every page in every state. It needs no database: looking at the pages is how they are judged.
func (p *Pages) Gallery() []Shot {
	shots := append(p.signInShots(), p.codeShots()...)
	shots = append(shots, p.recoverShots()...)
	shots = append(shots, p.registerShots()...)
	shots = append(shots, p.authorizeShots()...)
	shots = append(shots, p.homeShots()...)
	shots = append(shots, p.activityShots()...)
	shots = append(shots, p.disavowShots()...)
	shots = append(shots, p.accountShots()...)
	shots = append(shots, p.securityShots()...)
	shots = append(shots, p.approveShots()...)
	shots = append(shots, p.accessShots()...)
	shots = append(shots, p.againShots()...)
	shots = append(shots, p.protectShots()...)
	shots = append(shots, p.noticeShots()...)
	return append(shots, p.demoShots()...)
}

func (p *Pages) shot(name, title string, page func(frame) view) Shot {
	return Shot{Name: name, Write: func(w io.Writer, lang string) error {
		f := p.frame(lang, title)
		f.where = madeUpPlace
		return p.render(w, page(f))
	}}
}

// madeUpPlace is where everything in the gallery happens.
func madeUpPlace(_ netip.Addr, lang string) string {
	return map[string]string{"en": "Graz, Austria", "de": "Graz, Österreich", "fr": "Graz, Autriche", "es": "Graz, Austria", "ar": "غراتس، النمسا"}[lang]
}

func madeUpPasskey(p *Pages) ceremony {
	return p.ceremony(passkey.Begun{Options: []byte(`{"challenge":"AAAA","rpId":"localhost","timeout":600000}`), State: []byte("example")})
}

func madeUpFlow() atCode {
	ways := []factor.Way{factor.Passkey, factor.OTP, factor.SMS, factor.Backup}
	return atCode{ref: signin.Ref{Flow: secret.Of("example")}, next: signin.Next{Step: signin.StepSecond, Ways: ways}}
}

func (p *Pages) signInShots() []Shot {
	return []Shot{
		p.shot("signin", "signin_title", func(f frame) view { return signInView{frame: f, Goal: f.Site} }),
		p.shot("signin-refused", "signin_title", func(f frame) view { return signInView{Goal: f.Site, frame: f.fails(f.say("signin_refused"))} }),
		p.shot("signin-missing", "signin_title", func(f frame) view { return signInView{Goal: f.Site, frame: f.fails(f.say("signin_missing"))} }),
		p.shot("signin-signed-out", "signin_title", func(f frame) view { return signInView{Goal: f.Site, frame: f.flash("signed-out")} }),
		p.shot("signin-all-ended", "signin_title", func(f frame) view { return signInView{Goal: f.Site, frame: f.flash("all-ended")} }),
		p.shot("signin-unproved", "signin_title", func(f frame) view { return signInView{Goal: f.Site, frame: f.flash("unproved")} }),
		p.shot("signin-passkey", "signin_title", func(f frame) view { return signInView{frame: f, Goal: f.Site, Passkey: madeUpPasskey(p)} }),
		p.shot("signin-passkey-unknown", "signin_title", func(f frame) view {
			return signInView{Goal: f.Site, frame: f.fails(f.say("passkey_unknown")), Passkey: madeUpPasskey(p)}
		}),
		p.shot("signin-register", "signin_title", func(f frame) view { return signInView{frame: f, Goal: f.Site, Register: true} }),
		p.shot("device", "device_title", func(f frame) view {
			return deviceView{frame: f, Flow: "/signin/example", Nonce: "example", Origin: p.options.Origin}
		}),
	}
}

// fated says on a code's page what became of the message.
func fated(v codeView, fate outbox.Fate) codeView {
	v.Fate = fate
	return v
}

func (p *Pages) codeShots() []Shot {
	both := []factor.Way{factor.SMS, factor.Email}
	page := func(f frame, pause time.Duration, went factor.Way, all ...factor.Way) codeView {
		return codeView{
			frame: f, Flow: "/signin/example", Submit: "/signin/example/code", Nonce: "example",
			appDoor: appDoor{Start: "/signin"}, Origin: p.options.Origin, RememberDays: p.options.RememberDays, another: another{NoMore: pause < 0, Around: went == factor.SMS && len(all) == 1},
		}.ways(all, went, max(pause, 0))
	}
	return []Shot{
		p.shot("code-sms", "code_title", func(f frame) view { return page(f, 0, factor.SMS, both...) }),
		p.shot("code-email", "code_title", func(f frame) view { return page(f, 0, factor.Email, both...) }),
		p.shot("code-for-app", "code_title", func(f frame) view {
			v := page(f, 0, factor.Email, factor.Email)
			v.appDoor = appDoor{"Corner Shop", requestPath("0196f0c1-7b1a-7c3e-8f00-0123456789ab")}
			return v
		}),
		p.shot("code-one-way", "code_title", func(f frame) view { return page(f, 0, factor.Email, factor.Email) }),
		p.shot("code-sms-only", "code_title", func(f frame) view { return page(f, 0, factor.SMS, factor.SMS) }),
		p.shot("passkey", "passkey_title", func(f frame) view { return p.passkeyPage(f, madeUpFlow(), madeUpPasskey(p)) }),
		p.shot("passkey-refused", "passkey_title", func(f frame) view {
			return p.passkeyPage(f.fails(f.say("passkey_refused")), madeUpFlow(), madeUpPasskey(p))
		}),
		p.shot("passkey-only", "passkey_title", func(f frame) view {
			at := madeUpFlow()
			at.next.Ways = at.next.Ways[:1]
			return p.passkeyPage(f.fails(f.say("passkey_refused_only")), at, madeUpPasskey(p))
		}),
		p.shot("code-otp-only", "code_title", func(f frame) view {
			return page(f.fails(f.say("code_refused_only")), 0, factor.OTP, factor.OTP)
		}),
		p.shot("code-otp", "code_title", func(f frame) view { return page(f, 0, factor.OTP, factor.OTP, factor.SMS, factor.Backup) }),
		p.shot("code-backup-refused", "code_title", func(f frame) view {
			return page(f.fails(f.say("code_refused_own")), 0, factor.Backup, factor.OTP, factor.Email, factor.Backup)
		}),
		p.shot("code-no-way-yet", "code_title", func(f frame) view { return page(f, 0, "", both...) }),
		p.shot("code-sent", "code_title", func(f frame) view { return page(f.flash("code-sent"), 30*time.Second, factor.SMS, both...) }),
		p.shot("code-underway", "code_title", func(f frame) view { return fated(page(f, 30*time.Second, factor.SMS, both...), outbox.Underway) }),
		p.shot("code-delivered", "code_title", func(f frame) view { return fated(page(f, 0, factor.SMS, both...), outbox.Delivered) }),
		p.shot("code-not-delivered", "code_title", func(f frame) view {
			return fated(page(f, 0, factor.SMS, both...), outbox.NotDelivered)
		}),
		p.shot("code-too-soon", "code_title", func(f frame) view {
			f.Flash = f.say("code_too_soon", "wait", f.span(24*time.Second))
			return page(f, 24*time.Second, factor.SMS, both...)
		}),
		p.shot("code-no-more", "code_title", func(f frame) view { return page(f, -1, factor.SMS, both...) }),
		p.shot("code-refused", "code_title", func(f frame) view { return page(f.fails(f.say("code_refused")), 0, factor.SMS, both...) }),
		p.shot("code-missing", "code_title", func(f frame) view { return page(f.fails(f.say("code_missing")), 0, factor.Email, both...) }),
	}
}

func (p *Pages) homeShots() []Shot {
	at := func(day, hour int) time.Time { return time.Date(2026, time.November, day, hour, 12, 0, 0, time.UTC) }
	from := netip.MustParseAddr("192.0.2.7")
	mine := session.Session{
		ID: "1", Device: "1", Source: from, Name: "Firefox on Linux", Methods: []string{"password", "device"},
		CreatedAt: at(23, 8), LastSeenAt: at(23, 14),
	}
	others := []session.Session{
		{ID: "2", Name: "Safari on iOS", Key: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", Source: from, Methods: []string{"password", "sms"}, CreatedAt: at(20, 19), LastSeenAt: at(22, 7)},
		mine,
		{ID: "3", Name: "", Methods: []string{"password", "email"}, CreatedAt: at(2, 11), LastSeenAt: at(3, 9)},
	}
	devices := []device.Device{
		{ID: "1", Name: "Desk at home", Strength: device.SoftwareKey, Source: from, CreatedAt: at(1, 9), LastSeenAt: at(23, 8), ExpiresAt: at(31, 9)},
		{ID: "2", Name: "Chrome on Android", Strength: device.SoftwareKey, CreatedAt: at(5, 21), LastSeenAt: at(19, 6), ExpiresAt: at(35, 21)},
	}
	long := mine
	long.Name = "AVeryLongNameThatSomebodyGaveToAnAppWithoutAnySpaceInIt0123456789"
	return []Shot{
		p.shot("home", "home_title", func(f frame) view { return homePage(f, mine, others, devices) }),
		p.shot("home-alone", "home_title", func(f frame) view { return homePage(f, mine, []session.Session{mine}, nil) }),
		p.shot("home-forgotten", "home_title", func(f frame) view {
			return homePage(f.flash("device-forgotten"), mine, others[:2], devices[:1])
		}),
		p.shot("home-renamed", "home_title", func(f frame) view {
			return homePage(f.flash("device-renamed"), mine, others[:2], devices[:1])
		}),
		p.shot("home-nameless", "home_title", func(f frame) view {
			return homePage(f.fails(f.say("device_name_missing")), mine, others[:2], devices[:1])
		}),
		p.shot("home-erasing", "home_title", func(f frame) view {
			v := homePage(f, mine, others[:2], devices)
			v.erasure = f.erasureOf(profile.Self{EraseAt: at(30, 14)})
			return v
		}),
		p.shot("home-waiting", "home_title", func(f frame) view {
			v := homePage(f, mine, others[:2], devices)
			v.Waits = true
			return v
		}),
		p.shot("home-long-name", "home_title", func(f frame) view { return homePage(f, long, []session.Session{long}, devices) }),
	}
}

func (p *Pages) againShots() []Shot {
	return []Shot{
		p.shot("again", "again_title", func(f frame) view { return againPage(f, "home") }),
		p.shot("again-refused", "again_title", func(f frame) view { return againPage(f.fails(f.say("again_refused")), "home") }),
		p.shot("again-missing", "again_title", func(f frame) view { return againPage(f.fails(f.say("again_missing")), "home") }),
	}
}

func (p *Pages) protectShots() (shots []Shot) {
	for _, c := range []struct{ name, path, state, problem string }{
		{"notme", links.PathNotMe, "ask", ""},
		{"notme-missing", links.PathNotMe, "ask", "link_missing"},
		{"notme-done", links.PathNotMe, "done", ""},
		{"notme-app", links.PathApp, "ask", ""},
		{"notme-app-done", links.PathApp, "done", ""},
		{"link-dead-app", links.PathApp, "dead", ""},
		{"stop", links.PathStop, "ask", ""},
		{"stop-missing", links.PathStop, "ask", "link_missing"},
		{"stop-done", links.PathStop, "done", ""},
		{"link-dead", links.PathNotMe, "dead", ""},
	} {
		shots = append(shots, Shot{Name: c.name, Write: func(w io.Writer, lang string) error {
			v := p.protectPage(lang, c.path, c.state)
			if c.problem != "" {
				v.frame = v.fails(v.say(c.problem))
			}
			return p.render(w, v)
		}})
	}
	return shots
}

func (p *Pages) noticeShots() []Shot {
	var shots []Shot
	for _, n := range []struct {
		name, path string
		answer     web.Answer
	}{
		{"notice-recovery-ended", "/recover/example", web.Answer{Status: http.StatusGone}},
		{"notice-ended", "/", web.Answer{Status: http.StatusGone}},
		{"notice-too-many", "/", web.Answer{Status: http.StatusTooManyRequests, RetryAfter: 5 * time.Minute}},
		{"notice-busy", "/", web.Answer{Status: http.StatusServiceUnavailable, RetryAfter: 30 * time.Second}},
		{"notice-not-found", "/", web.Answer{Status: http.StatusNotFound}},
		{"notice-elsewhere", "/", web.Answer{Status: http.StatusMisdirectedRequest, Code: "host_unknown"}},
		{"notice-forbidden", "/", web.Answer{Status: http.StatusForbidden}},
		{"notice-signed-out", "/", web.Answer{Status: http.StatusUnauthorized}},
		{"notice-form", "/", web.Answer{Status: http.StatusUnprocessableEntity}},
		{"notice-request-invalid", "/authorize", web.Answer{Status: http.StatusUnprocessableEntity, Code: "oidc_request_invalid"}},
		{"notice-redirect-unregistered", "/authorize", web.Answer{Status: http.StatusUnprocessableEntity, Code: "oidc_redirect_unregistered"}},
		{"notice-large", "/", web.Answer{Status: http.StatusRequestEntityTooLarge}},
		{"notice-internal", "/", web.Answer{Status: http.StatusInternalServerError, RequestID: "0123456789abcdef"}},
	} {
		shots = append(shots, Shot{Name: n.name, Write: func(w io.Writer, lang string) error {
			return p.render(w, p.failure(lang, n.path, n.answer))
		}})
	}
	return shots
}

func (p *Pages) demoShots() []Shot {
	accounts := []DemoAccount{
		{Name: "Ada", SignsIn: "ada@demo.invalid", Password: "a made-up password", Texts: true},
		{Name: "Grace", SignsIn: "grace", Password: "another made-up password"},
	}
	at := time.Date(2026, time.November, 23, 14, 12, 0, 0, time.UTC)
	messages := []Message{
		{At: at, Channel: "sms", To: "Ada’s phone", Text: "123456 is your code for Example. Never give it to anyone.\n\n@id.demo.invalid #123456"},
		{At: at.Add(-time.Minute), Channel: "sms", To: "Ada’s phone", Text: "654321 is your code for Example. Never give it to anyone."},
		{At: at.Add(time.Second), Channel: "email", To: "ada@demo.invalid", Subject: "A new device signed in", Text: "Firefox on Linux has just signed in to your account.\n\nIf that was you, there is nothing to do."},
		{At: at.Add(-time.Hour), Channel: "email", To: "grace@demo.invalid", Subject: "Your code", Text: "Your code: 246810\n\nIt works once, for ten minutes."},
	}
	return []Shot{
		p.shot("demo", "demo_title", func(f frame) view { return demoPage(f, accounts) }),
		p.shot("inbox", "inbox_title", func(f frame) view { return inboxPage(f, messages) }),
		p.shot("inbox-empty", "inbox_title", func(f frame) view { return inboxPage(f, nil) }),
	}
}
