package guard_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"countersign/internal/guard"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/throttle"
)

type gate struct {
	t *testing.T
	*guard.Guard

	log *strings.Builder
}

func each(t *testing.T, r guard.Rules, f func(t *testing.T, g gate, clock *dbtest.Clock)) {
	t.Helper()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		var log strings.Builder
		f(t, gate{t, &guard.Guard{
			DB: db, Throttle: &throttle.Service{Ring: testkit.Ring(t)}, Log: slog.New(slog.NewTextHandler(&log, nil)), Rules: r,
		}, &log}, clock)
	})
}

func (g gate) send(m guard.Message) guard.Refusal {
	g.t.Helper()
	why, err := g.Admit(g.t.Context(), m)
	if err != nil {
		g.t.Fatal(err)
	}
	return why
}

func (g gate) write(f func(context.Context, *sqldb.Tx) error) {
	g.t.Helper()
	if err := g.DB.Write(g.t.Context(), func(tx *sqldb.Tx) error { return f(g.t.Context(), tx) }); err != nil {
		g.t.Fatal(err)
	}
}

func (g gate) back(to string) {
	g.t.Helper()
	g.write(func(ctx context.Context, tx *sqldb.Tx) error { return g.Converted(ctx, tx, to) })
}

func german(n int) string { return fmt.Sprintf("+4915112%06d", n) }

func TestMessagesGoToCountriesThatAreSaidOrLearned(t *testing.T) {
	each(t, guard.Rules{Countries: []string{"NO"}}, func(t *testing.T, g gate, clock *dbtest.Clock) {
		norway, germany := guard.Message{To: "+4741234567", New: true}, guard.Message{To: german(1), New: true}
		if why := g.send(norway); why != "" {
			t.Errorf("Norway: %s", why)
		}
		if why := g.send(germany); why != guard.Country {
			t.Errorf("Germany: %q", why)
		}
		if why := g.send(guard.Message{To: german(2)}); why != "" { // an account's own
			t.Errorf("a German account: %s", why)
		}
		clock.Advance(time.Minute)
		if why := g.send(germany); why != "" {
			t.Errorf("Germany, once learned: %s", why)
		}
	})
}

func TestAnOperatorWhoSaidNothingMayBegin(t *testing.T) {
	each(t, guard.Rules{}, func(t *testing.T, g gate, clock *dbtest.Clock) {
		g.write(func(ctx context.Context, tx *sqldb.Tx) error { return g.LearnAll(ctx, tx, nil) })
		sent := 0
		for i := range 200 {
			if g.send(guard.Message{To: german(i * 1009), New: true}) == "" {
				sent++
			}
		}
		if sent != 50 {
			t.Errorf("%d messages before anybody said where to", sent)
		}
		g.write(func(ctx context.Context, tx *sqldb.Tx) error { return g.Learn(ctx, tx, "NO") })
		clock.Advance(time.Minute)
		if why := g.send(guard.Message{To: german(999_999), New: true}); why != guard.Country {
			t.Errorf("once another country is known: %q", why)
		}
	})
}

func TestOnlyNumbersThatPeopleCarry(t *testing.T) {
	for number, want := range map[string]guard.Refusal{
		"+4915112345678": "",         // mobile
		"+12025550123":   "",         // fixed or mobile: the plan does not say
		"+15550100100":   "",         // in no range that is known: it may be new
		"+493012345678":  guard.Kind, // fixed
		"+498001234567":  guard.Kind, // toll-free
		"+499001234567":  guard.Kind, // premium
		"+881612345678":  guard.Kind, // satellite
		"+4":             guard.Kind, // none
	} {
		each(t, guard.Rules{}, func(t *testing.T, g gate, _ *dbtest.Clock) {
			if why := g.send(guard.Message{To: number, New: true}); why != want {
				t.Errorf("%s: %q, want %q", number, why, want)
			}
		})
	}
	each(t, guard.Rules{AnyKind: true}, func(t *testing.T, g gate, _ *dbtest.Clock) {
		if why := g.send(guard.Message{To: "+493012345678", New: true}); why != "" {
			t.Errorf("where the operator takes any: %s", why)
		}
	})
}

// A number from which no code comes back is left alone, whoever's it is; a code that does begins it anew.
func TestANumberThatNeverAnswers(t *testing.T) {
	each(t, guard.Rules{}, func(t *testing.T, g gate, clock *dbtest.Clock) {
		m := guard.Message{To: german(1)}
		for i := range 10 {
			if why := g.send(m); why != "" {
				t.Fatalf("message %d: %s", i, why)
			}
		}
		if why := g.send(m); why != guard.Number {
			t.Errorf("an eleventh: %q", why)
		}
		clock.Advance(61 * time.Minute)
		if g.send(m) != "" || g.send(m) != guard.Number {
			t.Error("not one an hour")
		}
		g.back(m.To)
		if why := g.send(m); why != "" {
			t.Errorf("once a code came back: %s", why)
		}
	})
}

