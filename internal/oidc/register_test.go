package oidc_test

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
)

func wiki() oidc.Metadata {
	return oidc.Metadata{Name: "Wiki", RedirectURIs: []string{"https://wiki.example.com/callback"}, Grants: []string{"authorization_code", "refresh_token"}}
}

func (k *kit) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) invited() secret.Token {
	k.t.Helper()
	token, err := k.Invite(k.t.Context(), time.Hour)
	k.must(err)
	return token
}

// listed demands that operators see whether an application registered itself.
func (k *kit) listed(id string, itself bool) {
	k.t.Helper()
	all, err := k.Clients(k.t.Context())
	k.must(err)
	if i := slices.IndexFunc(all, func(r oidc.Registered) bool { return r.ID == id }); i < 0 || all[i].Itself != itself {
		k.t.Errorf("%s is listed as %+v", id, all)
	}
}

// RFC 7591 and 7592: an invitation registers one application, which its own token reads, changes and takes away, and nobody else's does.
func TestAnApplicationRegistersItself(t *testing.T) {
	each(t, func(k *kit) {
		ctx, invitation := k.t.Context(), k.invited()
		e, err := k.Register(ctx, invitation, wiki(), from)
		k.must(err)
		if e.Secret.Empty() || e.Token.Empty() || e.Auth != oidc.ByBasic || e.Scope != "openid offline_access" || e.SubjectType != "pairwise" || !strings.HasPrefix(e.ID, "app-") {
			k.t.Errorf("%+v", e.Metadata)
		}
		c, err := k.Authenticate(ctx, oidc.Caller{Method: oidc.ByBasic, ID: e.ID, Secret: e.Secret, Source: from})
		k.must(err)
		if c.FirstParty || c.Public || c.Introspects || c.WithoutPKCE || len(c.SecondDoor) > 0 {
			k.t.Errorf("it was let more than applications are that register themselves: %+v", c)
		}
		if _, err := k.Register(ctx, invitation, wiki(), from); word(err) != "invalid_token" {
			k.t.Errorf("an invitation registers twice: %v", err)
		}
		other, err := k.Register(ctx, k.invited(), wiki(), from)
		k.must(err)
		for what, token := range map[string]secret.Token{"nobody's": secret.NewToken("csm"), "another's": other.Token, "the secret": e.Secret, "none": {}, "the invitation": invitation} {
			if _, err := k.Own(ctx, e.ID, token, from); word(err) != "invalid_token" {
				k.t.Errorf("%s reads: %v", what, err)
			}
			change := wiki()
			change.ID, change.Name = e.ID, "Mine"
			if _, err := k.Amend(ctx, e.ID, token, change, from); word(err) != "invalid_token" {
				k.t.Errorf("%s changes: %v", what, err)
			}
			if err := k.Deregister(ctx, e.ID, token, from); word(err) != "invalid_token" {
				k.t.Errorf("%s takes away: %v", what, err)
			}
		}
		change := wiki()
		change.ID, change.RedirectURIs = e.ID, []string{"https://wiki.example.com/new"}
		_, err = k.Amend(ctx, e.ID, e.Token, change, from)
		k.must(err)
		now, err := k.Own(ctx, e.ID, e.Token, from)
		k.must(err)
		if now.RedirectURIs[0] != "https://wiki.example.com/new" || now.Name != "Wiki" || !now.Secret.Empty() {
			k.t.Errorf("%+v", now.Metadata)
		}
		if _, err := k.Authenticate(ctx, oidc.Caller{Method: oidc.ByBasic, ID: e.ID, Secret: e.Secret, Source: from}); err != nil {
			k.t.Errorf("a change costs it its secret: %v", err)
		}
		k.must(k.Deregister(ctx, e.ID, e.Token, from))
		if _, err := k.Authenticate(ctx, oidc.Caller{Method: oidc.ByBasic, ID: e.ID, Secret: e.Secret, Source: from}); word(err) != "invalid_client" {
			k.t.Errorf("it is still there: %v", err)
		}
		if _, err := k.Own(ctx, "shop", e.Token, from); word(err) != "invalid_token" {
			k.t.Errorf("one that a command registered is read: %v", err)
		}
		lost := k.invited()
		if n, err := k.WithdrawInvitations(ctx); err != nil || n != 1 {
			k.t.Errorf("%d were taken back, %v", n, err)
		}
		if _, err := k.Register(ctx, lost, wiki(), from); word(err) != "invalid_token" {
			k.t.Errorf("one that was taken back: %v", err)
		}
		k.clock.Advance(25 * time.Hour)
		late, err := k.Invite(ctx, time.Hour)
		k.must(err)
		k.clock.Advance(time.Hour + time.Second)
		if _, err := k.Register(ctx, late, wiki(), from); word(err) != "invalid_token" {
			k.t.Errorf("an invitation that is over: %v", err)
		}
	})
}

