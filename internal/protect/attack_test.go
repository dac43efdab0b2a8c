package protect_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
	"countersign/internal/recovery"
)

// Somebody reads the holder's old mailbox and nothing else. The holder has added a second address, which has
// long settled: "the remedy is a second address". With any letter of the last 30 days the reader takes that address
// away, nobody tells it, and it neither makes the wait three times as long nor can it stop anything: the reader has the
// account after a day, and its holder never heard of it.
func TestAMailboxReaderDoesNotSilenceASettledAddress(t *testing.T) {
	const remedy = "ada@remedy.example"
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		k.clock.Advance(40 * 24 * time.Hour)
		k.happens(message.NewDevice, nil) // the holder's own, of no interest to anybody
		old := k.link(message.NewDevice, ada)
		k.clock.Advance(24 * time.Hour)
		k.add(remedy)
		k.clock.Advance(20 * 24 * time.Hour) // settled seven times over
		k.mail = nil
		if !k.disavow(old) {
			t.Fatal("the link is worth nothing")
		}
		if got := k.told(message.Protected); got[remedy] != 1 {
			t.Errorf("the holder's settled address is not told that it was taken away: %v", got)
		}
		ref, next, came := k.recover(ada)
		if !came || next.Step != recovery.StepMore {
			t.Fatalf("%+v, %t", next, came)
		}
		k.mail = nil
		n, err := k.Recovery.StartWait(t.Context(), ref, k.Client)
		if err != nil {
			t.Fatal(err)
		}
		if wait := n.ReadyAt.Sub(k.DB.Now()); wait < 72*time.Hour {
			t.Errorf("the wait is %s: as if the holder had no other address", wait)
		}
		if got := k.told(message.RecoveryWaiting); got[remedy] != 1 {
			t.Errorf("told of the wait: %v", got)
		}
		k.clock.Advance(25 * time.Hour)
		if _, err := k.Recovery.Finish(t.Context(), ref, k.Client, "a password of the reader's"); err == nil {
			t.Error("whoever merely reads one mailbox has the account after a day, and the other address never heard of it")
		}
	})
}

// The holder has moved from one mailbox to another. A link of the letter about that, used by the
// holder themselves or by a reader of the new mailbox, takes the new address away and brings the old one back as
// a name and no more. The password opens nothing; nothing recovers the account, and nothing is told. It is lost for good.
func TestALinkLeavesAWayBack(t *testing.T) {
	const moved = "ada@moved.example"
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		k.clock.Advance(30 * 24 * time.Hour)
		k.add(moved)
		k.clock.Advance(time.Minute)
		k.remove(ada)
		link := k.link(message.AddressRemoved, moved)
		k.clock.Advance(10 * 24 * time.Hour) // long settled
		k.mail = nil
		if !k.disavow(link) {
			t.Fatal("the link is worth nothing")
		}
		if got := k.told(message.Protected); got[moved] != 1 {
			t.Errorf("told: %v; addresses: %s", got, k.has())
		}
		if _, _, came := k.recover(moved); came {
			return
		}
		if _, _, came := k.recover(ada); came {
			return
		}
		var reaches []account.Reach
		k.write(func(tx *sqldb.Tx) (err error) {
			reaches, err = k.Accounts.Reaches(t.Context(), tx, k.id)
			return err
		})
		t.Errorf("nothing recovers the account any more, and %d addresses are told: nobody will ever get in (%+v)", len(reaches), k.state("x"))
	})
}

// An address whose uses its holder took away long ago, because somebody reads it, gets them back by
// another's link, and at once: what is held back from a removed address (TestALinkGivesALongRemovedAddressNoPower) is not
// from one that was kept as a name. Two mailboxes read by one person then open the account without a wait.
func TestALinkGivesALongDisusedAddressNoPower(t *testing.T) {
	each(t, []string{ada, phone}, func(t *testing.T, k *kit) {
		k.clock.Advance(10 * 24 * time.Hour)
		k.happens(message.NewDevice, nil)
		token := k.link(message.NewDevice, phone)
		k.happens(message.AddressRemoved, func(tx *sqldb.Tx) error {
			all, err := k.Accounts.Addresses(t.Context(), tx, k.id)
			if err != nil {
				return err
			}
			for _, a := range all {
				if a.Normal == ada {
					return k.Accounts.SetUses(t.Context(), tx, k.id, a.ID, account.Uses{SignsIn: true})
				}
			}
			return nil
		})
		k.clock.Advance(20 * 24 * time.Hour)
		if _, _, came := k.recover(ada); came {
			t.Fatal("a code comes to it before")
		}
		k.clock.Advance(2 * time.Hour) // the limits of codes
		if !k.disavow(token) {
			t.Fatal("the link is worth nothing")
		}
		if _, _, came := k.recover(ada); came {
			t.Error("a code comes to an address that its holder took from recovery three weeks ago")
		}
	})
}

// A thief has put text messages, which they can read, before the holder's passkey, and turned e-mail off.
func TestWhatAThiefPutFirstIsForgotten(t *testing.T) {
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		who := k.id
		k.write(func(tx *sqldb.Tx) error {
			return k.Choices.Choose(t.Context(), tx, who, factor.Choice{Holder: factor.Always, Order: []factor.Way{factor.SMS}, Off: []factor.Way{factor.Email}})
		})
		k.happens(message.FactorChosen, nil)
		if !k.disavow(k.link(message.FactorChosen, ada)) {
			t.Fatal("the link is worth nothing")
		}
		k.write(func(tx *sqldb.Tx) error {
			c, err := k.Choices.Of(t.Context(), tx, who)
			if len(c.Order)+len(c.Off) != 0 || c.Holder != factor.Always {
				t.Errorf("%+v", c)
			}
			return err
		})
	})
}

// A thief has taken back that every sign-in asks for a second proof, and taken it back again after choosing it, so that theirs looks like
// the choice before. What the holder took back long ago stays so.
func TestTheWishToBeAskedComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		wait time.Duration // between what was chosen and what somebody says they did not do
		want factor.Policy
	}{"lately": {time.Hour, factor.Always}, "long ago": {10 * 24 * time.Hour, ""}} {
		t.Run(name, func(t *testing.T) {
			each(t, []string{ada}, func(t *testing.T, k *kit) {
				who := k.id
				for _, p := range []factor.Policy{factor.Always, "", factor.Always, ""} {
					k.write(func(tx *sqldb.Tx) error { return k.Choices.Choose(t.Context(), tx, who, factor.Choice{Holder: p}) })
				}
				k.clock.Advance(c.wait)
				k.happens(message.FactorChosen, nil)
				if !k.disavow(k.link(message.FactorChosen, ada)) {
					t.Fatal("the link is worth nothing")
				}
				k.write(func(tx *sqldb.Tx) error {
					got, err := k.Choices.Of(t.Context(), tx, who)
					if got.Holder != c.want {
						t.Errorf("%q, want %q", got.Holder, c.want)
					}
					return err
				})
			})
		})
	}
}
