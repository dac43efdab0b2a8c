package passkey_test

import (
	"crypto/ecdsa"
	"slices"
	"testing"

	"countersign/internal/attestation"
	"countersign/internal/attestation/attestationtest"
	"countersign/internal/passkey"
	"countersign/internal/platform/sqldb"
)

const certified = "FIDO_CERTIFIED_L1"

// vetted is a kit that takes passkeys of models in a file, and a maker of one.
func (k *kit) vetted(change func(s *attestation.Settings)) (*attestationtest.Metadata, *attestationtest.Maker) {
	k.t.Helper()
	m, maker := attestationtest.New(k.t), attestationtest.NewMaker(k.t, "Example Key 5")
	m.Models = []attestationtest.Model{{Maker: maker, Statuses: []string{certified}}}
	m.Write()
	s := m.Settings(attestation.Known)
	if change != nil {
		change(&s)
	}
	k.Models = m.Service(s, k.clock.Now)
	return m, maker
}

// made is an authenticator of a maker's.
func made(t *testing.T, m *attestationtest.Maker) *authenticator {
	t.Helper()
	a := newAuthenticator(t)
	a.make, a.attests = m.AAGUID[:], m.Attest
	return a
}

// tries enrols, and returns why it was not taken.
func (k *kit) tries(a *authenticator) passkey.Refusal {
	k.t.Helper()
	b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada})
	_, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: a.creates(b.Options)}, "Key")
	return r
}

func TestAPasskeyOfAnAttestedModelIsHardware(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		if o := read(t, k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada}).Options); o.Conveys != "none" {
			t.Errorf("asked for %q before anybody wanted it", o.Conveys)
		}
		_, maker := k.vetted(nil)
		if o := read(t, k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.ada}).Options); o.Conveys != "direct" {
			t.Errorf("asked for %q", o.Conveys)
		}
		key := made(t, maker)
		p := k.enrol(k.ada, key)
		if all := k.list(k.ada); len(all) != 1 || all[0] != p || p.Model != "Example Key 5" || !p.Attested || p.Denied != "" || p.Make != maker.AAGUID.String() {
			t.Errorf("%+v; %+v", all, p)
		}
		if v, r := k.signIn(passkey.Signin{Required: true}, key); r != "" || !v.Hardware || !v.UserVerified || !v.DeviceBound {
			t.Errorf("%+v, %s", v, r)
		}
	})
}

// N-2.3.2-01, N-2.3.2-03: what is copied, kept by software, not certified or attested by nobody is not hardware.
func TestWhatIsNoHardware(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		old := newAuthenticator(t) // from before anybody asked: it still signs in
		m, maker := k.vetted(nil)
		old.make = maker.AAGUID[:]
		models := k.Models
		k.Models = nil
		k.enrol(k.ada, old)
		k.Models = models
		if v, r := k.signIn(passkey.Signin{}, old); r != "" || v.Hardware {
			t.Errorf("not attested: %+v, %s", v, r)
		}
		copied := made(t, maker)
		copied.flags |= eligible | backedUp
		k.enrol(k.ada, copied)
		if v, r := k.signIn(passkey.Signin{}, copied); r != "" || v.Hardware {
			t.Errorf("copied: %+v, %s", v, r)
		}
		key := made(t, maker)
		k.enrol(k.ada, key)
		for name, change := range map[string]func(o *attestationtest.Model){
			"not certified any more": func(o *attestationtest.Model) { o.Statuses = append(o.Statuses, "NOT_FIDO_CERTIFIED") },
			"software":               func(o *attestationtest.Model) { o.Keeps = []string{"software"} },
		} {
			was := m.Models[0]
			change(&m.Models[0])
			m.Write()
			if err := k.Models.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			if v, r := k.signIn(passkey.Signin{}, key); r != "" || v.Hardware {
				t.Errorf("%s: %+v, %s", name, v, r)
			}
			m.Models[0] = was
		}
	})
}