func TestWhatCannotBeRegisteredUsesUpNothing(t *testing.T) {
	each(t, func(k *kit) {
		invitation := k.invited()
		for what, c := range map[string]struct {
			change func(*oidc.Metadata)
			want   string
		}{
			"no redirect URI":           {func(m *oidc.Metadata) { m.RedirectURIs = nil }, "invalid_redirect_uri"},
			"http":                      {func(m *oidc.Metadata) { m.RedirectURIs = []string{"http://wiki.example.com/"} }, "invalid_redirect_uri"},
			"a fragment":                {func(m *oidc.Metadata) { m.RedirectURIs = []string{"https://wiki.example.com/#a"} }, "invalid_redirect_uri"},
			"two hosts":                 {func(m *oidc.Metadata) { m.RedirectURIs = append(m.RedirectURIs, "https://other.example.com/") }, "invalid_client_metadata"},
			"the account's id":          {func(m *oidc.Metadata) { m.SubjectType = "public" }, "invalid_client_metadata"},
			"keys at an address":        {func(m *oidc.Metadata) { m.KeysAt = "http://169.254.169.254/" }, "invalid_client_metadata"},
			"a sector at an address":    {func(m *oidc.Metadata) { m.SectorAt = "https://wiki.example.com/sector" }, "invalid_client_metadata"},
			"the implicit grant":        {func(m *oidc.Metadata) { m.Responses = []string{"id_token"} }, "invalid_client_metadata"},
			"passwords":                 {func(m *oidc.Metadata) { m.Grants = []string{"password"} }, "invalid_client_metadata"},
			"a scope that is not there": {func(m *oidc.Metadata) { m.Scope = "openid admin" }, "invalid_client_metadata"},
			"addresses":                 {func(m *oidc.Metadata) { m.Scope = "openid email" }, "invalid_client_metadata"},
			"no name":                   {func(m *oidc.Metadata) { m.Name = "" }, "invalid_client_metadata"},
			"a name that turns round":   {func(m *oidc.Metadata) { m.Name = "Bank\u202eevil" }, "invalid_client_metadata"},
			"a name of a terminal's":    {func(m *oidc.Metadata) { m.Name = "Wiki\u009b2J" }, "invalid_client_metadata"},
			"a name with nothing in it": {func(m *oidc.Metadata) { m.Name = "Ba\u200bnk" }, "invalid_client_metadata"},
			"a name of two lines":       {func(m *oidc.Metadata) { m.Name = "Wiki\u2028Bank" }, "invalid_client_metadata"},
			"keys that are none":        {func(m *oidc.Metadata) { m.Auth, m.Keys = oidc.ByAssertion, []byte(`{"keys":[]}`) }, "invalid_client_metadata"},
		} {
			m := wiki()
			c.change(&m)
			if _, err := k.Register(k.t.Context(), invitation, m, from); word(err) != c.want {
				k.t.Errorf("%s: %v, want %s", what, err, c.want)
			}
		}
		if _, err := k.Register(k.t.Context(), invitation, wiki(), from); err != nil {
			k.t.Errorf("it was used up: %v", err)
		}
		all, err := k.Clients(k.t.Context())
		k.must(err)
		if len(all) != 2 { // the kit's own, and this
			k.t.Errorf("%d applications", len(all))
		}
	})
}

