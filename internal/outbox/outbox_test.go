package outbox_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/keyring"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func ring(t testing.TB) *keyring.Ring {
	t.Helper()
	r, err := keyring.New([]keyring.Root{{ID: "ktest001", Key: bytes.Repeat([]byte{7}, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func code(to string) outbox.Letter {
	return outbox.Letter{Account: "account-1", Letter: message.Letter{
		Kind: message.SigninCode, Channel: message.SMS, To: to, Language: "de",
		Params: map[string]string{"code": "482913", "minutes": "10", "site": "Fotoalbum"},
	}}
}

func put(t testing.TB, db *sqldb.DB, b *outbox.Box, l outbox.Letter) (id string) {
	t.Helper()
	err := db.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = b.Put(t.Context(), tx, l)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func claim(t testing.TB, b *outbox.Box, n int) []outbox.Claimed {
	t.Helper()
	got, err := b.Claim(t.Context(), message.SMS, n, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// line is a row as somebody who stole the database sees it.
type line struct {
	Kind, Channel, Account, State, Provider, ProviderID, LastError string
	Attempts                                                       int
	NextAt, ExpiresAt, CreatedAt, DoneAt                           int64
	Leased                                                         bool
	Size                                                           int
	raw                                                            []byte
}

func lines(t testing.TB, db *sqldb.DB) (out map[string]line) {
	t.Helper()
	out = map[string]line{}
	err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.Each(t.Context(), `SELECT id, kind, channel, account_id, sealed, state, attempts, next_at, lease, expires_at,
			created_at, done_at, provider, provider_id, last_error FROM outbox_letter`, func(scan func(...any) error) error {
			var id string
			var l line
			var account, lease, provider, providerID, lastError sql.NullString
			var done sql.NullInt64
			err := scan(&id, &l.Kind, &l.Channel, &account, &l.raw, &l.State, &l.Attempts, &l.NextAt, &lease, &l.ExpiresAt,
				&l.CreatedAt, &done, &provider, &providerID, &lastError)
			l.Account, l.Provider, l.ProviderID, l.LastError = account.String, provider.String, providerID.String, lastError.String
			l.Leased, l.DoneAt, l.Size = lease.Valid, done.Int64, len(l.raw)
			out[id] = l
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// P2: whoever reads the table while letters wait cannot tell which go to nobody.
func TestAWithheldLetterLooksLikeARealOne(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		real, ghost, nobody := code("+4915112345678"), code("+49301"), code("")
		ghost.Withhold, nobody.Withhold = true, true
		ids := []string{put(t, db, b, real), put(t, db, b, ghost), put(t, db, b, nobody)}
		alike := func(when string, but ...string) {
			t.Helper()
			rows := lines(t, db)
			for _, id := range ids[1:] {
				diff := cmp.Diff(rows[ids[0]], rows[id], cmp.FilterPath(func(p cmp.Path) bool {
					for _, name := range append(but, "raw") {
						if p.String() == name {
							return true
						}
					}
					return false
				}, cmp.Ignore()))
				if diff != "" {
					t.Errorf("%s: rows differ: %s", when, diff)
				}
			}
		}
		alike("after Put")
		got := claim(t, b, 10)
		if len(got) != 3 {
			t.Fatalf("claimed %d", len(got))
		}
		alike("after Claim")
		for _, c := range got {
			if _, err := b.Retry(t.Context(), c, "smtp_451", 0); err != nil {
				t.Fatal(err)
			}
		}
		alike("after Retry", "NextAt") // spread by the id
		clock.Advance(time.Minute)
		for _, c := range claim(t, b, 10) {
			if c.Withhold != (c.ID != ids[0]) {
				t.Errorf("letter %s: withhold %v", c.ID, c.Withhold)
			}
			if err := b.Finish(t.Context(), c, outbox.Receipt{Provider: "sms", ID: ""}); err != nil {
				t.Fatal(err)
			}
		}
		alike("after Finish", "State")
		if rows := lines(t, db); rows[ids[0]].State != "sent" || rows[ids[1]].State != "withheld" || rows[ids[0]].Size != 0 {
			t.Errorf("%+v", rows)
		}
	})
}

// P4: the rows of waiting, claimed and failed letters hold neither address nor code.
func TestNoAddressAndNoCodeInTheRows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		id := put(t, db, b, code("+4915112345678"))
		for _, step := range []string{"put", "claimed"} {
			row := fmt.Sprintf("%+v %q", lines(t, db)[id], lines(t, db)[id].raw)
			for _, secret := range []string{"4915112345678", "482913", "Fotoalbum"} {
				if strings.Contains(row, secret) {
					t.Errorf("%s: %q is in the row: %s", step, secret, row)
				}
			}
			claim(t, b, 1)
		}
		// A sealed value moved to another row does not open.
		other := put(t, db, b, code("+4930"))
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE outbox_letter SET sealed = $1 WHERE id = $2`, lines(t, db)[id].raw, other)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := claim(t, b, 1); len(got) != 1 || got[0].Damaged() == nil || got[0].To != "" {
			t.Errorf("a moved letter opened: %v", got)
		}
	})
}

func TestTheLengthOfARowTellsNothingOfTheAddress(t *testing.T) {
	db := dbtest.SQLite(t)
	b := &outbox.Box{DB: db, Ring: ring(t)}
	for _, to := range []string{"+1", "a@b.de", strings.Repeat("a", 64) + "@" + strings.Repeat("b", 60) + ".example.org"} {
		put(t, db, b, code(to))
	}
	sizes := map[int]int{}
	for _, l := range lines(t, db) {
		sizes[l.Size]++
	}
	if len(sizes) != 1 {
		t.Errorf("sizes %v", sizes)
	}
	big := code(strings.Repeat("a", 1000) + "@b.de")
	id := put(t, db, b, big)
	if got := claim(t, b, 10); len(got) != 4 || got[3].To != big.To {
		t.Errorf("the long letter did not come back")
	}
	if over := (lines(t, db)[id].Size - 37) % 256; over != 0 { // version, key id, nonce and tag are 37
		t.Errorf("size is %d past a step", over)
	}
}

// P11.
func TestARolledBackTransactionLeavesNoLetterAndWakesNobody(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		woken := 0
		b := &outbox.Box{DB: db, Ring: ring(t), Wake: func(message.Channel) { woken++ }}
		change := errors.New("changed our mind")
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if _, err := b.Put(t.Context(), tx, code("+4930")); err != nil {
				return err
			}
			return change
		})
		if !errors.Is(err, change) || len(lines(t, db)) != 0 || woken != 0 {
			t.Errorf("%v, %d rows, woken %d", err, len(lines(t, db)), woken)
		}
		put(t, db, b, code("+4930"))
		if woken != 1 {
			t.Errorf("woken %d", woken)
		}
	})
}

func TestAMalformedLetterIsRefused(t *testing.T) {
	db := dbtest.SQLite(t)
	b := &outbox.Box{DB: db, Ring: ring(t)}
	bad := []outbox.Letter{code(""), code("+49\r\n30"), {}}
	short := code("+49")
	short.Params = map[string]string{"code": "482913", "site": "s"}
	for _, l := range append(bad, short) {
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := b.Put(t.Context(), tx, l)
			return err
		})
		if err == nil {
			t.Errorf("%v was accepted", l)
		}
	}
}

// two nodes on one database claim each letter once.
func TestOfCouriersRacingOneGetsEachLetter(t *testing.T) {
	for _, engine := range dbtest.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			url, clock, key := dbtest.NewURL(t, engine), dbtest.NewClock(), ring(t)
			nodes := []*outbox.Box{{DB: dbtest.Open(t, url, clock), Ring: key}, {DB: dbtest.Open(t, url, clock), Ring: key}}
			const total = 60
			for i := range total {
				put(t, nodes[0].DB, nodes[0], code(fmt.Sprintf("+49%d", i)))
			}
			var mu sync.Mutex
			got := map[string]int{}
			var all sync.WaitGroup
			for i := range 6 {
				all.Go(func() {
					b := nodes[i%2]
					for idle := 0; idle < 3; {
						batch, err := b.Claim(t.Context(), message.SMS, 4, time.Minute)
						if err != nil {
							t.Error(err)
							return
						}
						if len(batch) == 0 {
							idle++ // a lost race leaves nothing: ask again
						}
						mu.Lock()
						for _, c := range batch {
							got[c.ID]++
						}
						mu.Unlock()
					}
				})
			}
			all.Wait()
			if len(got) != total {
				t.Errorf("claimed %d of %d", len(got), total)
			}
			for id, n := range got {
				if n != 1 {
					t.Errorf("letter %s was claimed %d times", id, n)
				}
			}
		})
	}
}

// P11: kill -9 between Claim and Finish.
func TestALetterComesBackWhenItsLeaseRunsOut(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		id := put(t, db, b, code("+4930"))
		first := claim(t, b, 5)
		if len(first) != 1 || first[0].ID != id || first[0].Attempts != 1 || first[0].To != "+4930" || first[0].Params["code"] != "482913" || first[0].Account != "account-1" {
			t.Fatalf("%+v", first)
		}
		clock.Advance(59 * time.Second)
		if got := claim(t, b, 5); len(got) != 0 {
			t.Fatalf("claimed under a lease: %v", got)
		}
		clock.Advance(time.Second)
		second := claim(t, b, 5)
		if len(second) != 1 || second[0].ID != id || second[0].Attempts != 2 {
			t.Fatalf("%+v", second)
		}
		// The first turns out to live: its failure must not disturb the second, its success counts.
		if _, err := b.Retry(t.Context(), first[0], "late", 0); err != nil {
			t.Fatal(err)
		}
		if err := b.Bury(t.Context(), first[0], "late"); err != nil {
			t.Fatal(err)
		}
		if l := lines(t, db)[id]; l.State != "waiting" || !l.Leased {
			t.Errorf("a failure without the lease changed the row: %+v", l)
		}
		if err := b.Finish(t.Context(), first[0], outbox.Receipt{Provider: "sms", ID: "x1"}); err != nil {
			t.Fatal(err)
		}
		if err := b.Finish(t.Context(), second[0], outbox.Receipt{Provider: "sms", ID: "x2"}); err != nil {
			t.Fatal(err)
		}
		if l := lines(t, db)[id]; l.State != "sent" || l.ProviderID != "x1" || l.Leased || l.Size != 0 {
			t.Errorf("%+v", l)
		}
	})
}

// A letter that kills whoever sends it is not tried for ever.
func TestALetterNobodyComesBackFromIsDeadInTheEnd(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t), Attempts: 3}
		id := put(t, db, b, code("+4930"))
		for n := range 5 {
			if got := claim(t, b, 5); (len(got) == 1) != (n < 3) {
				t.Fatalf("claim %d: %v", n+1, got)
			}
			clock.Advance(time.Minute)
		}
		if l := lines(t, db)[id]; l.State != "dead" || l.Leased {
			t.Errorf("%+v", l)
		}
	})
}

func TestFailuresComeBackLaterAndLaterUntilTheLetterIsDead(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t), Attempts: 5}
		id := put(t, db, b, code("+4930"))
		for try := 1; ; try++ {
			got := claim(t, b, 1)
			if len(got) != 1 || got[0].Attempts != try {
				t.Fatalf("try %d: %v", try, got)
			}
			dead, err := b.Retry(t.Context(), got[0], "twilio_http_503", 0)
			if err != nil || dead != (try == 5) {
				t.Fatalf("try %d: dead %v, %v", try, dead, err)
			}
			if dead {
				break
			}
			nominal := time.Second << (try - 1)
			clock.Advance(nominal*3/4 - time.Millisecond)
			if len(claim(t, b, 1)) != 0 {
				t.Fatalf("try %d came back before %v", try+1, nominal*3/4)
			}
			clock.Advance(nominal/2 + time.Millisecond)
		}
		clock.Advance(time.Hour)
		if len(claim(t, b, 1)) != 0 {
			t.Fatal("a dead letter was claimed")
		}
		dead, err := b.Dead(t.Context(), 10)
		if err != nil || len(dead) != 1 || dead[0].ID != id || !dead[0].Revivable || dead[0].Why != "twilio_http_503" || dead[0].Attempts != 5 {
			t.Fatalf("%+v, %v", dead, err)
		}
		if n, err := b.Revive(t.Context(), id); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if n, err := b.Revive(t.Context(), id); err != nil || n != 0 {
			t.Fatal("revived twice", err)
		}
		if got := claim(t, b, 1); len(got) != 1 || got[0].Attempts != 1 || got[0].To != "+4930" {
			t.Fatalf("%+v", got)
		}
	})
}

func TestTheProvidersWishToWaitIsKept(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		put(t, db, b, code("+4930"))
		if _, err := b.Retry(t.Context(), claim(t, b, 1)[0], "twilio_http_429", 2*time.Minute); err != nil {
			t.Fatal(err)
		}
		clock.Advance(2*time.Minute - time.Millisecond)
		if len(claim(t, b, 1)) != 0 {
			t.Fatal("too early")
		}
		clock.Advance(time.Millisecond)
		if len(claim(t, b, 1)) != 1 {
			t.Fatal("not due")
		}
	})
}

func TestAnExpiredLetterIsNotSentAndItsWordsAreWiped(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t), Keep: time.Hour}
		short := func() outbox.Letter {
			l := code("+4930")
			l.ExpiresAt = db.Now().Add(10 * time.Minute)
			return l
		}
		dead, held := put(t, db, b, short()), put(t, db, b, short())
		for _, c := range claim(t, b, 2) {
			if c.ID == dead {
				if err := b.Bury(t.Context(), c, "smtp_550"); err != nil {
					t.Fatal(err)
				}
			}
		}
		clock.Advance(9*time.Minute + 30*time.Second)
		if got := claim(t, b, 1); len(got) != 1 || got[0].ID != held {
			t.Fatalf("%v", got)
		}
		waiting, lasting := put(t, db, b, short()), put(t, db, b, code("+4931"))
		clock.Advance(45 * time.Second)
		if err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows := lines(t, db)
		if rows[held].State != "waiting" || rows[held].Size == 0 {
			t.Errorf("a letter under way was taken from under its courier: %+v", rows[held])
		}
		if rows[dead].State != "dead" || rows[dead].Size != 0 || rows[waiting].Size == 0 {
			t.Errorf("dead %+v, waiting %+v", rows[dead], rows[waiting])
		}
		if n, err := b.Revive(t.Context(), dead); n != 0 || err != nil {
			t.Errorf("a wiped letter was revived: %v", err)
		}
		clock.Advance(15 * time.Minute)
		for _, c := range claim(t, b, 10) {
			if c.ID != lasting {
				t.Errorf("an expired letter was claimed: %s", c.ID)
			}
			if err := b.Finish(t.Context(), c, outbox.Receipt{Provider: "sms"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		rows = lines(t, db)
		for _, id := range []string{held, waiting} {
			if rows[id].State != "expired" || rows[id].Size != 0 {
				t.Errorf("%+v", rows[id])
			}
		}
		clock.Advance(time.Hour + time.Minute)
		put(t, db, b, code("+4932"))
		if err := b.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rows = lines(t, db); len(rows) != 1 {
			t.Errorf("after Keep only the waiting letter is left: %+v", rows)
		}
	})
}

func TestDepthCountsWhatWaits(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		if got, err := b.Depth(t.Context()); err != nil || len(got) != 0 {
			t.Fatal(got, err)
		}
		oldest := db.Now()
		put(t, db, b, code("+4930"))
		clock.Advance(time.Second)
		ghost := code("+4931")
		ghost.Withhold = true
		put(t, db, b, ghost)
		mail := code("a@b.de")
		mail.Channel = message.Email
		put(t, db, b, mail)
		got, err := b.Claim(t.Context(), message.Email, 5, time.Minute)
		if err != nil || len(got) != 1 {
			t.Fatalf("a channel's claim took %d letters: %v", len(got), err)
		}
		if err := b.Bury(t.Context(), got[0], "smtp_550"); err != nil {
			t.Fatal(err)
		}
		want := []outbox.Depth{{Channel: message.Email, Dead: 1}, {Channel: message.SMS, Waiting: 2, Oldest: oldest}}
		depth, err := b.Depth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, depth, cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnIdleCourierWaitsForNoWriter(t *testing.T) {
	db := dbtest.SQLite(t)
	b := &outbox.Box{DB: db, Ring: ring(t)}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := db.Write(ctx, func(*sqldb.Tx) error { // the one writer is taken
		_, err := b.Claim(ctx, message.SMS, 1, time.Minute)
		return err
	})
	if err != nil {
		t.Errorf("an idle claim waited for the writer: %v", err)
	}
}
