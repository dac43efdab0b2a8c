package profile_test

import (
	"errors"
	"slices"
	"testing"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// home is the machine with people signed in to it.
type home struct {
	*testkit.Machine

	clock *dbtest.Clock
	t     *testing.T
}

func each(t *testing.T, f func(t *testing.T, h home)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, home{testkit.NewMachine(t, db, testkit.Ring(t)), clock, t})
	})
}

// signIn opens a session, from a remembered device if there is one.
func (h home) signIn(who account.ID, from device.ID) session.Session {
	h.t.Helper()
	s, _ := h.open(who, from)
	return s
}

// open is signIn with the token.
func (h home) open(who account.ID, from device.ID) (s session.Session, token secret.Token) {
	h.t.Helper()
	var st session.Started
	err := h.DB.Write(h.t.Context(), func(tx *sqldb.Tx) (err error) {
		st, err = h.Sessions.Start(h.t.Context(), tx, session.New{Account: who, Device: from, Name: "Firefox on Linux", Methods: []assurance.Method{assurance.Password, assurance.SMS}})
		return err
	})
	if err == nil {
		s, err = h.Sessions.Check(h.t.Context(), st.Token)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return s, st.Token
}

// alive reports whether a token still is somebody's session.
func (h home) alive(token secret.Token) bool {
	h.t.Helper()
	_, err := h.Sessions.Check(h.t.Context(), token)
	if err != nil && fault.Of(err).Code != "session_ended" {
		h.t.Fatal(err)
	}
	return err == nil
}

// told fails unless the next letters are of these kinds.
func (h home) told(ch message.Channel, want ...message.Kind) {
	h.t.Helper()
	got := []message.Kind{}
	for _, l := range h.Letters(ch) {
		if !l.Withhold {
			got = append(got, l.Kind)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.t.Errorf("letters by %s: %v, want %v", ch, got, want)
	}
}

func (h home) remember(who account.ID) device.ID {
	h.t.Helper()
	return h.rememberKey(who, testkit.NewKey(h.t))
}

func (h home) rememberKey(who account.ID, key testkit.Key) (id device.ID) {
	h.t.Helper()
	err := h.DB.Write(h.t.Context(), func(tx *sqldb.Tx) error {
		r, err := h.Devices.Remember(h.t.Context(), tx, who, device.Enrolment{PublicKey: key.Public(), Name: "Phone"}, nil)
		if err == nil {
			id = r.ID
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

// live fails unless exactly these sessions of the account are.
func (h home) live(who account.ID, want ...session.Session) {
	h.t.Helper()
	all, err := h.Profile.ListSessions(h.t.Context(), session.Session{Account: who})
	var got, ids []session.ID
	for _, s := range all {
		got = append(got, s.ID)
	}
	for _, s := range want {
		ids = append(ids, s.ID)
	}
	slices.Sort(got)
	slices.Sort(ids)
	if err != nil || !slices.Equal(got, ids) {
		h.t.Errorf("live: %v, %v; want %v", got, err, ids)
	}
}

// remembered fails unless exactly these devices of the account are.
func (h home) remembered(who account.ID, want ...device.ID) {
	h.t.Helper()
	all, err := h.Profile.ListDevices(h.t.Context(), session.Session{Account: who})
	var got []device.ID
	for _, d := range all {
		got = append(got, d.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		h.t.Errorf("remembered: %v, %v; want %v", got, err, want)
	}
}

// events counts what the record says of a kind by an actor.
func (h home) events(kind, actor string) (n int) {
	h.t.Helper()
	err := h.DB.Read(h.t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(h.t.Context(), "SELECT count(*) FROM audit_event WHERE kind = $1 AND actor = $2", kind, actor).Scan(&n)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h home) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// P-1.1: an id of somebody else's finds nothing, changes nothing and leaves no record.
func TestNobodyEndsWhatIsSomebodyElses(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada, bob := h.Account("ada@example.org"), h.Account("bob@example.org")
		phone := h.remember(ada)
		hers, his := h.signIn(ada, phone), h.signIn(bob, "")
		ended, err := h.Profile.EndSession(t.Context(), his, h.Client, hers.ID)
		forgot, errForget := h.Profile.ForgetDevice(t.Context(), his, h.Client, phone)
		if err := errors.Join(err, errForget); err != nil || ended || forgot {
			t.Errorf("ended %v, forgot %v, %v", ended, forgot, err)
		}
		h.must(h.Profile.EndOtherSessions(t.Context(), his, h.Client))
		h.must(h.Profile.ForgetAllDevices(t.Context(), his, h.Client))
		h.live(ada, hers)
		h.live(bob, his)
		h.remembered(ada, phone)
		if n := h.events("session_logout", "person"); n != 1 {
			t.Errorf("%d ends recorded, want the one that did something", n)
		}
	})
}

func TestAnOwnerEndsSessions(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		mine, second, third := h.signIn(ada, ""), h.signIn(ada, ""), h.signIn(ada, "")
		if ok, err := h.Profile.EndSession(t.Context(), mine, h.Client, second.ID); err != nil || !ok {
			t.Fatal(ok, err)
		}
		h.live(ada, mine, third)
		if ok, err := h.Profile.EndSession(t.Context(), mine, h.Client, second.ID); err != nil || ok {
			t.Error("ended twice", err)
		}
		h.must(h.Profile.EndOtherSessions(t.Context(), mine, h.Client))
		h.live(ada, mine)
		h.must(h.Profile.EndAllSessions(t.Context(), mine, h.Client))
		h.live(ada)
	})
}

// Who forgets a lost phone wants it signed out, and not the browser in which that is done.
func TestForgettingADeviceEndsWhatItOpened(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		phone, laptop := h.remember(ada), h.remember(ada)
		h.signIn(ada, phone)
		mine, stranger := h.signIn(ada, laptop), h.signIn(ada, "")
		if ok, err := h.Profile.ForgetDevice(t.Context(), mine, h.Client, phone); err != nil || !ok {
			t.Fatal(ok, err)
		}
		h.live(ada, mine, stranger)
		h.remembered(ada, laptop)
		if ok, err := h.Profile.ForgetDevice(t.Context(), mine, h.Client, laptop); err != nil || !ok {
			t.Fatal(ok, err)
		}
		h.live(ada, mine, stranger) // the one that asked stays, though its device is forgotten
		h.remember(ada)
		h.must(h.Profile.ForgetAllDevices(t.Context(), mine, h.Client))
		h.live(ada, mine)
		h.remembered(ada)
		if n := h.events("device_forgotten", "person"); n != 3 {
			t.Errorf("%d recorded, want 3", n)
		}
	})
}

// a lock ends sessions at once and keeps devices for the day it is lifted; closing keeps nothing.
func TestAnOperatorLocksAndCloses(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		phone := h.remember(ada)
		h.signIn(ada, phone)
		h.must(h.Profile.Lock(t.Context(), ada))
		h.live(ada)
		h.remembered(ada, phone)
		h.must(h.Profile.Unlock(t.Context(), ada))
		mine := h.signIn(ada, phone)
		h.live(ada, mine)
		h.must(h.Profile.Close(t.Context(), ada))
		h.live(ada)
		h.remembered(ada)
		if code := fault.Of(h.Profile.Unlock(t.Context(), ada)).Code; code != "account_closed" {
			t.Errorf("a closed account was unlocked: %s", code)
		}
		if n := h.events("user_updated", "operator"); n != 3 {
			t.Errorf("%d recorded, want lock, unlock and close", n)
		}
	})
}
