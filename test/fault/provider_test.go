package fault_test

import (
	"fmt"
	"testing"
	"time"

	"countersign/internal/platform/sqldb"
)

// A provider that hangs or refuses holds nobody up but those who wait for its letters, and those
// come once it is well again.
func TestAProviderThatHangsOrFails(t *testing.T) {
	for name, ill := range map[string]func(*recorder){"hangs": (*recorder).stall, "fails": (*recorder).refuse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", quick...)
			people := s.seed(12)
			p := s.start()
			healthy := pace(s, people[:4])
			ill(s.mail)
			flows := make([]flow, 8)
			for i := range flows { // twice as many as there are workers: all of them are stuck
				flows[i] = s.app().toSecond(people[4+i].email)
			}
			var slowest time.Duration
			for i, f := range flows {
				began := time.Now()
				s.app().want(202, "POST", "/signin/code/send", jsonOf("flow", f.handle, "way", "email"))
				slowest = max(slowest, time.Since(began))
				if c := s.mail.code(people[4+i].email, 0); c != "" {
					t.Error("an ill provider took a letter")
				}
			}
			sick := pace(s, people[:4]) // by text message: that channel is well
			if limit := 4*healthy + time.Second; sick > limit || slowest > limit {
				t.Errorf("a sign-in took %v, %v before the provider fell ill; having a code sent took up to %v", sick, healthy, slowest)
			}
			eventually(t, 20*time.Second, "the provider is asked", func() bool { return s.mail.asked.Load() >= 4 })

			s.mail.release()
			began := time.Now()
			for i, f := range flows {
				code := s.mail.within(t, 45*time.Second, people[4+i].email, 0)
				s.app().want(200, "POST", "/signin/code", jsonOf("flow", f.handle, "code", code))
			}
			t.Logf("a sign-in took %v before and %v while e-mail was down; the letters came %v after it was up again", healthy.Round(time.Millisecond),
				sick.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			p.stop()
			core := s.open()
			defer func() { _ = core.Close() }()
			var dead int
			if err := core.DB.Read(t.Context(), func(tx *sqldb.Tx) error {
				return tx.QueryRow(t.Context(), `SELECT count(*) FROM outbox_letter WHERE state = 'dead'`).Scan(&dead)
			}); err != nil || dead != 0 {
				t.Errorf("%d letters are dead, %v", dead, err)
			}
		})
	}
}

// pace signs people in by text message and returns how long the slowest took.
func pace(s *site, people []person) (slowest time.Duration) {
	for _, p := range people {
		began := time.Now()
		a := s.app()
		f := a.toSecond(p.phone)
		since := s.mail.mark(p.phone)
		a.want(202, "POST", "/signin/code/send", jsonOf("flow", f.handle, "way", "sms"))
		a.want(200, "POST", "/signin/code", fmt.Sprintf(`{"flow":%q,"code":%q}`, f.handle, s.mail.waitCode(s.t, p.phone, since)))
		slowest = max(slowest, time.Since(began))
	}
	return slowest
}
