package notice_test

import (
	"bytes"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/outbox"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// desk is where holders are told and their links come back.
type desk struct {
	*testkit.Machine

	t *testing.T
}

func each(t *testing.T, f func(t *testing.T, d desk, clock *dbtest.Clock)) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		f(t, desk{testkit.NewMachine(t, db, testkit.Ring(t)), t}, clock)
	})
}

func (d desk) write(f func(tx *sqldb.Tx) error) {
	d.t.Helper()
	if err := d.DB.Write(d.t.Context(), f); err != nil {
		d.t.Fatal(err)
	}
}

// told tells an event and returns the letters that were written, by where they go.
func (d desk) told(e notice.Event) map[string]outbox.Claimed {
	d.t.Helper()
	d.write(func(tx *sqldb.Tx) error { return d.Notices.Tell(d.t.Context(), tx, e) })
	out := map[string]outbox.Claimed{}
	for _, ch := range []message.Channel{message.Email, message.SMS} {
		for _, l := range d.Letters(ch) {
			if _, twice := out[l.To]; twice {
				d.t.Errorf("two letters to %s", l.To)
			}
			out[l.To] = l
		}
	}
	return out
}

func (d desk) event(id account.ID, kind message.Kind) notice.Event {
	return notice.Event{Kind: kind, Account: id, Source: netip.MustParseAddr("192.0.2.7"), Device: "Firefox on Linux"}
}

// linkTo tells an event and returns the secret of the link in the letter to an address.
func (d desk) linkTo(id account.ID, to string) secret.Token {
	d.t.Helper()
	_, fragment, _ := strings.Cut(d.told(d.event(id, message.NewDevice))[to].Params["link"], "#")
	if fragment == "" {
		d.t.Fatalf("no letter with a link to %s", to)
	}
	return secret.Of(fragment)
}

func (d desk) use(token secret.Token) (l notice.Link, ok bool) {
	d.t.Helper()
	return d.useAt(notice.PathNotMe, token)
}

func (d desk) useAt(page string, token secret.Token) (l notice.Link, ok bool) {
	d.t.Helper()
	d.write(func(tx *sqldb.Tx) (err error) {
		l, ok, err = d.Notices.Use(d.t.Context(), tx, token, page)
		return err
	})
	return l, ok
}

func (d desk) remove(id account.ID, name string) {
	d.t.Helper()
	d.write(func(tx *sqldb.Tx) error {
		all, err := d.Accounts.Addresses(d.t.Context(), tx, id)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(a account.Address) bool { return a.Normal == name })
		return d.Accounts.Remove(d.t.Context(), tx, id, all[i].ID)
	})
}

func (d desk) add(id account.ID, name string, verified bool) {
	d.t.Helper()
	ident, err := account.Parse(name)
	if err != nil {
		d.t.Fatal(err)
	}
	n := account.NewIdentifier{Identifier: ident, Verified: verified, SignsIn: true, Notices: verified, Recovers: verified}
	d.write(func(tx *sqldb.Tx) error { return d.Accounts.Add(d.t.Context(), tx, id, n) })
}

func recipients(letters map[string]outbox.Claimed) []string {
	var all []string
	for to := range letters {
		all = append(all, to)
	}
	slices.Sort(all)
	return all
}

// P7, N-4.6-01: every verified address hears of it once, phones by text message, with a link of its own; user
// names and addresses that nobody has proved do not.
func TestEveryAddressIsToldOnce(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		id := d.Account("ada@example.org", "second@example.org", "+4915112345678", "countess")
		d.add(id, "unproved@example.org", false)
		d.Account("bob@example.org")
		letters := d.told(d.event(id, message.PasswordChanged))
		if diff := cmp.Diff([]string{"+4915112345678", "ada@example.org", "second@example.org"}, recipients(letters)); diff != "" {
			t.Error(diff)
		}
		secrets := map[string]bool{}
		for to, l := range letters {
			want := map[bool]message.Channel{true: message.SMS, false: message.Email}[to == "+4915112345678"]
			link, err := url.Parse(l.Params["link"])
			if err != nil || l.Channel != want || l.Kind != message.PasswordChanged || l.Withhold {
				t.Errorf("%+v to %s: %v", l, to, err)
			}
			// the secret stands behind the #, which no browser sends, and nowhere else.
			if bare := testkit.Origin + notice.PathNotMe; !strings.HasPrefix(l.Params["link"], bare+"#") || link.RawQuery != "" {
				t.Errorf("the link is %s", l.Params["link"])
			}
			if !secret.Of(link.Fragment).WellFormed(notice.LinkPrefix) || secrets[link.Fragment] {
				t.Errorf("the secret %q is none, or another's", link.Fragment)
			}
			secrets[link.Fragment] = true
		}
	})
}

