package profile_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const grace = 14 * 24 * time.Hour

// notices takes the notices of a kind that wait: their links, by whom they go to.
func (h home) notices(kind message.Kind) map[string]secret.Token {
	h.t.Helper()
	found := map[string]secret.Token{}
	for _, ch := range []message.Channel{message.Email, message.SMS} {
		for _, l := range h.Letters(ch) {
			if l.Kind == kind && !l.Withhold {
				_, after, _ := strings.Cut(l.Params["link"], "#")
				found[l.To] = secret.Of(after)
			}
		}
	}
	return found
}

func (h home) standing(who account.ID) (st account.Standing) {
	h.t.Helper()
	h.must(h.DB.Read(h.t.Context(), func(tx *sqldb.Tx) (err error) {
		st, err = h.Accounts.Standing(h.t.Context(), tx, who)
		return err
	}))
	return st
}

// eraseDue erases what is due, and returns how many.
func (h home) eraseDue() int {
	h.t.Helper()
	n, err := h.Profile.EraseDue(h.t.Context())
	h.must(err)
	return n
}

// count counts rows.
func (h home) count(query string, args ...any) (n int) {
	h.t.Helper()
	h.must(h.DB.Read(h.t.Context(), func(tx *sqldb.Tx) error { return tx.QueryRow(h.t.Context(), query, args...).Scan(&n) }))
	return n
}

// whoever only found the browser open does not have the account erased.
func TestAskingToEraseTakesAFreshProof(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		mine := h.signIn(ada, "")
		h.signIn(ada, "")
		h.clock.Advance(profile.FreshFor + time.Second)
		if _, err := h.Profile.AskErase(t.Context(), mine, h.Client); fault.Of(err).Code != "reauthentication_required" {
			t.Fatalf("a stale session: %v", err)
		}
		if !h.standing(ada).EraseAt.IsZero() || h.events("erase_asked", "person") != 0 || len(h.notices(message.EraseAsked)) != 0 {
			t.Error("something was done all the same")
		}
		mine = h.signIn(ada, "")
		other := h.signIn(ada, "")
		at, err := h.Profile.AskErase(t.Context(), mine, h.Client)
		h.must(err)
		if want := h.DB.Now().Add(grace); !at.Equal(want) || !h.standing(ada).EraseAt.Equal(want) {
			t.Errorf("at %v, want %v", at, want)
		}
		h.live(ada, mine) // and not the other
		if told := h.notices(message.EraseAsked); len(told) != 2 {
			t.Errorf("told: %v", told)
		}
		h.clock.Advance(time.Minute)
		if again, err := h.Profile.AskErase(t.Context(), mine, h.Client); err != nil || !again.Equal(at) || len(h.notices(message.EraseAsked)) != 0 {
			t.Errorf("asked again: at %v, %v", again, err)
		}
		_ = other
	})
}

// Until then the account is what it was: its holder signs in and keeps it.
func TestAHolderKeepsTheAccount(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		_, err := h.Profile.AskErase(t.Context(), h.signIn(ada, ""), h.Client)
		h.must(err)
		h.clock.Advance(grace - time.Hour)
		if n := h.eraseDue(); n != 0 {
			t.Fatalf("%d erased before its time", n)
		}
		mine := h.guest("ada@example.org", "198.51.100.7").enter()
		for _, want := range []bool{true, false} {
			if kept, err := h.Profile.Keep(t.Context(), mine, h.Client); err != nil || kept != want {
				t.Errorf("kept %v, %v; want %v", kept, err, want)
			}
		}
		if told := h.notices(message.EraseStopped); len(told) != 1 {
			t.Errorf("told: %v", told)
		}
		h.clock.Advance(2 * time.Hour)
		if n := h.eraseDue(); n != 0 || h.events("erase_stopped", "person") != 1 {
			t.Errorf("%d erased", n)
		}
		h.live(ada, mine)
	})
}