// What the operator has changed is the operator's: the application's own token could take it back.
func TestWhatTheOperatorChangedStays(t *testing.T) {
	each(t, func(k *kit) {
		ctx := k.t.Context()
		e, err := k.Register(ctx, k.invited(), wiki(), from)
		k.must(err)
		k.listed(e.ID, true)
		if _, err := k.Add(ctx, oidc.Client{ID: e.ID, Name: "Wiki", RedirectURIs: e.RedirectURIs, RequirePAR: true}); err != nil {
			k.t.Fatal(err)
		}
		k.listed(e.ID, false)
		change := wiki()
		change.ID = e.ID
		if _, err := k.Amend(ctx, e.ID, e.Token, change, from); word(err) != "invalid_token" {
			k.t.Errorf("it need not push its requests any more: %v", err)
		}
		if c, err := k.Authenticate(ctx, oidc.Caller{Method: oidc.ByBasic, ID: e.ID, Secret: e.Secret, Source: from}); err != nil || !c.RequirePAR {
			k.t.Errorf("%v, %+v", err, c)
		}
	})
}

// Of any number of registrations at once with one invitation, one is.
func TestOneInvitationRegistersOneApplication(t *testing.T) {
	each(t, func(k *kit) {
		invitation := k.invited()
		var done atomic.Int32
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				// The limit of failed calls is one address's own.
				if _, err := k.Register(k.t.Context(), invitation, wiki(), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})); err == nil {
					done.Add(1)
				} else if word(err) != "invalid_token" {
					k.t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		if done.Load() != 1 {
			k.t.Errorf("%d were registered", done.Load())
		}
	})
}

// Pairwise names are per application: one that registers itself names any host it likes, and is not to be told by what names another of that host knows
// people.
func TestARegisteredApplicationHasNamesOfItsOwn(t *testing.T) {
	each(t, func(k *kit) {
		shop, err := k.UserInfo(k.t.Context(), k.tokens(redeeming(k.code())).Access, oidc.Caller{})
		k.must(err)
		m := wiki()
		m.RedirectURIs = []string{"https://evil.example.net/callback"}
		e, err := k.Register(k.t.Context(), k.invited(), m, from)
		k.must(err)
		subject := func() any {
			info, err := k.UserInfo(k.t.Context(), k.agreedBy(e.ID, "https://evil.example.net/callback"), oidc.Caller{})
			k.must(err)
			return info["sub"]
		}
		before := subject()
		m.ID, m.RedirectURIs = e.ID, []string{"https://shop.example.com/any"}
		_, err = k.Amend(k.t.Context(), e.ID, e.Token, m, from)
		k.must(err)
		m.RedirectURIs = []string{"https://shop.example.com/any", callback}
		_, err = k.Amend(k.t.Context(), e.ID, e.Token, m, from)
		k.must(err)
		info, err := k.UserInfo(k.t.Context(), k.agreedBy(e.ID, callback), oidc.Caller{})
		k.must(err)
		if info["sub"] == shop["sub"] {
			k.t.Error("it is told the name by which the shop knows them")
		}
		if info["sub"] != before {
			k.t.Error("a change of its host changes by what names it knows people")
		}
	})
}

