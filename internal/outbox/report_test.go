package outbox_test

import (
	"sync"
	"testing"
	"time"

	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

func tell(t testing.TB, b *outbox.Box, told outbox.Told) bool {
	t.Helper()
	_, news, err := b.Report(t.Context(), told)
	if err != nil {
		t.Fatal(err)
	}
	return news
}

func fate(t testing.TB, b *outbox.Box, id string) (f outbox.Fate) {
	t.Helper()
	err := b.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
		f, err = b.Fate(t.Context(), tx, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A report that was recorded and is sent again changes nothing, and none takes a later one back, in whatever order they come.
func TestReportsOnlyEverAdd(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		id := put(t, db, b, code("+4915112345678"))
		if got := fate(t, b, id); got != "" {
			t.Errorf("before anything: %q", got)
		}
		if err := b.Finish(t.Context(), claim(t, b, 1)[0], outbox.Receipt{Provider: "twilio", ID: "SM1"}); err != nil {
			t.Fatal(err)
		}
		clock.Advance(7 * time.Second)
		for _, step := range []struct {
			state outbox.Fate
			news  bool
			after outbox.Fate
		}{
			{outbox.Underway, true, outbox.Underway},
			{outbox.Underway, false, outbox.Underway},
			{outbox.NotDelivered, true, outbox.NotDelivered},
			{outbox.Unclear, false, outbox.NotDelivered},
			{outbox.Underway, false, outbox.NotDelivered},
			{outbox.NotDelivered, false, outbox.NotDelivered},
			{outbox.Delivered, true, outbox.Delivered}, // sent twice, and once it arrived
			{outbox.Delivered, false, outbox.Delivered},
			{outbox.NotDelivered, false, outbox.Delivered},
			{"read by the neighbour", false, outbox.Delivered},
		} {
			took, news, err := b.Report(t.Context(), outbox.Told{Letter: id, Provider: "twilio", State: step.state})
			if err != nil || news != step.news || news && took != 7*time.Second || fate(t, b, id) != step.after {
				t.Errorf("%s: %v %v %v, then %q", step.state, took, news, err, fate(t, b, id))
			}
		}
	})
}

func TestAReportOfNoLetterChangesNothing(t *testing.T) {
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		ghost := code("+49301")
		ghost.Withhold = true
		sent, withheld := put(t, db, b, code("+4915112345678")), put(t, db, b, ghost)
		for _, c := range claim(t, b, 2) {
			if err := b.Finish(t.Context(), c, outbox.Receipt{Provider: "twilio", ID: "SM1"}); err != nil {
				t.Fatal(err)
			}
		}
		for what, told := range map[string]outbox.Told{
			"unknown": {Letter: "01890000-0000-7000-8000-000000000001", Provider: "twilio", State: outbox.Delivered}, "another provider's": {Letter: sent, Provider: "vonage", State: outbox.Delivered},
			"withheld": {Letter: withheld, Provider: "twilio", State: outbox.Delivered}, "nothing": {Provider: "smpp", State: outbox.Delivered}, "by another's id": {ID: "SM1", Provider: "twilio", State: outbox.Delivered},
		} {
			if tell(t, b, told) {
				t.Errorf("%s: news", what)
			}
		}
		clock.Advance(73 * time.Hour)
		if tell(t, b, outbox.Told{Letter: sent, Provider: "twilio", State: outbox.Delivered}) || fate(t, b, sent) != "" {
			t.Error("after three days: news")
		}
	})
}

func TestACentresReportsComeUnderItsOwnIds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		id := put(t, db, b, code("+4915112345678"))
		told := outbox.Told{ID: "m_0001", Provider: "smpp", State: outbox.Delivered}
		if tell(t, b, told) {
			t.Error("known before it was sent")
		}
		if err := b.Finish(t.Context(), claim(t, b, 1)[0], outbox.Receipt{Provider: "smpp", ID: "m_0001"}); err != nil {
			t.Fatal(err)
		}
		if !tell(t, b, told) || tell(t, b, told) || fate(t, b, id) != outbox.Delivered {
			t.Errorf("%q", fate(t, b, id))
		}
	})
}

// A provider is at times quicker than our own note that it took the letter.
func TestAReportMayComeBeforeTheLetterIsNoted(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		id := put(t, db, b, code("+4915112345678"))
		c := claim(t, b, 1)[0]
		if !tell(t, b, outbox.Told{Letter: id, Provider: "twilio", State: outbox.Delivered}) {
			t.Error("no news")
		}
		if err := b.Finish(t.Context(), c, outbox.Receipt{Provider: "twilio", ID: "SM1"}); err != nil {
			t.Fatal(err)
		}
		if fate(t, b, id) != outbox.Delivered {
			t.Errorf("%q", fate(t, b, id))
		}
	})
}

func TestOfReportsThatRaceOneIsNews(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		id := put(t, db, b, code("+4915112345678"))
		var all sync.WaitGroup
		var mu sync.Mutex
		news := 0
		for range 8 {
			all.Go(func() {
				if tell(t, b, outbox.Told{Letter: id, Provider: "twilio", State: outbox.Delivered}) {
					mu.Lock()
					defer mu.Unlock()
					news++
				}
			})
		}
		all.Wait()
		if news != 1 {
			t.Errorf("%d were news", news)
		}
	})
}