func TestAWaitingRecoveryIsStoppedByAnotherPage(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		e := d.event(d.Account("ada@example.org"), message.RecoveryWaiting)
		e.Ends = d.DB.Now().Add(24 * time.Hour)
		l := d.told(e)["ada@example.org"]
		if want := testkit.Origin + notice.PathStop + "#" + notice.LinkPrefix; !strings.HasPrefix(l.Params["link"], want) {
			t.Errorf("the link is %s", l.Params["link"])
		}
		if l.Params["ends"] != e.Ends.Format(time.RFC3339) {
			t.Errorf("ends %s", l.Params["ends"])
		}
		_, fragment, _ := strings.Cut(l.Params["link"], "#")
		if l, ok := d.use(secret.Of(fragment)); ok {
			t.Errorf("the other page takes it: %+v", l)
		}
		if l, ok := d.useAt(notice.PathStop, secret.Of(fragment)); !ok || l.Kind != message.RecoveryWaiting {
			t.Errorf("its own page, after the other was tried: %+v, %t", l, ok)
		}
	})
}

func TestAnAddressOfAKindThatWeCannotReachIsNotTold(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		id := d.Account("ada@example.org", "+4915112345678")
		d.Notices.Channels = []message.Channel{message.Email}
		if got := recipients(d.told(d.event(id, message.NewDevice))); !slices.Equal(got, []string{"ada@example.org"}) {
			t.Errorf("told %v", got)
		}
	})
}

func TestAWithheldNoticeIsWrittenAndNotSent(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		e := d.event(d.Account("ada@example.org"), message.NewDevice)
		e.Withhold = true
		if l := d.told(e)["ada@example.org"]; !l.Withhold {
			t.Errorf("%+v", l)
		}
	})
}

func TestALetterSaysRoughlyWhere(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		id := d.Account("ada@example.org")
		d.Notices.Where = func(from netip.Addr, lang string) string { return from.String() + " in " + lang }
		if got := d.told(d.event(id, message.NewDevice))["ada@example.org"].Params["place"]; got != "192.0.2.7 in en" {
			t.Errorf("place %q", got)
		}
	})
}

// N-4.6-03: whoever takes a session over cannot make the old address silent: it is told, and its link works, for 72
// hours from its removal, and then no more.
func TestAFormerAddressIsToldForAWhile(t *testing.T) {
	each(t, func(t *testing.T, d desk, clock *dbtest.Clock) {
		id := d.Account("ada@example.org", "+4915112345678")
		d.remove(id, "ada@example.org")
		early := d.linkTo(id, "ada@example.org")
		clock.Advance(account.Hold - time.Second)
		late := d.linkTo(id, "ada@example.org")
		if l, ok := d.use(early); !ok || !l.Undoes || l.Account != id {
			t.Errorf("within 72 hours: %+v, %t", l, ok)
		}
		clock.Advance(time.Second)
		if got := recipients(d.told(d.event(id, message.NewDevice))); !slices.Equal(got, []string{"+4915112345678"}) {
			t.Errorf("told after 72 hours: %v", got)
		}
		if l, ok := d.use(late); ok || l != (notice.Link{}) {
			t.Errorf("a link of before, after 72 hours: %+v", l)
		}
	})
}

// An address that was added lately is told, and cannot take changes back: it may be a thief's.
func TestANewAddressIsToldAndUndoesNothing(t *testing.T) {
	each(t, func(t *testing.T, d desk, clock *dbtest.Clock) {
		id := d.Account("ada@example.org")
		clock.Advance(time.Hour)
		d.add(id, "thief@example.net", true)
		if l, ok := d.use(d.linkTo(id, "thief@example.net")); !ok || l.Undoes {
			t.Errorf("added just now: %+v, %t", l, ok)
		}
		token := d.linkTo(id, "thief@example.net")
		clock.Advance(account.Hold)
		if l, ok := d.use(token); !ok || !l.Undoes {
			t.Errorf("added 72 hours ago: %+v, %t", l, ok)
		}
	})
}

