package subscriber_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/subscriber"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

const place = "https://app.example.org/hook"

// house is a database whose events somebody is told of.
type house struct {
	*subscriber.Service

	t     *testing.T
	clock *dbtest.Clock

	mu     sync.Mutex
	got    []subscriber.Message
	answer func(m subscriber.Message) subscriber.Answer // nil: taken
}

func each(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	dbtest.EachClock(t, func(t *testing.T, db *sqldb.DB, clock *dbtest.Clock) {
		ring := testkit.Ring(t)
		log := &audit.Log{Ring: ring}
		h := &house{t: t, clock: clock, Service: &subscriber.Service{
			DB: db, Ring: ring, Audit: log, Accounts: &account.Service{DB: db, Ring: ring, Decoys: testkit.FewDecoys}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		}}
		log.Told = h.Note
		h.Dial = func(url string) (subscriber.Send, error) {
			if !strings.HasPrefix(url, "https://") {
				return nil, errors.New("no")
			}
			return h.take, nil
		}
		if _, err := h.Accounts.EnsureDecoys(t.Context()); err != nil {
			t.Fatal(err)
		}
		f(t, h)
	})
}

func (h *house) take(_ context.Context, m subscriber.Message) (a subscriber.Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answer != nil {
		a = h.answer(m)
	}
	if a.Code == "" {
		h.got = append(h.got, m)
	}
	return a
}

func (h *house) add(kinds ...audit.Kind) (id string) {
	h.t.Helper()
	id, key, err := h.Add(h.t.Context(), place, kinds)
	if err != nil || !strings.HasPrefix(key.Reveal(), "whsec_") {
		h.t.Fatal(key, err)
	}
	h.must(h.Poll(h.t.Context()))
	return id
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// happens appends events of an account.
func (h *house) happens(who string, kinds ...audit.Kind) {
	h.t.Helper()
	for _, k := range kinds {
		h.must(h.DB.Write(h.t.Context(), func(tx *sqldb.Tx) error {
			return h.Audit.Append(h.t.Context(), tx, audit.Event{Kind: k, Account: who, Detail: map[string]string{"session": "s", "to": "ada@example.org"}})
		}))
	}
}

// works runs a node until f is true.
func (h *house) works(f func() bool) {
	h.t.Helper()
	ctx, rest := context.WithCancel(h.t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Error("it takes too long")
			break
		}
	}
	rest()
	h.must(<-done)
}

func (h *house) depth() subscriber.Depth {
	d, err := h.Depth(h.t.Context())
	if err != nil {
		h.t.Error(err)
	}
	return d
}

func (h *house) idle() bool { return h.depth().Waiting == 0 }

type event struct {
	Type string
	Data struct {
		ID, Account string
		Detail      map[string]string
	}
}

// heard are the events that came, as "account/type".
func (h *house) heard() (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.got {
		var e event
		if err := json.Unmarshal(m.Body, &e); err != nil || e.Data.ID != m.ID {
			h.t.Errorf("%s: %v", m.Body, err)
		}
		out = append(out, e.Data.Account+"/"+e.Type)
	}
	return out
}

func TestEachIsToldWhatItWants(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.happens("a", audit.LoginSuccess) // before anybody asked
		h.add(audit.AccountErased, audit.LoginSuccess)
		h.happens("a", audit.LoginSuccess, audit.PasswordFailed, audit.AccountErased)
		h.works(h.idle)
		if got, want := h.heard(), []string{"a/authn_login_success", "a/user_deleted"}; !slices.Equal(got, want) {
			t.Errorf("heard %v, want %v", got, want)
		}
		if _, _, err := h.Add(t.Context(), place, []audit.Kind{"authn_login_succes"}); fault.Of(err).Code != "webhook_event" {
			t.Error("a kind that there is not:", err)
		}
		if _, _, err := h.Add(t.Context(), "http://elsewhere.example", nil); fault.Of(err).Code != "webhook_url" {
			t.Error("an address that is none:", err)
		}
	})
}

// What is rolled back is told to nobody, and what was committed is told, whoever was killed meanwhile: both are rows of the
// transaction of the event.
func TestAnEventIsToldIfAndOnlyIfItIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add()
		undone := errors.New("undone")
		err := h.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			return errors.Join(h.Audit.Append(t.Context(), tx, audit.Event{Kind: audit.LoginSuccess, Account: "a"}), undone)
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
		if n := h.depth().Waiting; n != 0 {
			t.Errorf("%d events wait that never were", n)
		}
		h.happens("a", audit.LoginSuccess)
		if n := h.depth().Waiting; n != 1 {
			t.Errorf("%d events wait, want 1", n)
		}
	})
}

