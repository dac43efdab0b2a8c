package smpp_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/smpp"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
)

// mark is what of a letter's id fits into user_message_reference.
func mark(id string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return strconv.Itoa(int(h.Sum32() & 0xFFFF))
}

func TestSMPPIsAProvider(t *testing.T) {
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		couriertest.Run(t, func(t *testing.T) couriertest.Bench {
			far, c := serve(t)
			gone := c
			gone.Address = couriertest.Nowhere(t)
			return couriertest.Bench{
				Provider: open(t, c), Channel: message.SMS, Set: far.Set, Got: far.Got, Gone: open(t, gone), Marks: mark,
			}
		})
	})
}

func letter(id, text string) courier.Message {
	return courier.Message{ID: id, Channel: message.SMS, To: "+4915112345678", From: "Fotoalbum", Text: text}
}

func send(t *testing.T, p *smpp.Provider, m courier.Message) courier.Receipt {
	t.Helper()
	rec, err := p.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestEachAlphabetArrivesWholeInAsFewPartsAsItTakes(t *testing.T) {
	const gsm, ucs2 = 0, 8
	bound := "\n\n@id.example.org #482913"
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		far, c := serve(t)
		p := open(t, c)
		for name, want := range map[string]struct {
			text          string
			coding, parts int
		}{
			"the default alphabet":                 {"Dein Code für Größe: 482913 Δ_ÆøÅ" + bound, gsm, 1},
			"its extension":                        {"5 € [a] {b} ~ ^ | \\" + bound, gsm, 1},
			"160 septets":                          {strings.Repeat("@", 160), gsm, 1},
			"161 septets":                          {strings.Repeat("x", 161), gsm, 2},
			"80 characters of two septets":         {strings.Repeat("€", 80), gsm, 1},
			"one of two septets where a part ends": {strings.Repeat("x", 152) + "€" + strings.Repeat("y", 152), gsm, 3},
			"306 septets":                          {strings.Repeat("ü", 306), gsm, 2},
			"Arabic":                               {"رمزك هو 482913" + bound, ucs2, 1},
			"70 characters of UCS-2":               {strings.Repeat("ш", 70), ucs2, 1},
			"71 characters of UCS-2":               {strings.Repeat("ш", 71), ucs2, 2},
			"a pair where a part ends":             {strings.Repeat("ш", 66) + "😀" + strings.Repeat("ш", 10), ucs2, 2},
		} {
			t.Run(name, func(t *testing.T) {
				before := len(far.Parts())
				send(t, p, letter("0189-"+name, want.text))
				parts := far.Parts()[before:]
				got := couriertest.Letters(parts)
				if len(parts) != want.parts || len(got) != 1 || got[0].Text != want.text {
					t.Fatalf("%d parts, %d letters: %+v", len(parts), len(got), parts)
				}
				for i, part := range parts {
					long := len(parts) > 1
					concat := [3]int{}
					if long {
						concat = [3]int{part.Ref & 0xFF, want.parts, i + 1}
					}
					if part.Coding != want.coding || part.Concat != concat || part.ESM&0x40 != 0 != long || part.ToType != 1 || part.ToPlan != 1 {
						t.Errorf("%+v", part)
					}
				}
			})
		}
	})
}