// Whose time has come leaves nothing: no name, no session, no device, no link works, and the sign-in
// knows them no better than anybody who never was.
func TestWhatIsLeftOfTheErased(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ctx := t.Context()
		ada := h.Account("ada@example.org", "+4915112345678")
		g := h.guest("ada@example.org", "198.51.100.7")
		g.enter()
		mine, token := h.open(ada, "")
		_, err := h.Profile.AskErase(ctx, mine, h.Client)
		h.must(err)
		links := h.notices(message.EraseAsked)
		underWay, _ := h.guest("ada@example.org", "198.51.100.8").password(testkit.Password)
		h.clock.Advance(grace)
		late, next := g.password(testkit.Password) // at the last moment, and not finished
		if n := h.eraseDue(); n != 1 {
			t.Fatalf("%d erased", n)
		}
		if n := h.eraseDue(); n != 0 || h.events("user_deleted", "system") != 1 {
			t.Errorf("%d erased once more", n)
		}
		if h.alive(token) {
			t.Error("a session is alive")
		}
		for _, table := range []string{"account_identifier", "account_address_change", "account_claim", "password", "session", "device", "notice_link"} {
			if n := h.count("SELECT count(*) FROM "+table+" WHERE account_id = $1", ada); n != 0 {
				t.Errorf("%d rows in %s", n, table)
			}
		}
		for to, link := range links {
			if done, err := h.Protect.Disavow(ctx, link, h.Client); done || err != nil {
				t.Errorf("the link to %s: %v %v", to, done, err)
			}
		}
		for name, ref := range map[string]signin.Ref{"under way": underWay, "at the device's proof": late} {
			proof := device.Proof{Handles: g.handles, Signature: g.key.Sign("recognise", testkit.Origin, next.Nonce)}
			n, err := h.Device(ctx, ref, g.from, proof)
			if err == nil && n.Step == signin.StepDone {
				t.Errorf("a sign-in %s was let in", name)
			}
		}
		if _, n := g.password(testkit.Password); !n.Refused || n.Device != nil {
			t.Errorf("the old name and password: %+v", n)
		}
		h.clock.Advance(time.Hour)
		other := h.Account("ada@example.org") // the name is free
		if all := h.activity(other); len(all) != 0 {
			t.Errorf("whoever has it now is shown %s", said(all))
		}
		h.guest("ada@example.org", "198.51.100.9").enter()
	})
}

// A takeover that asks to erase is undone by the link of the letter about it, and by the holder's own word.
func TestThisWasNotMeKeepsTheAccount(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		_, err := h.Profile.AskErase(t.Context(), h.signIn(ada, ""), h.Client)
		h.must(err)
		link := h.notices(message.EraseAsked)["ada@example.org"]
		h.clock.Advance(grace - time.Minute)
		done, err := h.Protect.Disavow(t.Context(), link, h.Client)
		if err != nil || !done {
			t.Fatal(done, err)
		}
		if !h.standing(ada).EraseAt.IsZero() || len(h.notices(message.EraseStopped)) != 2 {
			t.Error("it will still be erased, or nobody was told")
		}
		h.clock.Advance(time.Hour)
		if n := h.eraseDue(); n != 0 {
			t.Errorf("%d erased", n)
		}
	})
}

// An account that an operator looks into is not erased under their hands.
func TestALockedAccountWaits(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		_, err := h.Profile.AskErase(t.Context(), h.signIn(ada, ""), h.Client)
		h.must(err)
		h.must(h.Profile.Lock(t.Context(), ada))
		h.clock.Advance(grace + time.Hour)
		if n := h.eraseDue(); n != 0 {
			t.Errorf("%d erased", n)
		}
		h.must(h.Profile.Unlock(t.Context(), ada))
		if n := h.eraseDue(); n != 1 {
			t.Errorf("%d erased once it was unlocked", n)
		}
	})
}