// agreedBy is an access token of a client that the holder has agreed to.
func (k *kit) agreedBy(client, redirect string) secret.Token {
	k.t.Helper()
	b := k.begin("client_id", client, "redirect_uri", redirect, "prompt", "consent")
	n, err := k.Decide(k.t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}, oidc.Decision{Session: k.me, Agreed: true, Source: from})
	k.must(err)
	u, err := url.Parse(n.Answer)
	k.must(err)
	v := redeeming(u.Query().Get("code"))
	v.Set("redirect_uri", redirect)
	all, err := k.Clients(k.t.Context())
	k.must(err)
	at := slices.IndexFunc(all, func(r oidc.Registered) bool { return r.ID == client })
	out, err := k.Exchange(k.t.Context(), all[at].Client, v, oidc.Caller{Source: from})
	k.must(err)
	return out.Access
}

// Whoever has an invitation chooses the name: it does not stand where a password is asked for.
func TestANameThatAnApplicationGaveItselfAsksForNoPassword(t *testing.T) {
	each(t, func(k *kit) {
		m := wiki()
		m.Name = "Your Bank"
		e, err := k.Register(k.t.Context(), k.invited(), m, from)
		k.must(err)
		for client, want := range map[string]string{e.ID: "", k.client.ID: k.client.Name} {
			redirect := map[bool]string{true: m.RedirectURIs[0], false: callback}[client == e.ID]
			b := k.begin("client_id", client, "redirect_uri", redirect, "prompt", "consent")
			if name, err := k.Name(t.Context(), oidc.Ref{Request: b.Request, Browser: k.held}); err != nil || name != want {
				t.Errorf("%s is called %q: %v", client, name, err)
			}
		}
	})
}

// What the holder agreed to was that this application may know them, at this host: whoever has its token does not lead their browsers elsewhere unasked.
func TestConsentIsNotForAnotherHost(t *testing.T) {
	each(t, func(k *kit) {
		m := wiki()
		e, err := k.Register(k.t.Context(), k.invited(), m, from)
		k.must(err)
		k.agreedBy(e.ID, m.RedirectURIs[0])
		m.ID, m.RedirectURIs = e.ID, []string{m.RedirectURIs[0], "https://wiki.example.com/other"}
		_, err = k.Amend(k.t.Context(), e.ID, e.Token, m, from)
		k.must(err)
		if v := k.answer("client_id", e.ID, "redirect_uri", m.RedirectURIs[1], "prompt", "none"); v.Get("code") == "" {
			k.t.Errorf("another path of the host: %v", v)
		}
		m.RedirectURIs = []string{"https://evil.example.net/"}
		_, err = k.Amend(k.t.Context(), e.ID, e.Token, m, from)
		k.must(err)
		if v := k.answer("client_id", e.ID, "redirect_uri", m.RedirectURIs[0], "prompt", "none"); v.Get("error") != "consent_required" {
			k.t.Errorf("answered without being asked: %v", v)
		}
	})
}

// What an operator puts in an application's place is told apart from what was there, and a new one from one that is changed.
func TestAChangeSaysWhatWasThereBefore(t *testing.T) {
	each(t, func(k *kit) {
		e, err := k.Register(k.t.Context(), k.invited(), wiki(), from)
		k.must(err)
		mine := oidc.Client{ID: e.ID, Name: "Mine", RedirectURIs: []string{callback}}
		was, is, token, err := k.Change(k.t.Context(), mine)
		if err != nil || !was.Itself || was.Name != wiki().Name || is.Name != "Mine" || is.Sector != "shop.example.com" || !token.Empty() {
			k.t.Errorf("it had registered itself: %+v, %+v, %v", was, is, err)
		}
		if was, _, _, err = k.Change(k.t.Context(), mine); err != nil || was.ID != e.ID || was.Itself || was.Name != "Mine" {
			k.t.Errorf("it is the operator's: %+v, %v", was, err)
		}
		mine.ID = "mine"
		if was, _, token, err = k.Change(k.t.Context(), mine); err != nil || was.ID != "" || token.Empty() {
			k.t.Errorf("it is new: %+v, %v", was, err)
		}
	})
}