// Whatever is wrong with what a passkey attests, nothing is written, and the same page takes another.
func TestModelsThatAreNotTaken(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		m, maker := k.vetted(nil)
		revoked, plain := attestationtest.NewMaker(t, "Revoked"), attestationtest.NewMaker(t, "Plain")
		m.Models = append(m.Models, attestationtest.Model{Maker: revoked, Statuses: []string{certified, "REVOKED"}}, attestationtest.Model{Maker: plain})
		m.Write()
		with := func(change func(s *attestation.Settings)) *attestation.Service {
			s := m.Settings(attestation.Known)
			change(&s)
			return m.Service(s, k.clock.Now)
		}
		all := with(func(*attestation.Settings) {})
		other := func(*authenticator) {}
		for name, c := range map[string]struct {
			models *attestation.Service
			by     *attestationtest.Maker
			change func(a *authenticator)
			want   passkey.Refusal
		}{
			"nothing attested":    {all, maker, func(a *authenticator) { a.attests = nil }, passkey.Untaken},
			"by itself":           {all, maker, func(a *authenticator) { a.attests = itself(a, maker) }, passkey.Untaken},
			"an unknown model":    {all, attestationtest.NewMaker(t, "Unknown"), other, passkey.Untaken},
			"another's model":     {all, maker.As(t), other, passkey.Untaken},
			"says another model":  {all, maker, func(a *authenticator) { a.make = plain.AAGUID[:] }, passkey.Wrong},
			"not what was signed": {all, maker, func(a *authenticator) { a.attests = later(maker) }, passkey.Wrong},
			"revoked":             {all, revoked, other, passkey.Untaken},
			"denied":              {with(func(s *attestation.Settings) { s.Deny = []string{maker.AAGUID.String()} }), maker, other, passkey.Untaken},
			"not among them":      {with(func(s *attestation.Settings) { s.Allow = []string{maker.AAGUID.String()} }), plain, other, passkey.Untaken},
			"among them":          {with(func(s *attestation.Settings) { s.Allow = []string{plain.AAGUID.String()} }), plain, other, ""},
			"not certified":       {with(func(s *attestation.Settings) { s.Require = attestation.Certified }), plain, other, passkey.Untaken},
			"certified":           {with(func(s *attestation.Settings) { s.Require = attestation.Certified }), maker, other, ""},
			"known":               {all, plain, other, ""},
		} {
			k.Models = c.models
			a, before := made(t, c.by), len(k.list(k.ada))
			c.change(a)
			if r := k.tries(a); r != c.want {
				t.Errorf("%s: %q, want %q", name, r, c.want)
			}
			if written := len(k.list(k.ada)) - before; (written == 1) != (c.want == "") {
				t.Errorf("%s: %d written", name, written)
			}
		}
		k.Models = all
		b := k.beginEnrol(passkey.Enrol{Bound: flow, Account: k.bob})
		finish := func(a *authenticator) passkey.Refusal {
			_, r := k.finishEnrol(passkey.Answer{Bound: flow, State: b.State, Response: a.creates(b.Options)}, "")
			return r
		}
		if bad, good := finish(made(t, revoked)), finish(made(t, maker)); bad != passkey.Untaken || good != "" {
			t.Errorf("%q, then %q", bad, good)
		}
	})
}

// itself has an authenticator sign its statement with the passkey's own key.
func itself(a *authenticator, m *attestationtest.Maker) func(object, clientData []byte) []byte {
	return func(object, clientData []byte) []byte {
		return m.AttestWith(a.key.(*ecdsa.PrivateKey), object, clientData)
	}
}

// later changes what the maker has signed.
func later(m *attestationtest.Maker) func(object, clientData []byte) []byte {
	return func(object, clientData []byte) []byte {
		return m.Attest(object, append(slices.Clone(clientData), ' '))
	}
}

// N-4.3-01: a model that turns out to be weak no longer signs in, wherever it was enrolled. For a stranger it is a wrong one; it is
// not forgotten, and comes back with the model.
func TestAModelThatIsDeniedLaterNoLongerSignsIn(t *testing.T) {
	each(t, func(t *testing.T, k *kit) {
		before := newAuthenticator(t)
		k.enrol(k.bob, before) // attested by nobody; it says itself what it is
		m, maker := k.vetted(nil)
		other := attestationtest.NewMaker(t, "Other")
		m.Models = append(m.Models, attestationtest.Model{Maker: other})
		claims := attestationtest.NewMaker(t, "Claims")
		copy(claims.AAGUID[:], before.make)
		m.Models = append(m.Models, attestationtest.Model{Maker: claims, Statuses: []string{"REVOKED"}})
		after := made(t, maker)
		publish := func(statuses ...string) {
			t.Helper()
			m.Models[0].Statuses = statuses
			m.Number++
			m.Write()
			if err := k.Models.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		publish(certified)
		k.enrol(k.ada, after)
		spare := made(t, other)
		k.enrol(k.ada, spare)
		wants := func(a *authenticator, want passkey.Refusal) {
			t.Helper()
			for _, q := range []passkey.Signin{{}, {Required: true}} {
				if _, r := k.signIn(q, a); r != want {
					t.Errorf("%q, want %q", r, want)
				}
			}
		}
		wants(after, "")
		wants(before, passkey.Untaken)
		publish(certified, "USER_KEY_REMOTE_COMPROMISE")
		wants(after, passkey.Untaken)
		wants(spare, "")
		after.spoil = true
		wants(after, passkey.Wrong) // whether its model is taken shows to its holder alone
		after.spoil = false
		if all := k.list(k.ada); len(all) != 2 || all[0].Denied != attestation.Reported || all[1].Denied != "" {
			t.Errorf("%+v", all)
		}
		k.write(func(tx *sqldb.Tx) error {
			s, err := k.Signal(t.Context(), tx, k.ada)
			if len(s.Accepted) != 2 {
				t.Error("its authenticator is told to forget it")
			}
			return err
		})
		publish(certified)
		wants(after, "")
	})
}