// P1: what a type does not promise stays in the house, whatever another part of the program has put into the record.
func TestABodyHasNothingButWhatItsTypePromises(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add()
		h.happens("a", audit.LoginSuccess)
		h.works(h.idle)
		body := string(h.got[0].Body)
		if strings.Contains(body, "ada@") || !strings.Contains(body, `"session":"s"`) {
			t.Error(body)
		}
	})
}

// P2: an event of a decoy is written like anybody's, and told to nobody.
func TestEventsOfDecoysAreToldToNobody(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add()
		ident, err := account.Parse("ghost@example.org")
		h.must(err)
		var decoy account.Account
		h.must(h.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) {
			decoy, err = h.Accounts.Find(t.Context(), tx, ident)
			return err
		}))
		h.happens(string(decoy.ID), audit.PasswordFailed)
		h.happens("a", audit.PasswordFailed)
		if n := h.depth().Waiting; n != 2 {
			t.Errorf("%d events wait, want 2: the rows tell who exists", n)
		}
		h.works(h.idle)
		if got := h.heard(); !slices.Equal(got, []string{"a/authn_login_fail"}) {
			t.Errorf("heard %v", got)
		}
	})
}

// A later event of an account waits for the earlier one, however often that fails; other accounts go on.
func TestTheOrderOfAnAccountIsKept(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add()
		fails := true
		h.answer = func(m subscriber.Message) (a subscriber.Answer) {
			if fails && strings.Contains(string(m.Body), `"a"`) {
				a.Code = "webhook_http_500"
			}
			return a
		}
		h.happens("a", audit.PasswordPassed, audit.LoginSuccess)
		h.happens("b", audit.PasswordPassed, audit.LoginSuccess)
		h.works(func() bool { return len(h.heard()) == 2 })
		if got := h.heard(); !slices.Equal(got, []string{"b/authn_password_success", "b/authn_login_success"}) {
			t.Fatalf("while a's first fails: heard %v", got)
		}
		fails = false
		h.clock.Advance(time.Hour)
		h.works(h.idle)
		if got := h.heard()[2:]; !slices.Equal(got, []string{"a/authn_password_success", "a/authn_login_success"}) {
			t.Errorf("heard %v", got)
		}
	})
}

// An event is tried for three days under one id, then kept until an operator says.
func TestWhatCannotBeToldIsGivenUpAfterThreeDays(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add()
		h.happens("a", audit.LoginSuccess)
		tries, ids := 0, map[string]bool{}
		h.answer = func(m subscriber.Message) subscriber.Answer {
			tries++
			ids[m.ID] = true
			return subscriber.Answer{Code: "webhook_http_500", Why: "dial tcp 10.0.0.7:80"} // which is for who tries it alone
		}
		tried := func(n int) func() bool {
			return func() bool {
				h.mu.Lock()
				defer h.mu.Unlock()
				return tries >= n
			}
		}
		h.works(tried(1))
		h.clock.Advance(4 * time.Second)
		h.works(func() bool { return true })
		h.clock.Advance(71*time.Hour + 59*time.Minute)
		h.works(tried(2))
		if d := h.depth(); tries != 2 || d.Waiting != 1 || d.Dead != 0 {
			t.Fatalf("before three days: %d tries, %+v", tries, d)
		}
		if all, err := h.List(t.Context()); err != nil || strings.Contains(fmt.Sprint(all), "10.0.0.7") || !strings.Contains(fmt.Sprint(all), "webhook_http_500") {
			t.Errorf("the list has %v, %v", all, err)
		}
		h.clock.Advance(time.Hour)
		h.works(tried(3))
		dead, err := h.Dead(t.Context(), 10)
		if d := h.depth(); err != nil || d.Waiting != 0 || d.Dead != 1 || len(dead) != 1 || dead[0].Why != "webhook_http_500" || dead[0].Attempts != 3 || len(ids) != 1 {
			t.Fatalf("after: %+v, %+v, %v, ids %v", d, dead, err, ids)
		}
		h.answer = nil
		if n, err := h.Retry(t.Context(), dead[0].Event); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		h.works(h.idle)
		if got := h.heard(); len(got) != 1 {
			t.Errorf("after the retry: %v", got)
		}
	})
}