// Honest people's codes come back, and then nothing is limited, however many there are.
func TestCodesThatComeBackLimitNothing(t *testing.T) {
	each(t, guard.Rules{}, func(t *testing.T, g gate, clock *dbtest.Clock) {
		g.write(func(ctx context.Context, tx *sqldb.Tx) error { return g.Learn(ctx, tx, "DE") })
		for i := range 600 {
			to := german(i)
			if why := g.send(guard.Message{To: to, New: true}); why != "" {
				t.Fatalf("message %d: %s", i, why)
			}
			if i%5 < 3 { // three in five
				g.back(to)
			}
			clock.Advance(time.Second)
		}
	})
}

func TestNewNumbersOfARangeAndOfACountryAreLimited(t *testing.T) {
	for what, c := range map[string]struct {
		number func(int) string
		most   int
	}{
		"one after another": {german, 10 + 30 + 60 + 100},
		"far apart":         {func(i int) string { return fmt.Sprintf("+49151%08d", i*99_991%100_000_000) }, 300},
	} {
		each(t, guard.Rules{}, func(t *testing.T, g gate, _ *dbtest.Clock) {
			g.write(func(ctx context.Context, tx *sqldb.Tx) error { return g.Learn(ctx, tx, "DE") })
			sent := 0
			for i := range 600 {
				if g.send(guard.Message{To: c.number(i), New: true}) == "" {
					sent++
				}
			}
			if sent > c.most || sent < 10 {
				t.Errorf("%s: %d of 600 sent", what, sent)
			}
			if why := g.send(guard.Message{To: c.number(0)}); why != "" { // an account has it
				t.Errorf("%s: a number that is known: %s", what, why)
			}
		})
	}
}

func TestCapsOnWhatIsSpent(t *testing.T) {
	prices, err := guard.ReadPrices(strings.NewReader("# ours\n+49,0.10\n+4915,0.20 # mobile\n\n+,1\n"))
	if err != nil {
		t.Fatal(err)
	}
	each(t, guard.Rules{Prices: prices, Caps: guard.Caps{Hour: 2e6, Day: 3e6}}, func(t *testing.T, g gate, clock *dbtest.Clock) {
		sent := func() (n int) {
			for i := range 20 {
				if g.send(guard.Message{To: german(i), Parts: 1}) == "" {
					n++
				}
			}
			return n
		}
		if n := sent(); n != 10 { // 0.20 each
			t.Errorf("%d within the hour", n)
		}
		clock.Advance(time.Hour)
		if n := sent(); n != 5 {
			t.Errorf("%d more within the day", n)
		}
		for _, percent := range []string{"percent=50 cap=guard.hour_cap", "percent=80", "percent=100", "new=false cap=guard.hour_cap", "new=false cap=guard.day_cap"} {
			if !strings.Contains(g.log.String(), percent) {
				t.Errorf("nobody was warned of %s", percent)
			}
		}
		clock.Advance(24 * time.Hour)
		if why := g.send(guard.Message{To: german(1), Parts: 11}); why != guard.Spend {
			t.Errorf("a message of eleven parts: %q", why)
		}
	})
	each(t, guard.Rules{Prices: prices, Caps: guard.Caps{CountryDay: 1e6}}, func(t *testing.T, g gate, _ *dbtest.Clock) {
		if g.send(guard.Message{To: german(1), Parts: 5}) != "" || g.send(guard.Message{To: german(2), Parts: 1}) != guard.Spend ||
			g.send(guard.Message{To: "+4741234567", Parts: 1}) != "" {
			t.Error("a country's cap is not its own")
		}
	})
}

func TestPricesThatAreNone(t *testing.T) {
	for _, text := range []string{"49,1", "+49", "+49,-1", "+49,a", "+49,1\n+49,2", "+49,5000", "+4x,1"} {
		if _, err := guard.ReadPrices(strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// What strangers' numbers use up leaves a part of each cap to people who have an account.
func TestStrangersLeaveAPartOfACap(t *testing.T) {
	each(t, guard.Rules{Prices: guard.Prices{"+": 1e5}, Caps: guard.Caps{Hour: 1e6}}, func(t *testing.T, g gate, _ *dbtest.Clock) {
		fresh, known := 0, 0
		for i := range 20 {
			if g.send(guard.Message{To: german(i * 1009), New: true, Parts: 1}) == "" {
				fresh++
			}
		}
		for i := range 20 {
			if g.send(guard.Message{To: german(i), Parts: 1}) == "" {
				known++
			}
		}
		if fresh != 8 || known != 2 || !strings.Contains(g.log.String(), "country=DE") {
			t.Errorf("%d new, %d known", fresh, known)
		}
	})
}
