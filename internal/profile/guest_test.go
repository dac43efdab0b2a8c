package profile_test

import (
	"net/netip"

	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

// guest is somebody at a browser, who signs in as people do.
type guest struct {
	home

	name    string
	from    signin.Client
	browser secret.Token
	key     testkit.Key
	handles []secret.Token
}

func (h home) guest(name, from string) *guest {
	h.t.Helper()
	c := h.Client
	c.Source = netip.MustParseAddr(from)
	return &guest{home: h, name: name, from: c, browser: secret.NewToken(signin.BrowserPrefix), key: testkit.NewKey(h.t)}
}

// password comes as far as the right password leads.
func (g *guest) password(pw string) (signin.Ref, signin.Next) {
	g.t.Helper()
	st, err := g.Begin(g.t.Context(), signin.Begin{Identifier: g.name, Browser: g.browser, Client: g.from, Handles: g.handles})
	g.must(err)
	ref := signin.Ref{Flow: st.Flow, Browser: g.browser}
	n, err := g.Password(g.t.Context(), ref, g.from, signin.PasswordProof{Password: pw, Handles: g.handles})
	g.must(err)
	return ref, n
}

// enter signs in with a code by e-mail, and has the device remembered.
func (g *guest) enter() session.Session {
	g.t.Helper()
	ref, n := g.password(testkit.Password)
	_, err := g.Send(g.t.Context(), ref, g.from, "email")
	g.must(err)
	n, err = g.Code(g.t.Context(), ref, g.from, signin.CodeProof{Code: g.LastCode(message.Email), Remember: &device.Enrolment{
		PublicKey: g.key.Public(), Signature: g.key.Sign("remember", testkit.Origin, n.Nonce),
	}})
	g.must(err)
	return g.in(n)
}

// comeBack signs in from the remembered device.
func (g *guest) comeBack() session.Session {
	g.t.Helper()
	ref, n := g.password(testkit.Password)
	n, err := g.Device(g.t.Context(), ref, g.from, device.Proof{Handles: g.handles, Signature: g.key.Sign("recognise", testkit.Origin, n.Nonce)})
	g.must(err)
	return g.in(n)
}

func (g *guest) in(n signin.Next) session.Session {
	g.t.Helper()
	if n.Step != signin.StepDone {
		g.t.Fatalf("not signed in: %s, refused %v", n.Step, n.Refused)
	}
	if n.Device != nil {
		g.handles = []secret.Token{n.Device.Handle}
	}
	s, err := g.Sessions.Check(g.t.Context(), n.Session.Token)
	g.must(err)
	return s
}
