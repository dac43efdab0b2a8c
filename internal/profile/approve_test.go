package profile_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/approval"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// ask begins a sign-in with the right password and asks for it to be let in from another device.
func (g *guest) ask() (signin.Ref, signin.Approval) {
	g.t.Helper()
	ref, n := g.password(testkit.Password)
	if !slices.Contains(n.Ways, factor.Approve) {
		g.t.Fatalf("offered %v, want approve among them", n.Ways)
	}
	a, err := g.Ask(g.t.Context(), ref, g.from)
	g.must(err)
	return ref, a
}

// proof is what a device shows to let another in.
func (g *guest) proof(id approval.ID) device.Proof {
	return device.Proof{Handles: g.handles, Signature: g.key.Sign("approve", testkit.Origin, string(id))}
}

// types has a number typed on the device; code is that of the refusal, if it is one.
func (g *guest) types(me session.Session, id approval.ID, number secret.Token) (right bool, code string) {
	g.t.Helper()
	right, err := g.Profile.Approve(g.t.Context(), me, g.from, profile.Approval{ID: id, Number: number, Proof: g.proof(id)})
	return right, codeOf(err)
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}

// other is a number that is not this one.
func other(number secret.Token) secret.Token {
	if number.Reveal() == "000000" {
		return secret.Of("000001")
	}
	return secret.Of("000000")
}

// pair is somebody's old device, where they are signed in, and their new one.
func (h home) pair() (old *guest, me session.Session, young *guest) {
	h.t.Helper()
	h.Account("ada@example.org")
	old, young = h.guest("ada@example.org", "198.51.100.7"), h.guest("ada@example.org", "203.0.113.9")
	me = old.enter()
	h.Letters(message.Email)
	return old, me, young
}

func TestADeviceLetsAnotherIn(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		ref, asked := young.ask()
		if n := asked.Number.Reveal(); len(n) != 6 || strings.Trim(n, "0123456789") != "" || asked.State != approval.Waiting {
			t.Fatalf("shown: %q, %s", n, asked.State)
		}
		if again, err := h.Ask(t.Context(), ref, young.from); err != nil || !again.Number.Equal(asked.Number) {
			t.Errorf("asked again: %v, %v", again.State, err)
		}
		waiting, err := h.Profile.Approvals(t.Context(), me)
		if err != nil || len(waiting) != 1 || waiting[0].ID != asked.ID || waiting[0].Source != young.from.Source || waiting[0].Device != "Firefox on Linux" {
			t.Fatalf("what is approved is not shown: %+v, %v", waiting, err)
		}
		if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); err != nil || n.Step != signin.StepSecond || !n.Refused {
			t.Fatalf("in before it was approved: %+v, %v", n, err)
		}
		if right, code := old.types(me, asked.ID, other(asked.Number)); right || code != "" {
			t.Fatalf("a wrong number: %t, %s", right, code)
		}
		if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); err != nil || !n.Refused {
			t.Fatalf("in by a wrong number: %+v, %v", n, err)
		}
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Fatalf("the right number: %s", code)
		}
		if right, code := old.types(me, asked.ID, asked.Number); right || code != "not_found" {
			t.Errorf("typed twice: %t, %s", right, code)
		}
		if at, err := h.Approval(t.Context(), ref); err != nil || at.State != approval.Approved {
			t.Errorf("approved: %+v, %v", at, err)
		}
		elsewhere := signin.Ref{Flow: ref.Flow, Browser: secret.NewToken(signin.BrowserPrefix)}
		if _, err := h.Enter(t.Context(), elsewhere, young.from, signin.CodeProof{}); codeOf(err) != "flow_ended" {
			t.Errorf("from another browser: %v", err)
		}
		at, err := h.At(t.Context(), ref)
		h.must(err)
		n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{Remember: &device.Enrolment{
			PublicKey: young.key.Public(), Signature: young.key.Sign("remember", testkit.Origin, at.Nonce),
		}})
		h.must(err)
		if s := young.in(n); !slices.Equal(s.Methods, []string{"password", "approved"}) || s.Device == "" {
			t.Errorf("the session: %+v", s)
		}
		if _, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); codeOf(err) != "flow_ended" {
			t.Errorf("in twice: %v", err)
		}
		h.told(message.Email, message.NewDevice)
		if got := said(h.activity(me.Account)); !strings.Contains(got, "approval_given") || !strings.Contains(got, "approval_wrong") || strings.Contains(got, "approval_asked") {
			t.Errorf("the owner is shown %s", got)
		}
	})
}

