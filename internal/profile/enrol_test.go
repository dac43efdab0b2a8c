package profile_test

import (
	"testing"

	"github.com/descope/virtualwebauthn"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/factor"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/testkit"
)

// waiting opens a session that must enrol something first.
func (h home) waiting(who account.ID) (me session.Session, token secret.Token) {
	h.t.Helper()
	h.must(h.DB.Write(h.t.Context(), func(tx *sqldb.Tx) error {
		st, err := h.Sessions.Start(h.t.Context(), tx, session.New{
			Account: who, Name: "Firefox on Linux", Methods: []assurance.Method{assurance.Password, assurance.Email}, Enrol: true,
		})
		token = st.Token
		return err
	}))
	me, err := h.Sessions.CheckEnrolling(h.t.Context(), token)
	h.must(err)
	return me, token
}

// addPasskey enrols one; what is refused is the code.
func (h home) addPasskey(me session.Session) string {
	h.t.Helper()
	key := testkit.NewPasskey(h.t, "id.example.com", testkit.Origin, virtualwebauthn.KeyTypeEC2)
	b, err := h.Profile.BeginPasskey(h.t.Context(), me)
	if err != nil {
		return code(err)
	}
	refused, err := h.Profile.AddPasskey(h.t.Context(), me, h.Client, profile.NewPasskey{State: b.State, Response: key.Create(b.Options)})
	if err != nil {
		return code(err)
	}
	return string(refused)
}

// Of sessions that wait for something better, what one enrols frees that one. Another's, opened by a code that somebody else has read,
// has proved no more than before: it ends, and enrols nothing beside the holder's.
func TestWhatOneEnrolsFreesNoOther(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		h.Choices.Policy = factor.PhishingResistant
		ada := h.Account("ada@example.org")
		thief, stolen := h.waiting(ada)
		me, mine := h.waiting(ada)
		if got := h.addPasskey(me); got != "" {
			t.Fatalf("her first passkey: %s", got)
		}
		if _, err := h.Sessions.Check(t.Context(), mine); err != nil {
			t.Errorf("the session that enrolled it: %v", err)
		}
		if _, err := h.Sessions.CheckEnrolling(t.Context(), stolen); code(err) != "session_ended" {
			t.Errorf("a session that waited beside it: %v", err)
		}
		if got := h.addPasskey(thief); got != "session_ended" {
			t.Errorf("what waited beside it enrols a passkey: %q", got)
		}
		late, _ := h.waiting(ada) // written by another node, which had read that there is none
		if got := h.addPasskey(late); got != "session_ended" {
			t.Errorf("what was opened at the same moment enrols a passkey: %q", got)
		}
		if n := len(h.factors(me).Passkeys); n != 1 {
			t.Errorf("%d passkeys", n)
		}
	})
}

// A token that an operator gives lets whoever has it in, and not whoever waits at that moment; a stopped app's place it takes.
func TestATokenFreesNobodyWhoWaits(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		h.Choices.Enrol = factor.Enrolment{Ask: factor.Require}
		h.tokens(1)
		ada := h.Account("ada@example.org")
		_, stolen := h.waiting(ada)
		h.must(h.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := h.Choices.Stop(t.Context(), tx, ada, factor.OTP)
			return err
		}))
		h.must(h.Profile.GiveToken(t.Context(), "T0", ada))
		if _, err := h.Sessions.CheckEnrolling(t.Context(), stolen); code(err) != "session_ended" {
			t.Errorf("who waited goes on: %v", err)
		}
		for _, w := range h.equipment(ada).Second.Ways {
			if w.Way == factor.OTP && (w.Stopped || !w.Opens) {
				t.Errorf("the token: %+v", w)
			}
		}
	})
}