// One that is away is asked with one event at a time, and once it takes one, nothing waits for its own time.
func TestOneThatIsBackIsToldEverythingAtOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add(audit.LoginSuccess)
		for i := range 24 { // three rounds
			h.happens(fmt.Sprint("account", i), audit.LoginSuccess)
		}
		tries, back := 0, false
		h.answer = func(subscriber.Message) (a subscriber.Answer) {
			if tries++; !back {
				a.Code = "webhook_unreachable"
			}
			return a
		}
		tried := func() int {
			h.mu.Lock()
			defer h.mu.Unlock()
			return tries
		}
		h.works(func() bool { return tried() == 24 })
		h.clock.Advance(5 * time.Second)
		returned := false
		h.works(func() bool {
			if tried() == 48 && !returned { // each waits for 10 seconds from now on, by a clock that stands still
				h.happens("another", audit.LoginSuccess)
				h.mu.Lock()
				back, returned = true, true
				h.mu.Unlock()
			}
			return returned && h.idle()
		})
		if got := h.heard(); len(got) != 25 || got[0] != "another/authn_login_success" {
			t.Errorf("heard %d of 25, the first %v", len(got), got)
		}
	})
}

func TestOneThatIsGoneIsPausedAndWhatHappensWaits(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		id := h.add(audit.LoginSuccess, audit.WebhookChanged)
		h.happens("a", audit.LoginSuccess)
		h.answer = func(subscriber.Message) subscriber.Answer {
			return subscriber.Answer{Code: "webhook_http_410", Gone: true}
		}
		paused := func() bool {
			all, err := h.List(t.Context())
			h.must(err)
			return !all[0].PausedAt.IsZero()
		}
		h.works(paused)
		h.answer = nil
		h.happens("a", audit.LoginSuccess)
		h.clock.Advance(time.Hour)
		h.works(func() bool { return true })
		if got := h.heard(); len(got) != 0 {
			t.Fatalf("heard %v while paused", got)
		}
		h.must(h.Resume(t.Context(), id))
		h.works(h.idle)
		if got := h.heard(); len(got) != 4 || paused() { // the two, that it was gone, and that it was resumed
			t.Errorf("heard %v", got)
		}
	})
}

// A subscriber that never answers holds nobody else up.
func TestASlowOneHoldsUpNobodyElse(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add(audit.LoginSuccess)
		slow, over := make(chan bool), make(chan bool)
		dial := h.Dial
		h.Dial = func(url string) (subscriber.Send, error) {
			if url != place {
				return func(context.Context, subscriber.Message) subscriber.Answer {
					slow <- true
					<-over
					return subscriber.Answer{}
				}, nil
			}
			return dial(url)
		}
		_, _, err := h.Add(t.Context(), place+"/slow", []audit.Kind{audit.LoginSuccess})
		h.must(err)
		h.happens("a", audit.LoginSuccess)
		h.works(func() bool {
			<-slow
			for range 3 {
				h.happens("b", audit.LoginSuccess)
			}
			for end := time.Now().Add(20 * time.Second); len(h.heard()) < 4 && time.Now().Before(end); {
				time.Sleep(5 * time.Millisecond)
			}
			close(over)
			go func() {
				for range slow { // the rest
				}
			}()
			return true
		})
		if got := h.heard(); len(got) != 4 {
			t.Errorf("heard %v while the other was slow", got)
		}
	})
}

// What a node had in hand when it was killed, another tells once the lease has run out, and not before.
func TestWhatAKilledNodeHadInHandIsTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add(audit.LoginSuccess)
		h.happens("a", audit.LoginSuccess)
		killed, cut := make(chan bool), make(chan bool)
		other := &subscriber.Service{DB: h.DB, Ring: h.Ring, Audit: h.Audit, Accounts: h.Accounts, Log: h.Log, Dial: func(string) (subscriber.Send, error) {
			return func(context.Context, subscriber.Message) subscriber.Answer {
				close(killed)
				<-cut
				return subscriber.Answer{Code: "killed"}
			}, nil
		}}
		ctx, rest := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- other.Run(ctx) }()
		<-killed
		h.works(func() bool { time.Sleep(50 * time.Millisecond); return true })
		if got := h.heard(); len(got) != 0 {
			t.Errorf("heard %v while another has it in hand", got)
		}
		h.clock.Advance(time.Minute)
		h.works(h.idle)
		if got := h.heard(); len(got) != 1 {
			t.Errorf("heard %v after the lease", got)
		}
		close(cut)
		rest()
		h.must(<-done)
	})
}

// Of two nodes one tells each event.
func TestTwoNodesTellEachEventOnce(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add(audit.LoginSuccess)
		for i := range 40 {
			h.happens(fmt.Sprint("account", i%10), audit.LoginSuccess)
		}
		other := &subscriber.Service{DB: h.DB, Ring: h.Ring, Audit: h.Audit, Accounts: h.Accounts, Log: h.Log, Dial: h.Dial}
		ctx, rest := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- other.Run(ctx) }()
		h.works(h.idle)
		rest()
		h.must(<-done)
		if got := h.heard(); len(got) != 40 {
			t.Errorf("heard %d of 40", len(got))
		}
	})
}