// N-3.1.3.2-05, -06: a request takes three wrong numbers, and new requests give no new tries.
func TestWrongNumbersAreFew(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		ref, first := young.ask()
		for range approval.Tries {
			if right, code := old.types(me, first.ID, other(first.Number)); right || code != "" {
				t.Fatalf("a wrong number: %t, %s", right, code)
			}
		}
		if right, code := old.types(me, first.ID, first.Number); right || code != "not_found" {
			t.Errorf("the right number after three wrong ones: %t, %s", right, code)
		}
		if at, err := h.Approval(t.Context(), ref); err != nil || at.State != approval.Over {
			t.Errorf("the request: %+v, %v", at, err)
		}
		_, second := young.ask()
		for range 2 {
			old.types(me, second.ID, other(second.Number))
		}
		if right, code := old.types(me, second.ID, second.Number); right || code != "too_many_attempts" {
			t.Errorf("the sixth number: %t, %s", right, code)
		}
		h.clock.Advance(15 * time.Minute)
		_, third := young.ask()
		if right, code := old.types(me, third.ID, third.Number); !right {
			t.Errorf("after the wait: %s", code)
		}
	})
}

// P5: what approves is a recognised device that proves itself, in a session of its own that is not old. A copied cookie
// lets nobody in, and neither does a signature made for anything else.
func TestOnlyARecognisedDeviceApproves(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		_, asked := young.ask()
		try := func(what string, me session.Session, p device.Proof, want string) {
			t.Helper()
			right, err := h.Profile.Approve(t.Context(), me, old.from, profile.Approval{ID: asked.ID, Number: asked.Number, Proof: p})
			if right || codeOf(err) != want {
				t.Errorf("%s: %t, %v; want %s", what, right, err, want)
			}
		}
		const unproved = "device_unproved"
		try("a copied session alone", me, device.Proof{}, unproved)
		try("copied cookies", me, device.Proof{Handles: old.handles, Signature: make([]byte, 64)}, unproved)
		stranger := testkit.NewKey(t)
		try("another key", me, device.Proof{Handles: old.handles, Signature: stranger.Sign("approve", testkit.Origin, string(asked.ID))}, unproved)
		try("a signature to be recognised", me, device.Proof{Handles: old.handles, Signature: old.key.Sign("recognise", testkit.Origin, string(asked.ID))}, unproved)
		try("a signature for another sign-in", me, device.Proof{Handles: old.handles, Signature: old.key.Sign("approve", testkit.Origin, "another")}, unproved)
		try("the key without a handle", me, device.Proof{Signature: old.key.Sign("approve", testkit.Origin, string(asked.ID))}, unproved)
		try("a session of no device", h.signIn(me.Account, ""), old.proof(asked.ID), unproved)
		try("a session of no device, and no proof", h.signIn(me.Account, ""), device.Proof{}, unproved)
		spent := old.proof(asked.ID)
		me = old.comeBack() // the handle is another now
		try("a handle that was replaced", me, spent, unproved)
		bob := h.guest("bob@example.org", "192.0.2.99")
		h.Account("bob@example.org")
		try("somebody else", bob.enter(), bob.proof(asked.ID), "not_found")
		if all, err := h.Profile.Approvals(t.Context(), session.Session{Account: h.Account("eve@example.org")}); err != nil || len(all) > 0 {
			t.Errorf("somebody else is shown %v, %v", all, err)
		}
		aged := me
		aged.AuthenticatedAt = me.AuthenticatedAt.Add(-profile.ApproveFor - time.Minute)
		try("a session of yesterday", aged, old.proof(asked.ID), "reauthentication_required")
		aged.AuthenticatedAt = me.AuthenticatedAt.Add(time.Hour)
		try("a session from before the clock was put back", aged, old.proof(asked.ID), "reauthentication_required")
		me = old.comeBack()
		if ok, err := h.Profile.EndSession(t.Context(), me, old.from, me.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		try("a session that has ended", me, old.proof(asked.ID), "session_ended")
		if ok, err := h.Profile.RefuseSignIn(t.Context(), me, old.from, asked.ID); ok || codeOf(err) != "session_ended" {
			t.Errorf("a session that has ended refuses: %t, %v", ok, err)
		}
		me = old.comeBack()
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Errorf("the device itself: %s", code)
		}
	})
}