// N-4.6-05: a link is good for 30 days, once.
func TestALinkWorksOnceAndForThirtyDays(t *testing.T) {
	each(t, func(t *testing.T, d desk, clock *dbtest.Clock) {
		id, at := d.Account("ada@example.org"), d.DB.Now()
		token, other := d.linkTo(id, "ada@example.org"), d.linkTo(id, "ada@example.org")
		clock.Advance(notice.LinkFor - time.Millisecond)
		l, ok := d.use(token)
		if !ok || l.Account != id || l.Kind != message.NewDevice || !l.At.Equal(at) || !l.Undoes {
			t.Errorf("at the last moment: %+v, %t", l, ok)
		}
		if l, ok := d.use(token); ok || l != (notice.Link{}) {
			t.Errorf("used a second time: %+v", l)
		}
		clock.Advance(time.Millisecond)
		real := other.Reveal()
		for what, dead := range map[string]secret.Token{
			"expired": other, "unknown": secret.NewToken(notice.LinkPrefix), "empty": secret.Of(""),
			"of another kind": secret.NewToken("csf"), "cut": secret.Of(real[:len(real)-1]), "text": secret.Of(strings.Repeat("x", 100_000)),
		} {
			if l, ok := d.use(dead); ok || l != (notice.Link{}) {
				t.Errorf("%s: %+v, %t", what, l, ok)
			}
		}
	})
}

// Of 100 uses at once through two nodes, one wins.
func TestOfManyUsesAtOnceOneWins(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			at, clock, ring := dbtest.NewURL(t, engine), dbtest.NewClock(), testkit.Ring(t)
			nodes := []desk{
				{testkit.NewMachine(t, dbtest.Open(t, at, clock), ring), t},
				{testkit.NewMachine(t, dbtest.Open(t, at, clock), ring), t},
			}
			token := nodes[0].linkTo(nodes[0].Account("ada@example.org"), "ada@example.org")
			var won atomic.Int64
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					ok := false
					err := nodes[i%2].DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
						_, ok, err = nodes[i%2].Notices.Use(t.Context(), tx, token, notice.PathNotMe)
						return err
					})
					if err != nil {
						t.Error(err)
					}
					if ok {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d uses won", won.Load())
			}
		})
	}
}

// P4: whoever has the database has no link.
func TestAStolenDatabaseHasNoLink(t *testing.T) {
	each(t, func(t *testing.T, d desk, _ *dbtest.Clock) {
		token := d.linkTo(d.Account("ada@example.org"), "ada@example.org")
		var digests [][]byte
		err := d.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Each(t.Context(), `SELECT digest FROM notice_link`, func(scan func(...any) error) error {
				var b []byte
				err := scan(&b)
				digests = append(digests, b)
				return err
			})
		})
		if err != nil || len(digests) != 1 || len(digests[0]) != 32 {
			t.Fatalf("%d digests, %v", len(digests), err)
		}
		stranger := testkit.Ring(t)
		if got := stranger.Digest("notice/link", token); bytes.Equal(got, digests[0]) {
			t.Error("the digest can be made without the server's key")
		}
		if got := d.Ring.Stable("notice/link", token.Reveal()); !bytes.Equal(got, digests[0]) {
			t.Error("the digest is another, so nothing was compared")
		}
		if _, ok := d.use(secret.Of(string(digests[0]))); ok {
			t.Error("the digest itself is a link")
		}
	})
}

func TestExpiredLinksArePruned(t *testing.T) {
	each(t, func(t *testing.T, d desk, clock *dbtest.Clock) {
		id := d.Account("ada@example.org")
		d.linkTo(id, "ada@example.org")
		clock.Advance(notice.LinkFor + time.Millisecond)
		fresh := d.linkTo(id, "ada@example.org")
		var n int64
		d.write(func(tx *sqldb.Tx) (err error) {
			n, err = d.Notices.Prune(t.Context(), tx)
			return err
		})
		if _, ok := d.use(fresh); n != 1 || !ok {
			t.Errorf("%d pruned; the fresh one works: %t", n, ok)
		}
	})
}
