package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/guard"
	"countersign/internal/message"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// carrier is everybody's phone company: it takes messages, and knows what they cost.
type carrier struct {
	mu    sync.Mutex
	codes map[string]string // the newest, by number
	sent  map[string]int    // segments, by number
}

func (c *carrier) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	to, text := r.URL.Query().Get("to"), r.URL.Query().Get("text")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[to] = text[strings.LastIndex(text, "#")+1:]
	c.sent[to] += message.Segments(text)
}

// read takes the code that came to a number; empty if none did.
func (c *carrier) read(number string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	code := c.codes[number]
	delete(c.codes, number)
	return code
}

// segments counts what went to the numbers that begin so, but for some.
func (c *carrier) segments(beginning string, but map[string]bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for number, parts := range c.sent {
		if strings.HasPrefix(number, beginning) && !but[number] {
			n += parts
		}
	}
	return n
}

// reached is how many of so many got their codes.
type reached struct{ got, of int }

func (s reached) String() string { return fmt.Sprintf("%d of %d", s.got, s.of) }

// pumped is an hour of a pump beside honest people.
type pumped struct {
	early, sent, others     int           // segments to the pump, in the first ten minutes and in all, and to everybody else
	stopped                 time.Duration // when the first message of the pump's was withheld; 0 if none was
	known, fresh, neighbour reached       // people with accounts, new ones of the country, new ones of the range that is pumped
}

const (
	pumpPrice   = 75_000 // millionths, a segment
	pumpSources = 2000
	pumpHour    = 10_000 // tries
	pumpRange   = "+49151100"
)

// person is the number of somebody, anywhere in the country.
func person(i int) string { return fmt.Sprintf("+4917%09d", 100+i*7_368_787%1_000_000_000) }

// pump opens accounts with 10,000 numbers of one range within an hour, from 2,000 addresses of as many networks; answers is how many hundredths of
// the codes it types in. Meanwhile 300 people who have an account sign in by text message and 140 open one, 20 of them with numbers of that very range; four of
// five of them type their code. part is how much of the hour is seen, in tenths.
func pump(t *testing.T, part, answers int, change func(*config.Config)) (p pumped) {
	t.Helper()
	far := &carrier{codes: map[string]string{}, sent: map[string]int{}}
	phones := httptest.NewServer(far)
	defer phones.Close()
	prices := filepath.Join(t.TempDir(), "prices")
	if err := os.WriteFile(prices, []byte("+49,0.075\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Registration.Mode, c.Guard.Prices, c.Email.Provider = "open", prices, "none"
		c.SMS.Provider, c.SMS.HTTPMethod, c.SMS.HTTPURL = "http", "GET", phones.URL+"/?to={to}&text={text}"
		change(c)
	}})
	core := n.Core()
	w := world{t, n, far}
	var begun int
	asked, honest := map[string][2]string{}, map[string]bool{} // where from and which flow, by number
	for i := range 300 * part / 10 {
		n.Account(person(i))
	}
	n.Clock.Advance(n.Clock.Now().Truncate(time.Hour).Add(time.Hour).Sub(n.Clock.Now())) // caps are by hours of the clock
	start := n.Clock.Now()
	// settle waits until everything that was asked for has left or was withheld.
	settle := func() {
		t.Helper()
		eventually(t, func() bool { return waiting(w.t, w.node) == 0 })
	}
	for i := range pumpHour * part / 10 {
		number := fmt.Sprintf("%s%05d", pumpRange, i*7919%100_000)
		from := fmt.Sprintf("20.%d.%d.7", i%pumpSources/256, i%pumpSources%256)
		asked[number] = [2]string{from, w.register(from, number)}
		if i%33 == 0 && begun < 300*part/10 {
			settle()
			p.known.of++
			if w.signIn(person(begun), begun) {
				p.known.got++
			}
			begun++
			for number, f := range asked { // what came
				code := far.read(number)
				if code == "" && p.stopped == 0 {
					p.stopped = n.Clock.Now().Sub(start)
				}
				if last := int(number[len(number)-1] - '0'); code != "" && 10*last < answers {
					w.prove(f[0], f[1], code)
				}
			}
			clear(asked)
		}
		if i%83 == 41 {
			settle()
			s, number := &p.fresh, person(1000+i)
			if i/83%6 == 5 {
				s, number = &p.neighbour, fmt.Sprintf("%s%05d", pumpRange, (i*7919+3)%100_000)
			}
			honest[number] = true
			s.of++
			if w.joins(number, i) {
				s.got++
			}
		}
		if n.Clock.Now().Sub(start) >= 10*time.Minute && p.early == 0 {
			settle()
			p.early = far.segments(pumpRange, honest)
		}
		n.Clock.Advance(time.Hour / pumpHour)
	}
	settle()
	p.sent = far.segments(pumpRange, honest)
	var spent guard.Spent
	if err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) (err error) { spent, err = core.Guard.Spent(t.Context(), tx); return err }); err != nil {
		t.Fatal(err)
	}
	p.others = far.segments("", nil) - p.sent
	if all := int64(p.others+p.sent) * pumpPrice; spent.Day != all {
		t.Errorf("the guard counted %d, and %d was spent", spent.Day, all)
	}
	return p
}