// Nobody is asked before the right password, nor where strangers come as far, nor where an approval is worth too little,
// nor by whoever is signed in already; and only if there is a device that could answer.
func TestWhoIsOfferedAnApproval(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		offered := func(what string, want bool) {
			t.Helper()
			ref, n := young.password(testkit.Password)
			_, err := h.Ask(t.Context(), ref, young.from)
			if got := slices.Contains(n.Ways, factor.Approve); got != want || got != (err == nil) || err != nil && codeOf(err) != "way_unknown" {
				t.Errorf("%s: offered %v, asked %v", what, n.Ways, err)
			}
		}
		ref, n := young.password("not the password at all")
		if _, err := h.Ask(t.Context(), ref, young.from); !n.Refused || codeOf(err) != "step_out_of_order" {
			t.Errorf("a wrong password: %+v, %v", n, err)
		}
		st, err := h.Again(t.Context(), me, signin.Begin{Browser: young.browser, Client: young.from})
		h.must(err)
		ref = signin.Ref{Flow: st.Flow, Browser: young.browser}
		n, err = h.Password(t.Context(), ref, young.from, signin.PasswordProof{Password: testkit.Password})
		h.must(err)
		if _, err := h.Ask(t.Context(), ref, young.from); slices.Contains(n.Ways, factor.Approve) || codeOf(err) != "way_unknown" {
			t.Errorf("a session lets itself in: %v, %v", n.Ways, err)
		}
		st, err = h.Begin(t.Context(), signin.Begin{Identifier: young.name, Browser: young.browser, Client: young.from, Least: assurance.AAL2})
		h.must(err)
		ref = signin.Ref{Flow: st.Flow, Browser: young.browser}
		n, err = h.Password(t.Context(), ref, young.from, signin.PasswordProof{Password: testkit.Password})
		h.must(err)
		if _, err := h.Ask(t.Context(), ref, young.from); slices.Contains(n.Ways, factor.Approve) || codeOf(err) != "way_unknown" {
			t.Errorf("where more is asked for: %v, %v", n.Ways, err)
		}
		photos := young.from
		photos.App = "photos"
		st, n, err = h.Vouch(t.Context(), signin.Vouched{Account: me.Account, App: photos.App, Begin: signin.Begin{Client: photos}})
		h.must(err)
		if _, err := h.Ask(t.Context(), signin.Ref{Flow: st.Flow}, photos); slices.Contains(n.Ways, factor.Approve) || codeOf(err) != "way_unknown" {
			t.Errorf("at an application's second door: %v, %v", n.Ways, err)
		}
		h.HidePasswordResult = true
		offered("with the result of the password hidden", false)
		h.HidePasswordResult = false
		offered("with a session on a recognised device", true)
		if ok, err := h.Profile.ForgetDevice(t.Context(), me, old.from, me.Device); err != nil || !ok {
			t.Fatal(ok, err)
		}
		offered("with a session on a device that was forgotten", false)
		h.must(h.Profile.EndAllSessions(t.Context(), me, old.from))
		old.handles = nil
		me = old.enter()
		offered("with another", true)
		if ok, err := h.Profile.EndSession(t.Context(), h.signIn(me.Account, ""), old.from, me.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		offered("with a device, and a session elsewhere", false)
		old.comeBack()
		h.clock.Advance(13 * time.Hour) // idle
		offered("with a device and no live session", false)
	})
}

// N-3.1.3.2-07: three requests that come to nothing, then none for a while, and never more than three to look at.
func TestNobodyIsWornDown(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		var wg sync.WaitGroup
		var asked atomic.Int32
		for range 12 { // at once: what is offered to all of them does not decide
			ref, _ := young.password(testkit.Password)
			wg.Go(func() {
				_, err := h.Ask(t.Context(), ref, young.from)
				if err == nil {
					asked.Add(1)
				} else if code := codeOf(err); code != "too_many_attempts" && code != "way_unknown" {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if asked.Load() != approval.Most {
			t.Errorf("%d requests at once, want %d", asked.Load(), approval.Most)
		}
		if all, err := h.Profile.Approvals(t.Context(), me); err != nil || len(all) != approval.Most {
			t.Errorf("%d wait, %v", len(all), err)
		}
		if _, n := young.password(testkit.Password); slices.Contains(n.Ways, factor.Approve) {
			t.Error("a fourth is offered")
		}
		h.clock.Advance(time.Hour)
		for range 6 { // what is approved does not count
			ref, a := young.ask()
			if right, code := old.types(me, a.ID, a.Number); !right {
				t.Fatal(code)
			}
			if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); err != nil || n.Step != signin.StepDone {
				t.Fatal(n, err)
			}
		}
	})
}

// Whoever is refused had the password: the sign-in ends, every address is told, and nobody is asked again for a day.
func TestRefusingProtects(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		ref, asked := young.ask()
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Fatal(code)
		}
		elsewhere := h.signIn(me.Account, "") // not recognised, but it can protect
		bob := h.signIn(h.Account("bob@example.org"), "")
		for who, want := range map[session.ID]bool{bob.ID: false} {
			if ok, err := h.Profile.RefuseSignIn(t.Context(), bob, old.from, asked.ID); err != nil || ok != want {
				t.Errorf("%s refuses somebody else's: %t, %v", who, ok, err)
			}
		}
		if ok, err := h.Profile.RefuseSignIn(t.Context(), elsewhere, old.from, asked.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if ok, err := h.Profile.RefuseSignIn(t.Context(), me, old.from, asked.ID); err != nil || ok {
			t.Errorf("refused twice: %t, %v", ok, err)
		}
		letters := h.Letters(message.Email)
		if len(letters) != 1 || letters[0].Kind != message.SigninRefused || letters[0].Params["device"] != "Firefox on Linux" {
			t.Errorf("told: %v", letters)
		}
		if _, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); codeOf(err) != "flow_ended" {
			t.Errorf("in although refused: %v", err)
		}
		if _, err := h.At(t.Context(), ref); codeOf(err) != "flow_ended" {
			t.Errorf("the sign-in goes on by another way: %v", err)
		}
		h.clock.Advance(2 * time.Hour)
		me = old.comeBack()
		if _, n := young.password(testkit.Password); slices.Contains(n.Ways, factor.Approve) {
			t.Error("asked again within the day")
		}
		if got := said(h.activity(me.Account)); !strings.Contains(got, "approval_refused") {
			t.Errorf("the owner is shown %s", got)
		}
		h.clock.Advance(approval.QuietFor)
		old.comeBack()
		if _, n := young.password(testkit.Password); !slices.Contains(n.Ways, factor.Approve) {
			t.Error("never asked again")
		}
	})
}