func TestASenderHasTheTypeOfItsForm(t *testing.T) {
	type source struct {
		address    string
		kind, plan int
	}
	far, c := &couriertest.Centre{}, smpp.Config{SystemID: couriertest.SystemID, Password: secret.Of(couriertest.CentrePassword), Now: time.Now}
	far.Serve(t, false)
	c.Address = far.Address
	asked := c
	asked.Source = smpp.Source{Type: 0, Plan: 1}
	derived, set := open(t, c), open(t, asked)
	for from, want := range map[string]source{
		"+4915112345678": {"4915112345678", 1, 1}, "15005550006": {"15005550006", 1, 1}, "72404": {"72404", 3, 0}, "Fotoalbum": {"Fotoalbum", 5, 0}, "A 1": {"A 1", 5, 0},
	} {
		for p, want := range map[*smpp.Provider]source{derived: want, set: {want.address, 0, 1}} {
			m := letter("1", "x")
			m.From = from
			send(t, p, m)
			parts := far.Parts()
			last := parts[len(parts)-1]
			if got := (source{last.From, last.FromType, last.FromPlan}); got != want {
				t.Errorf("%s: %+v", from, got)
			}
		}
	}
	for _, from := range []string{"", "+", "Zwölf", "twelve chars", "+49151x"} {
		m := letter("1", "x")
		m.From = from
		_, err := derived.Send(t.Context(), m)
		if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || e.Code != "smpp_sender_malformed" {
			t.Errorf("%q: %v", from, err)
		}
	}
}

func TestANumberThatIsNoneIsRefusedBeforeItIsSent(t *testing.T) {
	p := open(t, smpp.Config{Address: couriertest.Nowhere(t), SystemID: "x", Now: time.Now})
	for _, to := range []string{"", "+", "4915112345678", "+49151 12345678", "+1234567890123456"} {
		m := letter("1", "x")
		m.To = to
		_, err := p.Send(t.Context(), m)
		if e, ok := errors.AsType[*courier.Error](err); !ok || !e.Permanent || e.Code != "smpp_recipient_malformed" {
			t.Errorf("%q: %v", to, err)
		}
	}
}

func TestACodeIsNotDeliveredWhenItIsOver(t *testing.T) {
	far := &couriertest.Centre{}
	far.Serve(t, false)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := open(t, smpp.Config{Address: far.Address, SystemID: couriertest.SystemID, Password: secret.Of(couriertest.CentrePassword), Now: func() time.Time { return now }})
	for left, want := range map[time.Duration]string{
		10 * time.Minute: "000000001000000R", 73*time.Hour + 2*time.Second: "000003010002000R", 0: "", 1000 * time.Hour: "",
	} {
		m := letter("1", "x")
		m.Expires = now.Add(left)
		send(t, p, m)
		if parts := far.Parts(); parts[len(parts)-1].Validity != want {
			t.Errorf("%s: %q", left, parts[len(parts)-1].Validity)
		}
	}
}

func TestReceiptsAreReadAndAnswered(t *testing.T) {
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		far, c := serve(t)
		reports := make(chan courier.Report, 10)
		c.Report = func(r courier.Report) { reports <- r }
		p := open(t, c)
		rec := send(t, p, letter("1", strings.Repeat("x", 200)))
		if parts := far.Parts(); parts[0].Receipt != 0 || parts[1].Receipt != 1 || rec.ID != "m_0002" {
			t.Errorf("receipts asked for: %d, %d; the letter is %s", parts[0].Receipt, parts[1].Receipt, rec.ID)
		}
		const form = "id:%s sub:001 dlvrd:001 submit date:2601010100 done date:2601010101 stat:%s err:%s text:id:9 stat:UNDELIV"
		for _, r := range []struct {
			text, id string
			state    byte
			want     courier.Report
		}{
			{fmt.Sprintf(form, rec.ID, "DELIVRD", "000"), "", 0, courier.Report{Provider: "smpp", ID: rec.ID, State: courier.Delivered, Code: "000", To: "+4915112345678", Country: "DE"}},
			{fmt.Sprintf(form, rec.ID, "UNDELIV", "0A1"), "", 0, courier.Report{Provider: "smpp", ID: rec.ID, State: courier.NotDelivered, Code: "0A1", To: "+4915112345678", Country: "DE"}},
			{fmt.Sprintf(form, "16", "UNDELIV", "001"), "m_0010", 2, courier.Report{Provider: "smpp", ID: "m_0010", State: courier.Delivered, Code: "001", To: "+4915112345678", Country: "DE"}},
			{"", "m_0011", 5, courier.Report{Provider: "smpp", ID: "m_0011", State: courier.NotDelivered, To: "+4915112345678", Country: "DE"}},
			{fmt.Sprintf(form, "m_0012", "ENROUTE", "+4915112345678"), "", 0, courier.Report{Provider: "smpp", ID: "m_0012", State: courier.Underway, To: "+4915112345678", Country: "DE"}},
		} {
			far.Receipt(r.text, r.id, r.state)
			select {
			case got := <-reports:
				if got != r.want {
					t.Errorf("%q, %s: %+v", r.text, r.id, got)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%q was not reported", r.text)
			}
		}
		far.Receipt("STOP", "", 0)
		waitFor(t, func() bool { _, _, told := far.Most(); return told == 6 })
		if len(reports) != 0 {
			t.Errorf("%+v", <-reports)
		}
	})
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}

