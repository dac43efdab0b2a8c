package protect_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	otp "github.com/pquerna/otp/totp"

	"countersign/internal/account"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/protect"
	"countersign/internal/recovery"
	"countersign/internal/session"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/totp"
)

// takeover is what somebody does who has the password and the mailbox for a moment: they put an address of
// theirs in, take the holder's out, set a password of their own and leave two back doors.
func (k *kit) takeover() {
	k.t.Helper()
	k.signedIn()
	k.happens(message.NewDevice, nil)
	k.clock.Advance(time.Minute)
	k.add(thief)
	k.clock.Advance(time.Minute)
	k.remove(ada)
	k.clock.Advance(time.Minute)
	k.setPassword(thiefsPW)
	friend, err := account.Parse("friend@example.net")
	if err != nil {
		k.t.Fatal(err)
	}
	k.happens(message.ContactsChanged, func(tx *sqldb.Tx) error {
		return k.Recovery.AddContact(k.t.Context(), tx, k.id, recovery.Contact{Label: "A friend", Holder: "Ada", Identifier: friend})
	})
	k.happens(message.SavedCodeChanged, func(tx *sqldb.Tx) error {
		_, err := k.Recovery.NewSavedCode(k.t.Context(), tx, k.id)
		return err
	})
	k.happens(message.FactorAdded, func(tx *sqldb.Tx) error {
		apps := k.Authenticators
		e, err := apps.Begin(k.t.Context(), tx, k.id, totp.Label{Issuer: "Example", Account: "thief"})
		if err != nil {
			return err
		}
		shown, err := otp.GenerateCode(strings.ReplaceAll(e.Key.Reveal(), " ", ""), k.clock.Now())
		if err != nil {
			return err
		}
		ok, err := apps.Confirm(k.t.Context(), tx, k.id, totp.Confirmation{ID: e.ID, Code: secret.Of(shown)})
		if err == nil && !ok {
			err = errors.New("the app was not added")
		}
		return err
	})
	k.happens(message.BackupChanged, func(tx *sqldb.Tx) error {
		_, err := k.BackupCodes.Reissue(k.t.Context(), tx, k.id)
		return err
	})
}

// backDoors are the contacts, the saved code, the apps and the backup codes that somebody left.
func (k *kit) backDoors() (n int) {
	k.t.Helper()
	k.write(func(tx *sqldb.Tx) error {
		contacts, err := k.Recovery.Contacts(k.t.Context(), tx, k.id)
		if err != nil {
			return err
		}
		saved, err := k.Recovery.HasSavedCode(k.t.Context(), tx, k.id)
		if n = len(contacts); saved {
			n++
		}
		if err != nil {
			return err
		}
		apps, err := k.Authenticators.List(k.t.Context(), tx, k.id)
		if err != nil {
			return err
		}
		left, _, err := k.BackupCodes.Left(k.t.Context(), tx, k.id)
		n += len(apps) + min(left, 1)
		return err
	})
	return n
}

// P7, N-4.6-03: within 72 hours the old address undoes all of a takeover, with the link of whichever letter about it:
// that of the removal undoes the addition before it too.
func TestATakeoverIsUndoneFromTheOldAddress(t *testing.T) {
	for _, kind := range []message.Kind{message.NewDevice, message.AddressRemoved, message.PasswordChanged, message.SavedCodeChanged, message.FactorAdded, message.BackupChanged} {
		each(t, []string{ada}, func(t *testing.T, k *kit) {
			k.takeover()
			want := state{Sessions: 1, Devices: 1, Password: true, Addresses: thief}
			if got := k.state(thiefsPW); got != want || k.backDoors() != 4 {
				t.Fatalf("taken over: %+v, %d back doors", got, k.backDoors())
			}
			k.clock.Advance(account.Hold - time.Hour)
			token := k.link(kind, ada)
			k.mail = nil
			if !k.disavow(token) {
				t.Fatal("the link is worth nothing")
			}
			if got := k.state(thiefsPW); got != (state{Frozen: true, Addresses: ada}) || k.backDoors() != 0 {
				t.Errorf("%s: %+v, %d back doors", kind, got, k.backDoors())
			}
			if diff := cmp.Diff(map[string]int{ada: 1}, k.told(message.Protected)); diff != "" {
				t.Error("who is told of it:", diff)
			}
			if _, _, came := k.recover(thief); came {
				t.Error("the thief recovers the account")
			}
			if _, next, came := k.recover(ada); !came || next.Step != recovery.StepMore {
				t.Errorf("its holder does not: %+v, %t", next, came)
			}
		})
	}
}