// An approval is worth ten minutes, and no more than the session that gave it.
func TestAnApprovalEnds(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		ref, asked := young.ask()
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Fatal(code)
		}
		if ok, err := h.Profile.EndSession(t.Context(), h.signIn(me.Account, ""), old.from, me.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); err != nil || n.Step != signin.StepSecond {
			t.Errorf("in by a session that has ended: %+v, %v", n, err)
		}
		me = old.comeBack()
		ref, asked = young.ask()
		h.clock.Advance(9 * time.Minute)
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Fatal(code)
		}
		h.clock.Advance(2 * time.Minute)
		if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); err != nil || n.Step != signin.StepSecond {
			t.Errorf("in after ten minutes: %+v, %v", n, err)
		}
		_, asked = young.ask()
		h.clock.Advance(approval.TTL)
		if right, code := old.types(me, asked.ID, asked.Number); right || code != "not_found" {
			t.Errorf("approved after ten minutes: %t, %s", right, code)
		}
	})
}

// of a thousand numbers at once through two nodes three are looked at, and one approval, used a
// thousand times at once, opens one session.
func TestApprovalsAtOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			var nodes []home
			for range 2 {
				nodes = append(nodes, home{testkit.NewMachine(t, dbtest.Open(t, url, clock), ring), clock, t})
			}
			for _, n := range nodes {
				n.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			}
			old, me, young := nodes[0].pair()
			const many = 1000
			all := func(do func(n home)) {
				var wg sync.WaitGroup
				for i := range many {
					wg.Go(func() { do(nodes[i%2]) })
				}
				wg.Wait()
			}
			_, asked := young.ask()
			wrong := profile.Approval{ID: asked.ID, Number: other(asked.Number), Proof: old.proof(asked.ID)}
			var tried atomic.Int32
			all(func(n home) {
				right, err := n.Profile.Approve(t.Context(), me, old.from, wrong)
				if err == nil && !right {
					tried.Add(1)
				}
			})
			if tried.Load() != approval.Tries {
				t.Errorf("%d numbers were looked at, want %d", tried.Load(), approval.Tries)
			}
			clock.Advance(2 * time.Hour) // the limit of changes by one session
			ref, asked := young.ask()
			if right, code := old.types(me, asked.ID, asked.Number); !right {
				t.Fatal(code)
			}
			var in atomic.Int32
			all(func(n home) {
				next, err := n.Enter(t.Context(), ref, young.from, signin.CodeProof{})
				if err == nil && next.Step == signin.StepDone {
					in.Add(1)
				}
			})
			if in.Load() != 1 {
				t.Errorf("one approval opened %d sessions", in.Load())
			}
		})
	}
}

// P4: whoever has the database alone has no number.
func TestTheDatabaseHasNoNumber(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		_, _, young := h.pair()
		_, asked := young.ask()
		var all []string
		h.must(h.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Each(t.Context(), `SELECT seed, asked_from FROM approval`, func(scan func(...any) error) error {
				var seed string
				var from []byte
				err := scan(&seed, &from)
				all = append(all, seed, string(from))
				return err
			})
		}))
		for _, text := range all {
			if strings.Contains(text, asked.Number.Reveal()) || strings.Contains(text, "203.0.113.9") {
				t.Errorf("stored: %q", text)
			}
		}
		if len(all) != 2 {
			t.Errorf("%d values", len(all))
		}
	})
}