func TestNoAnswerIsLostAndTheWindowIsKept(t *testing.T) {
	far := &couriertest.Centre{}
	far.Serve(t, false)
	p := open(t, smpp.Config{Address: far.Address, SystemID: couriertest.SystemID, Password: secret.Of(couriertest.CentrePassword), Window: 7, Now: time.Now})
	const each, workers = 100, 30
	ids := make([]string, each*workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range each {
				ids[w*each+i] = send(t, p, letter(fmt.Sprint(w, "-", i), "x")).ID
			}
		})
	}
	all.Wait()
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != each*workers || len(far.Parts()) != each*workers {
		t.Errorf("%d acknowledged, %d arrived, want %d", n, len(far.Parts()), each*workers)
	}
	if most, _, _ := far.Most(); most > 7 {
		t.Errorf("%d messages were unanswered at once", most)
	}
}

func TestALinkCutInMidLoadLosesNothing(t *testing.T) {
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		far, c := serve(t)
		p := open(t, c)
		const letters, workers = 390, 8
		var next, cuts, failed atomic.Int64
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for n := next.Add(1); n <= letters; n = next.Add(1) {
					if n%150 == 100 && cuts.Add(1) > 0 {
						far.Cut()
					}
					for { // as the outbox does
						_, err := p.Send(t.Context(), letter(fmt.Sprint("0189-", n), strconv.FormatInt(n, 10)))
						if err == nil {
							break
						}
						e, ok := errors.AsType[*courier.Error](err)
						if !ok || e.Permanent {
							t.Errorf("letter %d: %v", n, err)
							break
						}
						failed.Add(1)
						time.Sleep(max(e.After, 10*time.Millisecond))
					}
				}
			})
		}
		all.Wait()
		got := map[string]bool{}
		for _, m := range far.Got() {
			got[m.Text] = true
		}
		if len(got) != letters || cuts.Load() != 2 {
			t.Errorf("%d of %d arrived, %d cuts", len(got), letters, cuts.Load())
		}
		t.Logf("%d tries failed, %d letters arrived twice", failed.Load(), len(far.Got())-letters)
	})
}

func TestACentreThatWantsFewerIsLeftAloneForLongerEachTime(t *testing.T) {
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		far, c := serve(t)
		var offset atomic.Int64
		c.Now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		p := open(t, c)
		far.Set(couriertest.RefuseForNow)
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute} {
			_, err := p.Send(t.Context(), letter("1", "x"))
			e, ok := errors.AsType[*courier.Error](err)
			if !ok || e.Permanent || !e.NotTaken || e.Code != "smpp_0x58" || e.After > want || e.After < want-time.Second/2 {
				t.Fatalf("want a pause of %s: %+v", want, err)
			}
			if want > time.Second {
				_, err = p.Send(t.Context(), letter("2", "y")) // not even tried
				if e, ok := errors.AsType[*courier.Error](err); !ok || e.Code != "smpp_0x58" || e.After == 0 {
					t.Fatalf("%+v", err)
				}
			}
			offset.Add(int64(want))
		}
		far.Set(couriertest.Accept)
		send(t, p, letter("1", "x"))
		far.Set(couriertest.RefuseForNow)
		_, err := p.Send(t.Context(), letter("1", "x"))
		if e, ok := errors.AsType[*courier.Error](err); !ok || e.After > time.Second {
			t.Errorf("the pauses did not begin anew: %+v", err)
		}
	})
}