// The thief is told too, since nobody can know yet who is the thief. Their link ends everything, themselves
// included, and takes nothing back; the holder's still does.
func TestTheThiefsOwnLinkTakesNothingBack(t *testing.T) {
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		k.takeover()
		mine, theirs := k.link(message.AddressRemoved, ada), k.link(message.AddressRemoved, thief)
		if !k.disavow(theirs) {
			t.Fatal("the link is worth nothing")
		}
		if got := k.state(thiefsPW); got != (state{Frozen: true, Addresses: thief}) || k.backDoors() != 4 {
			t.Errorf("by the thief: %+v, %d back doors", got, k.backDoors())
		}
		if !k.disavow(mine) {
			t.Fatal("the holder's link is worth nothing any more")
		}
		if got := k.state(thiefsPW); got != (state{Frozen: true, Addresses: ada}) || k.backDoors() != 0 {
			t.Errorf("by the holder: %+v, %d back doors", got, k.backDoors())
		}
	})
}

// After 72 hours a removed address is a stranger's.
func TestARemovedAddressHasNoPowerAfter72Hours(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		k.signedIn()
		k.remove(ada)
		token := k.link(message.AddressRemoved, ada)
		k.clock.Advance(account.Hold)
		me := k.signedIn()
		before := k.state(testkit.Password)
		if k.disavow(token) {
			t.Error("the link works")
		}
		if got := k.state(testkit.Password); got != before || got.Frozen || !got.Password || got.Sessions == 0 {
			t.Errorf("%+v, was %+v (%s)", got, before, me.ID)
		}
	})
}

// P7, P8: whoever merely reads the mailbox and uses a link gets nothing by it: the way back takes a second proof or
// a day's wait, of which everybody is told, and the old password is no proof while changes are frozen.
func TestAMailboxReaderDoesNotGetIn(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		k.happens(message.NewDevice, nil)
		if !k.disavow(k.link(message.NewDevice, ada)) {
			t.Fatal("the link is worth nothing")
		}
		ref, next, came := k.recover(ada)
		if !came || next.Step != recovery.StepMore {
			t.Fatalf("%+v, %t", next, came)
		}
		if _, err := k.Recovery.Finish(t.Context(), ref, k.Client, "a password of the reader's"); code(err) != "step_out_of_order" {
			t.Errorf("with one address: %v", err)
		}
		if n, err := k.Recovery.OldPassword(t.Context(), ref, k.Client, testkit.Password); err != nil || !n.Refused {
			t.Errorf("with the password that was stopped: %+v, %v", n, err)
		}
		k.mail = nil
		n, err := k.Recovery.StartWait(t.Context(), ref, k.Client)
		if err != nil || n.ReadyAt.Sub(k.DB.Now()) < 24*time.Hour {
			t.Fatalf("%+v, %v", n, err)
		}
		if got := k.told(message.RecoveryWaiting); got[phone] != 1 {
			t.Errorf("told of the wait: %v", got)
		}
		k.clock.Advance(23 * time.Hour)
		if _, err := k.Recovery.Finish(t.Context(), ref, k.Client, "a password of the reader's"); code(err) != "step_out_of_order" {
			t.Errorf("before the wait is over: %v", err)
		}
		if !k.stop(k.link(message.RecoveryWaiting, phone)) {
			t.Error("the holder cannot stop it")
		}
		k.clock.Advance(2 * time.Hour)
		if _, err := k.Recovery.Finish(t.Context(), ref, k.Client, "a password of the reader's"); code(err) != "flow_ended" {
			t.Errorf("after it was stopped: %v", err)
		}
	})
}

// An address that its holder removed longer ago than 72 hours gets no power back by another's link: two
// addresses open an account without a wait.
func TestALinkGivesALongRemovedAddressNoPower(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		k.happens(message.NewDevice, nil)
		token := k.link(message.NewDevice, phone)
		k.remove(ada)
		k.clock.Advance(account.Hold)
		if !k.disavow(token) {
			t.Fatal("the link is worth nothing")
		}
		if _, _, came := k.recover(ada); came {
			t.Error("a code comes to it")
		}
		k.mail = nil
		k.happens(message.NewDevice, nil)
		if diff := cmp.Diff(map[string]int{phone: 1}, k.told(message.NewDevice)); diff != "" {
			t.Error("told:", diff)
		}
	})
}

