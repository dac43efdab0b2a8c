package pages

import (
	"time"

	"countersign/internal/oidc"
)

// authorizeShots are the pages between an application and the sign-in.
func (p *Pages) authorizeShots() []Shot {
	const request = "0196f0c1-7b1a-7c3e-8f00-0123456789ab"
	page := func(scopes ...string) func(frame) view {
		return func(f frame) view {
			return authorizePage(f, request, oidc.Next{Name: "Corner Shop", Host: "shop.example.com", Scopes: scopes})
		}
	}
	return []Shot{
		p.shot("authorize", "authorize_title", page("openid")),
		p.shot("authorize-offline", "authorize_title", page("openid", "email", "offline_access")),
		p.shot("onward", "onward_title", func(f frame) view { return onwardPage(f, request, "sealed") }),
		p.shot("pair", "pair_title", func(f frame) view { return pairPage(f, "") }),
		p.shot("pair-link", "pair_title", func(f frame) view { return pairPage(f, "BCDF-GHJK") }),
		p.shot("pair-unknown", "pair_title", func(f frame) view { return pairPage(f.fails(f.say("pair_unknown")), "") }),
		p.shot("pair-allowed", "pair_title", func(f frame) view { return pairDone(f, "pair_allowed") }),
		p.shot("pair-refused", "pair_title", func(f frame) view { return pairDone(f, "pair_refused") }),
		p.shot("authorize-device", "authorize_title", func(f frame) view {
			return authorizePage(f, request, oidc.Next{Name: "Corner TV", Code: "BCDF-GHJK", Scopes: []string{"openid", "offline_access"}})
		}),
		p.shot("logout", "logout_title", func(f frame) view { return logoutPage(f, "sealed") }),
		p.shot("applications", "applications_title", func(f frame) view {
			at := time.Date(2026, time.November, 20, 19, 12, 0, 0, time.UTC)
			return applicationsPage(f.flash("withdrawn"), []oidc.Allowed{
				{Client: "shop", Name: "Corner Shop", Scopes: []string{"openid", "offline_access"}, Since: at, Last: at, Live: true},
				{Client: "an-application-that-is-gone-by-now", Scopes: []string{"openid"}, Since: at, Last: at},
			})
		}),
		p.shot("applications-none", "applications_title", func(f frame) view { return applicationsPage(f, nil) }),
		p.shot("signin-for-app", "signin_title", func(f frame) view { return signInView{frame: f.on(requestWord + request), Goal: "Corner Shop"} }),
		p.shot("again-for-app", "again_title", func(f frame) view { return againPage(f, requestWord+request) }),
		p.shot("again-for-app-more", "again_title", func(f frame) view {
			v := againPage(f, requestWord+request)
			v.More = true
			return v
		}),
	}
}