func TestAWrongPasswordIsSaidClearlyAndNotTold(t *testing.T) {
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		far, c := serve(t)
		c.Password = secret.Of("hunter2")
		p := open(t, c)
		_, err := p.Send(t.Context(), letter("1", "x"))
		for _, err := range []error{err, p.Check(t.Context())} {
			e, ok := errors.AsType[*courier.Error](err)
			if !ok || e.Permanent || !e.NotTaken || e.Code != "smpp_bind_password_refused" || strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
				t.Errorf("%v", err)
			}
		}
		if e, _ := errors.AsType[*courier.Error](err); e.After < time.Second {
			t.Errorf("tried again after %s", e.After)
		}
		if len(far.Parts()) != 0 {
			t.Error("it was sent")
		}
	})
}

func TestAnAnswerThatDoesNotComeIsATimeoutAndTheLinkIsKept(t *testing.T) {
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		far, c := serve(t)
		c.Window = 1
		p := open(t, c)
		send(t, p, letter("1", "x"))
		far.Set(couriertest.Hang)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := p.Send(ctx, letter("2", "y"))
		if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || e.NotTaken || e.Code != "smpp_timeout" {
			t.Errorf("%v", err)
		}
		far.Set(couriertest.Accept)
		send(t, p, letter("2", "y"))
	})
}

func TestACheckBindsAndSaysGoodbye(t *testing.T) {
	centres(t, func(t *testing.T, serve func(t *testing.T) (centre, smpp.Config)) {
		far, c := serve(t)
		p := open(t, c)
		if err := p.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		send(t, p, letter("1", "x"))
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { _, unbound, _ := far.Most(); return unbound == 2 })
		_, err := p.Send(t.Context(), letter("1", "x"))
		if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || e.Code != "smpp_closed" {
			t.Errorf("%v", err)
		}
	})
}

func TestACertificateNobodyVouchesForIsRefused(t *testing.T) {
	far := &couriertest.Centre{}
	far.Serve(t, true)
	p := open(t, smpp.Config{Address: far.Address, TLS: true, SystemID: couriertest.SystemID, Password: secret.Of(couriertest.CentrePassword), Now: time.Now})
	_, err := p.Send(t.Context(), letter("1", "x"))
	if e, ok := errors.AsType[*courier.Error](err); !ok || e.Permanent || e.Code != "smpp_unreachable" || len(far.Parts()) != 0 {
		t.Errorf("%v", err)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	good := smpp.Config{Address: "smsc.example.net:2775", SystemID: "id", Now: time.Now}
	if _, err := smpp.New(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*smpp.Config){
		"no address": func(c *smpp.Config) { c.Address = "" }, "no port": func(c *smpp.Config) { c.Address = "smsc" }, "no id": func(c *smpp.Config) { c.SystemID = "" },
		"a long id": func(c *smpp.Config) { c.SystemID = "sixteen letters!" }, "a zero": func(c *smpp.Config) { c.Password = secret.Of("a\x00b") },
		"a long type": func(c *smpp.Config) { c.SystemType = "thirteen char" }, "no clock": func(c *smpp.Config) { c.Now = nil },
	} {
		c := good
		spoil(&c)
		if _, err := smpp.New(c); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	for _, s := range []string{"5", "5/", "7/0", "x/0", "5/x", "55/0"} {
		if _, err := smpp.ParseSource(s); err == nil {
			t.Errorf("%s was accepted", s)
		}
	}
	if s, err := smpp.ParseSource("5/0"); err != nil || s != (smpp.Source{Type: 5}) {
		t.Errorf("%+v, %v", s, err)
	}
}