// world is what people and pumps do.
type world struct {
	t    *testing.T
	node *servertest.Node
	far  *carrier
}

// call asks the API, from an address.
func (w world) call(from, path string, status int, body string) (a answer) {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), "POST", w.node.URL+"/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = from + ":1024"
	rec := httptest.NewRecorder()
	w.node.Handler().ServeHTTP(rec, r)
	if rec.Code != status {
		w.t.Fatalf("%s from %s: %d %s", path, from, rec.Code, rec.Body)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil {
		w.t.Fatalf("%s: %v", rec.Body, err)
	}
	return a
}

// waiting is how many letters are not written down as sent.
func waiting(t *testing.T, node *servertest.Node) (n int) {
	t.Helper()
	err := node.Core().DB.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), `SELECT count(*) FROM outbox_letter WHERE state = 'waiting'`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w world) register(from, number string) (flow string) {
	return w.call(from, "/registration", http.StatusCreated, `{"address":"`+number+`"}`).Flow
}

func (w world) prove(from, flow, code string) {
	w.call(from, "/registration/code", http.StatusOK, `{"flow":"`+flow+`","code":"`+code+`"}`)
}

// code waits for what was asked for and reads what came to a number.
func (w world) code(number string) string {
	w.t.Helper()
	eventually(w.t, func() bool { return waiting(w.t, w.node) == 0 })
	return w.far.read(number)
}

// joins opens an account, for a person whose own address is number i's, and reports whether the code came.
func (w world) joins(number string, i int) bool {
	w.t.Helper()
	from := fmt.Sprintf("30.%d.%d.7", i/256, i%256)
	flow := w.register(from, number)
	code := w.code(number)
	if code != "" && i%5 > 0 {
		w.prove(from, flow, code)
	}
	return code != ""
}

// signIn signs somebody in, and reports whether the code came.
func (w world) signIn(number string, i int) bool {
	w.t.Helper()
	from := fmt.Sprintf("40.%d.%d.7", i/256, i%256)
	flow := w.call(from, "/signin", http.StatusCreated, `{"identifier":"`+number+`"}`).Flow
	w.call(from, "/signin/password", http.StatusOK, `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`)
	w.call(from, "/signin/code/send", http.StatusAccepted, `{"flow":"`+flow+`","way":"sms"}`)
	code := w.code(number)
	if code != "" && i%5 > 0 {
		w.call(from, "/signin/code", http.StatusOK, `{"flow":"`+flow+`","code":"`+code+`"}`)
	}
	return code != ""
}

// The table of docs/operating.md: what a pump gets, what that costs, and who else still got their codes. PUMP=full sees the whole hour, as the table does;
// else it is the first twelve minutes, in which everything is decided.
func TestAPump(t *testing.T) {
	part := 2
	if os.Getenv("PUMP") == "full" {
		part = 10
	}
	all := func(all ...reached) bool {
		return !slices.ContainsFunc(all, func(r reached) bool { return r.of == 0 || r.got != r.of })
	}
	for _, c := range []struct {
		name    string
		answers int
		change  func(*config.Config)
		holds   func(p pumped) bool
	}{
		{"without the guard", 0, func(c *config.Config) { c.Guard.Enabled = false }, func(p pumped) bool {
			return p.sent == pumpHour*part/10 && all(p.known, p.fresh, p.neighbour)
		}},
		{"with it", 0, func(*config.Config) {}, func(p pumped) bool {
			return p.sent <= 200 && p.stopped < time.Minute && all(p.known, p.fresh)
		}},
		// It has the numbers' owners with it, and looks as honest people do: its money is the caps' to keep.
		{"with it, if the pump types half of the codes in", 50, func(*config.Config) {}, func(p pumped) bool { return all(p.known, p.fresh, p.neighbour) }},
		// Of the cap a fifth is for people with accounts; in less than the hour it is less, so that it is reached.
		{"the same, and `guard.hour_cap = \"250\"`", 50, func(c *config.Config) { c.Guard.HourCap = strconv.Itoa(25 * part) }, func(p pumped) bool {
			return p.sent*pumpPrice <= part*20_000_000 && all(p.known)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := pump(t, part, c.answers, c.change)
			cents := p.sent * pumpPrice / 10_000
			t.Logf("| %s | %d | %d | %d.%02d | %s | %s | %s |; the first was withheld after %v, and everybody else's were %d", c.name, p.early, p.sent, cents/100, cents%100, p.known, p.fresh, p.neighbour, p.stopped.Round(time.Second), p.others)
			if !c.holds(p) {
				t.Errorf("%+v", p)
			}
		})
	}
}