func TestWhatWasRecordedIsToldAgainUnderTheSameID(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.happens("a", audit.LoginSuccess)
		h.clock.Advance(time.Hour)
		since := h.clock.Now()
		h.happens("a", audit.LoginSuccess, audit.PasswordFailed)
		h.happens("b", audit.LoginSuccess)
		h.clock.Advance(time.Hour)
		id := h.add(audit.LoginSuccess)
		n, err := h.Replay(t.Context(), id, subscriber.Span{Since: since, Until: h.clock.Now(), Account: "a"})
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		h.works(h.idle)
		n, err = h.Replay(t.Context(), id, subscriber.Span{Since: since, Until: h.clock.Now()})
		if err != nil || n != 2 {
			t.Fatal(n, err)
		}
		h.works(h.idle)
		if got := h.heard(); len(got) != 3 || h.got[0].ID != h.got[1].ID && h.got[0].ID != h.got[2].ID {
			t.Errorf("heard %v, %s %s %s", got, h.got[0].ID, h.got[1].ID, h.got[2].ID)
		}
		if _, err := h.Replay(t.Context(), "nobody", subscriber.Span{}); fault.Of(err).Code != "webhook_unknown" {
			t.Error(err)
		}
	})
}

// An event that somebody has changed in the record is not told.
func TestAChangedRecordIsNotTold(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.add(audit.LoginSuccess)
		h.happens("a", audit.LoginSuccess)
		h.must(h.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), "UPDATE audit_event SET actor = 'operator' WHERE kind = 'authn_login_success'")
			return err
		}))
		h.works(h.idle)
		if got, d := h.heard(), h.depth(); len(got) != 0 || d.Dead != 1 {
			t.Errorf("heard %v, %+v", got, d)
		}
	})
}

func TestSecretsOverlapForADayAndAreSealed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		id := h.add(audit.LoginSuccess)
		next, until, err := h.Rotate(t.Context(), id)
		if err != nil || !until.Equal(h.clock.Now().Add(24*time.Hour)) {
			t.Fatal(until, err)
		}
		h.happens("a", audit.LoginSuccess)
		h.works(h.idle)
		h.clock.Advance(24 * time.Hour)
		h.happens("a", audit.LoginSuccess)
		h.works(h.idle)
		if a, b := h.got[0].Secrets, h.got[1].Secrets; len(a) != 2 || !a[0].Equal(next) || len(b) != 1 || !b[0].Equal(next) {
			t.Errorf("%d secrets on the first day, %d on the second", len(a), len(b))
		}
		h.must(h.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.Each(t.Context(), "SELECT s.url, k.sealed FROM subscriber s, subscriber_secret k", func(scan func(...any) error) error {
				var url, sealed []byte
				err := scan(&url, &sealed)
				if strings.Contains(string(url), "example") || strings.Contains(string(sealed), "whsec") {
					t.Error("an address or a secret is in the database as it is")
				}
				return err
			})
		}))
	})
}

func TestThereAreNotTooMany(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		for range subscriber.Most {
			h.add(audit.LoginSuccess)
		}
		if _, _, err := h.Add(t.Context(), place, nil); fault.Of(err).Code != "webhook_many" {
			t.Error(err)
		}
	})
}

func TestOneThatIsRemovedLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		id := h.add()
		h.happens("a", audit.LoginSuccess)
		h.must(h.Remove(t.Context(), id))
		if all, err := h.List(t.Context()); err != nil || len(all) != 0 || !h.idle() {
			t.Error(all, err)
		}
		if err := h.Remove(t.Context(), id); fault.Of(err).Code != "webhook_unknown" {
			t.Error(err)
		}
	})
}

// Every kind that the record knows is a type with words, and the documentation has them all.
func TestEveryKindIsADocumentedType(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../audit/audit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds, types []string
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, named := v.Type.(*ast.Ident); named && id.Name == "Kind" {
			kind, _ := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value) //nolint:forcetypeassert // all are
			kinds = append(kinds, kind)
		}
		return true
	})
	for _, k := range subscriber.Types() {
		types = append(types, string(k.Kind))
		if k.Says == "" {
			t.Errorf("%s has no words", k.Kind)
		}
	}
	slices.Sort(kinds)
	slices.Sort(types)
	if len(kinds) < 50 || !slices.Equal(kinds, types) {
		t.Errorf("the record knows %v\nand subscribers may be told of %v", kinds, types)
	}
	doc, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil || !strings.Contains(string(doc), subscriber.Markdown()) {
		t.Errorf("docs/webhooks.md has not the table that countersign webhook events --markdown prints: %v", err)
	}
}