func TestAnOperatorErases(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ctx := t.Context()
		decoys := h.count("SELECT count(*) FROM account WHERE state = 'decoy'")
		ada, bob, eve, dan := h.Account("ada@example.org"), h.Account("bob@example.org"), h.Account("eve@example.org"), h.Account("dan@example.org")
		h.must(h.Profile.Lock(ctx, bob))
		h.must(h.Profile.Close(ctx, eve))
		for _, id := range []account.ID{ada, bob, eve} {
			h.must(h.Profile.Erase(ctx, id, 0))
		}
		h.must(h.Profile.Erase(ctx, ada, 0)) // once more does no harm
		h.must(h.Profile.Erase(ctx, dan, 72*time.Hour))
		if n := h.count("SELECT count(*) FROM account_identifier i JOIN account a ON a.id = i.account_id WHERE a.state <> 'decoy'"); n != 1 {
			t.Errorf("%d names left, want one", n)
		}
		if got := h.events("user_deleted", "operator"); got < 3 {
			t.Errorf("%d erasures recorded", got)
		}
		if all := h.activity(dan); len(all) != 1 || all[0].What != profile.EraseAsked || all[0].Actor != "operator" {
			t.Errorf("its holder is shown %+v", all)
		}
		if kept, err := h.Profile.Keep(ctx, h.signIn(dan, ""), h.Client); err != nil || !kept {
			t.Errorf("its holder kept it: %v %v", kept, err)
		}
		var decoy account.ID
		h.must(h.DB.Read(ctx, func(tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT id FROM account WHERE state = 'decoy' LIMIT 1").Scan(&decoy)
		}))
		for _, id := range []account.ID{decoy, "0196f0c1-0000-7000-8000-000000000000"} {
			if err := h.Profile.Erase(ctx, id, 0); fault.Of(err).Code != "account_unknown" {
				t.Errorf("%s: %v", id, err)
			}
		}
		if n := h.count("SELECT count(*) FROM account WHERE state = 'decoy'"); n != decoys {
			t.Errorf("%d decoys, want %d", n, decoys)
		}
	})
}

// Two nodes at once erase each account once, however often they are killed half-way.
func TestErasureIsWholeAndOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			nodes := []home{
				{testkit.NewMachine(t, dbtest.Open(t, url, clock), ring), clock, t},
				{testkit.NewMachine(t, dbtest.Open(t, url, clock), ring), clock, t},
			}
			h := nodes[0]
			var ids []account.ID
			for _, name := range strings.Fields("a b c d e f g h i j k l") {
				id := h.Account(name + "@example.org")
				ids = append(ids, id)
				_, err := h.Profile.AskErase(t.Context(), h.signIn(id, ""), h.Client)
				h.must(err)
			}
			clock.Advance(grace)
			whole := slices.Clone(h.Profile.Erasers)
			killed := errors.New("killed")
			h.Profile.Erasers = append(slices.Clone(whole), func(context.Context, *sqldb.Tx, account.ID) error { return killed })
			if n, err := h.Profile.EraseDue(t.Context()); n != 0 || !errors.Is(err, killed) {
				t.Fatalf("%d, %v", n, err)
			}
			if n := h.count("SELECT count(*) FROM password p JOIN account a ON a.id = p.account_id WHERE a.state = 'active'"); n != len(ids) {
				t.Fatalf("%d accounts are whole after the kill, want %d", n, len(ids))
			}
			h.Profile.Erasers = whole
			var all sync.WaitGroup
			for _, node := range nodes {
				all.Go(func() {
					for range 5 {
						if _, err := node.Profile.EraseDue(t.Context()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if n := h.events("user_deleted", "system"); n != len(ids) {
				t.Errorf("%d erasures recorded, want %d", n, len(ids))
			}
		})
	}
}

// Whoever keeps the account at the last moment either has kept it, or it is gone: never half of each.
func TestKeepingAtTheLastMoment(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		for i := range 8 {
			id := h.Account(string(rune('a'+i)) + "@example.org")
			mine := h.signIn(id, "")
			_, err := h.Profile.AskErase(t.Context(), mine, h.Client)
			h.must(err)
			h.clock.Advance(grace)
			mine = h.signIn(id, "")
			var kept bool
			var all sync.WaitGroup
			all.Go(func() {
				if kept, err = h.Profile.Keep(t.Context(), mine, h.Client); err != nil && code(err) != "session_ended" { // erased
					t.Error(err)
				}
			})
			all.Go(func() {
				if _, err := h.Profile.EraseDue(t.Context()); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
			names := h.count("SELECT count(*) FROM account_identifier WHERE account_id = $1", id)
			passwords := h.count("SELECT count(*) FROM password WHERE account_id = $1", id)
			if want := map[bool]int{true: 1, false: 0}[kept]; names != want || passwords != want {
				t.Errorf("kept %v: %d names, %d passwords", kept, names, passwords)
			}
		}
	})
}