// atCode takes a sign-in to the code, which it returns.
func (k *kit) atCode() (signin.Ref, secret.Token) {
	k.t.Helper()
	browser := secret.NewToken(signin.BrowserPrefix)
	st, err := k.Begin(k.t.Context(), signin.Begin{Identifier: ada, Browser: browser, Client: k.Client})
	if err != nil {
		k.t.Fatal(err)
	}
	ref := signin.Ref{Flow: st.Flow, Browser: browser}
	if n, err := k.Password(k.t.Context(), ref, k.Client, signin.PasswordProof{Password: testkit.Password}); err != nil || n.Step != signin.StepSecond {
		k.t.Fatalf("%+v, %v", n, err)
	}
	began := len(k.letters())
	if _, err := k.Send(k.t.Context(), ref, k.Client, "email"); err != nil {
		k.t.Fatal(err)
	}
	return ref, secret.Of(k.letters()[began].Params["code"])
}

// What somebody has begun with the right password ends with it, also if a new one is set at once.
func TestASignInUnderWayEnds(t *testing.T) {
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		k.happens(message.NewDevice, nil)
		first, firstCode := k.atCode()
		k.clock.Advance(time.Minute)
		second, secondCode := k.atCode()
		if !k.disavow(k.link(message.NewDevice, ada)) {
			t.Fatal("the link is worth nothing")
		}
		if n, err := k.Code(t.Context(), first, k.Client, signin.CodeProof{Code: firstCode}); code(err) != "flow_ended" {
			t.Errorf("%+v, %v", n, err)
		}
		k.clock.Advance(time.Second)
		k.setPassword("the holder's new password")
		if n, err := k.Code(t.Context(), second, k.Client, signin.CodeProof{Code: secondCode}); code(err) != "flow_ended" {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

// A sign-in that is finished in the same moment on another node leaves no session behind.
func TestASignInFinishedAtOnceLeavesNoSession(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			k, other := newKit(t, dbtest.Open(t, url, clock), clock, ring), newKit(t, dbtest.Open(t, url, clock), clock, ring)
			k.id = k.Account(ada)
			for round := range 15 {
				clock.Advance(time.Hour)
				if err := k.Passwords.Set(t.Context(), k.id, testkit.Password, nil); err != nil {
					t.Fatal(err)
				}
				k.happens(message.NewDevice, nil)
				token := k.link(message.NewDevice, ada)
				ref, proof := k.atCode()
				var wg sync.WaitGroup
				wg.Go(func() {
					if done, err := k.Protect.Disavow(t.Context(), token, k.Client); err != nil || !done {
						t.Errorf("round %d: %t, %v", round, done, err)
					}
				})
				wg.Go(func() {
					if _, err := other.Code(t.Context(), ref, other.Client, signin.CodeProof{Code: proof}); err != nil && code(err) != "flow_ended" {
						t.Errorf("round %d: %v", round, err)
					}
				})
				wg.Wait()
				if got := k.state(testkit.Password); got.Sessions != 0 || got.Password {
					t.Fatalf("round %d: %+v", round, got)
				}
			}
		})
	}
}

// A recovery that somebody else has under way ends, and an erasure that they asked for is called off.
func TestWhatWaitsIsStopped(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		ref, _, _ := k.recover(ada)
		if _, err := k.Recovery.StartWait(t.Context(), ref, k.Client); err != nil {
			t.Fatal(err)
		}
		k.write(func(tx *sqldb.Tx) error {
			return k.Accounts.EraseAt(t.Context(), tx, k.id, tx.Now().Add(14*24*time.Hour))
		})
		k.happens(message.NewDevice, nil)
		if !k.disavow(k.link(message.NewDevice, phone)) {
			t.Fatal("the link is worth nothing")
		}
		k.clock.Advance(25 * time.Hour)
		if _, err := k.Recovery.Finish(t.Context(), ref, k.Client, "a password of the thief's"); code(err) != "flow_ended" {
			t.Errorf("the recovery: %v", err)
		}
		k.write(func(tx *sqldb.Tx) error {
			standing, err := k.Accounts.Standing(t.Context(), tx, k.id)
			if !standing.EraseAt.IsZero() {
				t.Error("it will still be erased")
			}
			return err
		})
		for _, kind := range []message.Kind{message.RecoveryStopped, message.EraseStopped, message.Protected} {
			if got := sum(k.told(kind)); got != 2 {
				t.Errorf("%s: %d letters", kind, got)
			}
		}
	})
}

