package pages

import (
	"io"
	"time"

	"countersign/internal/factor"
	"countersign/internal/registration"
)

// registerShots are the pages on the way to an account.
func (p *Pages) registerShots() []Shot {
	both := Asks{Ways: []factor.Way{factor.SMS, factor.Email}}
	address := func(a Asks, key string) func(frame) view {
		return func(f frame) view {
			if key != "" {
				f = f.fails(f.say(key))
			}
			v := registerPage(f, a)
			v.Uninvited = key == uninvited
			return v
		}
	}
	invited := both
	invited.Invitation = true
	shots := []Shot{
		p.shot("register", "register_title", address(both, "")),
		p.shot("register-email-only", "register_title", address(Asks{Ways: []factor.Way{factor.Email}}, "")),
		p.shot("register-phone-only", "register_title", address(Asks{Ways: []factor.Way{factor.SMS}}, "")),
		p.shot("register-invited", "register_title", address(invited, "")),
		p.shot("register-missing", "register_title", address(both, "register_missing")),
		p.shot("register-malformed", "register_title", address(both, "register_malformed")),
		p.shot("register-unreachable", "register_title", address(Asks{Ways: []factor.Way{factor.Email}}, "register_unreachable")),
		p.shot("register-refused", "register_title", address(invited, uninvited)),
	}
	for name, code := range map[string]string{
		"register-closed": "registration_closed", "register-ended": "flow_ended", "register-taken": "identifier_taken", "register-uninvited": "invitation_refused",
	} {
		shots = append(shots, Shot{Name: name, Write: func(w io.Writer, lang string) error { return p.render(w, p.deadEnd(lang, dead[code])) }})
	}
	return append(append(shots, p.registerCodeShots()...), p.aboutShots()...)
}

func (p *Pages) registerCodeShots() []Shot {
	page := func(f frame, way factor.Way, pause int) view {
		return registerCodePage(f, "/register/example", registration.Next{Way: way, ResendAt: time.Unix(1, 0)}, pause)
	}
	return []Shot{
		p.shot("register-code-email", "register_code_title", func(f frame) view { return page(f, factor.Email, 30) }),
		p.shot("register-code-sms", "register_code_title", func(f frame) view { return page(f, factor.SMS, 0) }),
		p.shot("register-code-sent", "register_code_title", func(f frame) view { return page(f.flash("register-sent"), factor.Email, 60) }),
		p.shot("register-code-too-soon", "register_code_title", func(f frame) view {
			f.Flash = f.say("code_too_soon", "wait", f.span(24*time.Second))
			return page(f, factor.Email, 24)
		}),
		p.shot("register-code-no-more", "register_code_title", func(f frame) view {
			return registerCodePage(f, "/register/example", registration.Next{Way: factor.Email}, 0)
		}),
		p.shot("register-code-refused", "register_code_title", func(f frame) view { return page(f.fails(f.say("register_code_refused")), factor.Email, 0) }),
		p.shot("register-code-missing", "register_code_title", func(f frame) view { return page(f.fails(f.say("code_missing")), factor.SMS, 0) }),
	}
}

func (p *Pages) aboutShots() []Shot {
	everything := Asks{MinPassword: 15, TermsURL: "/terms", TermsVersion: "1"}
	for i, name := range registration.StandardClaims() {
		everything.Claims = append(everything.Claims, registration.Claim{Name: name, Required: i == 0})
	}
	page := func(f frame, a Asks, problems ...registration.Problem) view {
		return aboutView{
			frame: f, Submit: "/register/example/finish", Nonce: "example", Origin: p.options.Origin, RememberDays: p.options.RememberDays, Asks: a,
		}.asking(problems)
	}
	shots := []Shot{
		p.shot("about", "about_title", func(f frame) view { return page(f, Asks{MinPassword: 15}) }),
		p.shot("about-everything", "about_title", func(f frame) view { return page(f, everything) }),
		p.shot("about-problems", "about_title", func(f frame) view {
			return page(f, everything,
				registration.Problem{Field: "name", Code: "claim_missing"}, registration.Problem{Field: "birthdate", Code: "claim_malformed"},
				registration.Problem{Field: "password", Code: "password_too_short"}, registration.Problem{Field: "terms", Code: "terms_not_accepted"})
		}),
	}
	shots = append(shots, p.shot("welcome", "welcome_title", func(f frame) view { return welcomePage(f, []factor.Way{factor.SMS, factor.Email}, "/") }))
	for _, code := range []string{"password_common", "password_context", "password_malformed", "password_too_long"} {
		shots = append(shots, p.shot("about-"+code, "about_title", func(f frame) view {
			return page(f, Asks{MinPassword: 15}, registration.Problem{Field: "password", Code: code})
		}))
	}
	return shots
}
