package outbox_test

import (
	"slices"
	"testing"
	"time"

	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// P11: a letter whose turn comes later, however often, is not given up for it: nobody was asked to take it.
func TestALetterThatIsPutOffLosesNoTry(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t), Attempts: 2}
		id := put(t, db, b, code("+4915112345678"))
		for range 10 {
			all := claim(t, b, 1)
			if len(all) != 1 {
				t.Fatal("it is given up")
			}
			if err := b.PutOff(t.Context(), all[0], 3*time.Second); err != nil {
				t.Fatal(err)
			}
			if clock.Advance(2 * time.Second); len(claim(t, b, 1)) != 0 {
				t.Fatal("it comes before its turn")
			}
			clock.Advance(time.Second)
		}
		first := claim(t, b, 1)[0]
		if dead, err := b.Retry(t.Context(), first, "x", 0); dead || err != nil {
			t.Errorf("after the first try: dead %v, %v", dead, err)
		}
		clock.Advance(2 * time.Second)
		if dead, err := b.Retry(t.Context(), claim(t, b, 1)[0], "x", 0); !dead || err != nil {
			t.Errorf("after the last try: dead %v, %v", dead, err)
		}
		clock.Advance(time.Second)
		if got := lines(t, db)[id]; got.State != "dead" {
			t.Errorf("%+v", got)
		}
	})
}

func TestWhoTookTheLettersBefore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		last := ""
		for _, by := range []string{"twilio", "", "vonage"} { // the second was withheld
			l := code("+4915112345678")
			l.Follows = last
			last = put(t, db, b, l)
			c := claim(t, b, 1)[0]
			if c.Follows != l.Follows {
				t.Errorf("follows %q, want %q", c.Follows, l.Follows)
			}
			c.Withhold = by == ""
			if err := b.Finish(t.Context(), c, outbox.Receipt{Provider: by}); err != nil {
				t.Fatal(err)
			}
		}
		for id, want := range map[string][]string{last: {"vonage", "twilio"}, "nobody's": nil} {
			if got, err := b.Before(t.Context(), id); err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
		}
	})
}

// A code that came back is told once, by whom it had gone; of one that nobody took there is nothing to tell.
func TestCodesThatCameBack(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		var told []string
		b := &outbox.Box{DB: db, Ring: ring(t), Typed: func(by, to string) { told = append(told, by+" "+to) }}
		typed, other := put(t, db, b, code("+4915112345678")), put(t, db, b, code("+4915112345679"))
		for _, c := range claim(t, b, 2) {
			if err := b.Finish(t.Context(), c, outbox.Receipt{Provider: "twilio"}); err != nil {
				t.Fatal(err)
			}
		}
		waits := put(t, db, b, code("+4915112345670"))
		for _, id := range []string{typed, typed, waits, "nobody's"} {
			if err := db.Write(t.Context(), func(tx *sqldb.Tx) error { return b.CameBack(t.Context(), tx, id, "+4915112345678") }); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(told, []string{"twilio +4915112345678"}) {
			t.Errorf("told %q", told)
		}
		got, err := b.WereTyped(t.Context(), []string{typed, other, "nobody's"})
		if err != nil || len(got) != 1 || !got[typed] {
			t.Errorf("%v, %v", got, err)
		}
		if got, err := b.WereTyped(t.Context(), nil); err != nil || len(got) != 0 {
			t.Errorf("of none: %v, %v", got, err)
		}
	})
}