// The link of a letter about a waiting recovery ends the recovery and nothing else.
func TestStoppingARecoveryStopsNothingElse(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		k.signedIn()
		before := k.state(testkit.Password)
		ref, _, _ := k.recover(ada)
		if _, err := k.Recovery.StartWait(t.Context(), ref, k.Client); err != nil {
			t.Fatal(err)
		}
		token, second := k.link(message.RecoveryWaiting, phone), k.link(message.RecoveryWaiting, ada)
		if k.disavow(token) {
			t.Error("the page that ends everything takes the link")
		}
		if !k.stop(token) || k.stop(token) {
			t.Error("want it to work once")
		}
		if k.stop(second) {
			t.Error("stopped again, though nothing was waiting")
		}
		if got := k.state(testkit.Password); got != before || got.Frozen {
			t.Errorf("%+v, was %+v", got, before)
		}
		if got := sum(k.told(message.RecoveryStopped)); got != 2 {
			t.Errorf("%d letters", got)
		}
		k.happens(message.NewDevice, nil)
		if token := k.link(message.NewDevice, ada); k.stop(token) || !k.disavow(token) {
			t.Error("a letter's link works on the page it leads to, and is not used up by another")
		}
	})
}

// Whatever is wrong with a link, the same comes of it: nothing, not a row.
func TestADeadLinkDoesNothing(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		other := k.id
		k.id = k.Account("bob@example.org")
		k.happens(message.NewDevice, nil)
		expired := k.link(message.NewDevice, "bob@example.org")
		k.id = other
		k.clock.Advance(notice.LinkFor)
		k.happens(message.NewDevice, nil)
		used, live := k.link(message.NewDevice, ada), k.link(message.NewDevice, phone)
		if !k.disavow(used) {
			t.Fatal("the link is worth nothing")
		}
		k.letters()
		me := k.signedIn()
		before := k.state(testkit.Password)
		for what, token := range map[string]secret.Token{
			"unknown": secret.NewToken(notice.LinkPrefix), "empty": secret.Of(""), "used": used, "expired": expired,
			"text": secret.Of(strings.Repeat("x", 300)), "cut": secret.Of(live.Reveal()[:40]), "of another kind": secret.NewToken(session.Prefix),
		} {
			began := len(k.letters())
			if k.disavow(token) || k.stop(token) {
				t.Errorf("%s: works", what)
			}
			if got := k.state(testkit.Password); got != before || len(k.letters()) != began {
				t.Errorf("%s: %+v, was %+v (%s)", what, got, before, me.ID)
			}
		}
	})
}

// P9: links are tried a few times from one place; other places go on.
func TestLinksAreTriedAFewTimesFromOnePlace(t *testing.T) {
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		try := func(from signin.Client) error {
			_, err := k.Protect.Disavow(t.Context(), secret.NewToken(notice.LinkPrefix), from)
			return err
		}
		burst := protect.DefaultLimits().Source.Burst
		for n := range burst {
			if err := try(from("198.51.100.9")); err != nil {
				t.Fatalf("try %d: %v", n+1, err)
			}
		}
		if err := try(from("198.51.100.9")); code(err) != "too_many_attempts" {
			t.Errorf("one more: %v", err)
		}
		if err := try(from("203.0.113.9")); err != nil {
			t.Errorf("from another place: %v", err)
		}
		k.happens(message.NewDevice, nil)
		if !k.disavow(k.link(message.NewDevice, ada)) {
			t.Error("the holder, from another place")
		}
	})
}

// Every letter has a link, and every link makes letters. Whoever reads a mailbox must not be able to go round
// and round with somebody else's phone; what protects goes on.
func TestLettersAboutProtectionAreBounded(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		most := protect.DefaultLimits().Letters.Burst
		var spare []secret.Token
		for range most + 2 {
			k.happens(message.NewDevice, nil)
			spare = append(spare, k.link(message.NewDevice, ada))
		}
		for _, token := range spare {
			k.signedIn()
			if !k.disavow(token) {
				t.Fatal("the link is worth nothing")
			}
			if got := k.state(testkit.Password); got.Sessions != 0 || got.Password {
				t.Errorf("%+v", got)
			}
		}
		if got := k.told(message.Protected); got[ada] != most || got[phone] != most {
			t.Errorf("letters: %v, want %d each", got, most)
		}
	})
}

// Signed in, it is the same; what has changed is taken back only by whoever has just proved who they are.
func TestTheSignedInProtectTheirAccount(t *testing.T) {
	for _, fresh := range []bool{true, false} {
		each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
			since := k.DB.Now()
			k.add(thief)
			k.clock.Advance(time.Hour)
			me := k.signedIn()
			if k.clock.Advance(protect.FreshFor); !fresh {
				k.clock.Advance(time.Millisecond)
			}
			if err := k.Protect.DisavowSigned(t.Context(), me, k.Client, since); err != nil {
				t.Fatal(err)
			}
			want := state{Frozen: true, Addresses: phone + " " + ada}
			if !fresh {
				want.Addresses += " " + thief
			}
			if got := k.state(testkit.Password); got != want {
				t.Errorf("fresh %t: %+v, want %+v", fresh, got, want)
			}
			if got := k.told(message.Protected); got[ada] != 1 || got[phone] != 1 {
				t.Errorf("told %v", got)
			}
		})
	}
}

// It is in the record who said so, and how much was taken back.
func TestProtectionIsRecorded(t *testing.T) {
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		k.takeover()
		k.disavow(k.link(message.AddressRemoved, ada))
		var all []string
		k.write(func(tx *sqldb.Tx) error {
			all = nil
			return tx.Each(t.Context(), `SELECT detail FROM audit_event WHERE kind = 'account_protected' AND account_id = $1`, func(scan func(...any) error) error {
				var detail string
				err := scan(&detail)
				all = append(all, detail)
				return err
			}, string(k.id))
		})
		if !slices.Equal(all, []string{`{"by":"link","undone":"4"}`}) {
			t.Error(all)
		}
	})
}

// A change of addresses made in the same moment on another node is refused, or undone with the rest.
func TestAChangeAtOnceDoesNotStay(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			k, other := newKit(t, dbtest.Open(t, url, clock), clock, ring), newKit(t, dbtest.Open(t, url, clock), clock, ring)
			for round := range 15 {
				mine, phone := fmt.Sprintf("ada%d@example.org", round), fmt.Sprintf("+49151123456%02d", round)
				k.id = k.Account(mine, phone)
				clock.Advance(time.Hour)
				k.happens(message.NewDevice, nil)
				token, me := k.link(message.NewDevice, mine), k.signedIn()
				var id string
				k.write(func(tx *sqldb.Tx) error {
					all, err := k.Accounts.Addresses(t.Context(), tx, k.id)
					id = all[slices.IndexFunc(all, func(a account.Address) bool { return a.Normal == phone })].ID
					return err
				})
				var wg sync.WaitGroup
				wg.Go(func() {
					if done, err := k.Protect.Disavow(t.Context(), token, from(fmt.Sprintf("198.51.100.%d", round))); err != nil || !done {
						t.Errorf("round %d: %t, %v", round, done, err)
					}
				})
				wg.Go(func() {
					err := other.Profile.RemoveAddress(t.Context(), me, other.Client, id)
					if got := code(err); err != nil && got != "account_frozen" && got != "session_ended" {
						t.Errorf("round %d: %v", round, err)
					}
				})
				wg.Wait()
				if got := k.state(testkit.Password); got != (state{Frozen: true, Addresses: phone + " " + mine}) {
					t.Fatalf("round %d: %+v", round, got)
				}
			}
		})
	}
}

// Of 30 uses of one link at once on two nodes one protects. Two links at once, of two addresses, leave the
// account as one would.
func TestLinksUsedAtOnce(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			nodes := []*kit{newKit(t, dbtest.Open(t, url, clock), clock, ring), newKit(t, dbtest.Open(t, url, clock), clock, ring)}
			k := nodes[0]
			k.id = k.Account(ada, phone)
			clock.Advance(time.Hour)
			k.takeover()
			tokens := []secret.Token{k.link(message.AddressRemoved, ada), k.link(message.AddressRemoved, phone)}
			k.mail = nil
			var won [2]atomic.Int64
			var wg sync.WaitGroup
			for i := range 30 {
				for which, token := range tokens {
					wg.Go(func() {
						done, err := nodes[i%2].Protect.Disavow(t.Context(), token, from(fmt.Sprintf("198.51.100.%d", i+1)))
						if err != nil {
							t.Error(err)
						}
						if done {
							won[which].Add(1)
						}
					})
				}
			}
			wg.Wait()
			if a, b := won[0].Load(), won[1].Load(); a != 1 || b != 1 {
				t.Errorf("the one link worked %d times, the other %d", a, b)
			}
			if got := k.state(thiefsPW); got != (state{Frozen: true, Addresses: phone + " " + ada}) || k.backDoors() != 0 {
				t.Errorf("%+v, %d back doors", got, k.backDoors())
			}
			if got := k.told(message.Protected); got[ada] == 0 || got[phone] != 2 || got[thief] != 0 {
				t.Errorf("told: %v", got)
			}
		})
	}
}
