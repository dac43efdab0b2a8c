package recovery_test

import (
	"net/netip"
	"testing"
	"time"

	"countersign/internal/factor"
	"countersign/internal/platform/secret"
	"countersign/internal/recovery"
	"countersign/internal/testkit/dbtest"
)

// P8, A-6.4.3: a server let everybody on to its form for a new password who asked for another way to prove
// themselves (CVE-2026-18963). Here each way is tried that falls short of two proofs, and none leads there.
func TestWhatFallsShortSetsNoPassword(t *testing.T) {
	for name, short := range map[string]func(m *machine, clock *dbtest.Clock, saved secret.Token) []person{
		"nothing proved": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			p, _ := m.begin(ada, "")
			return []person{p}
		},
		"another way chosen, and another": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			p, _ := m.begin(ada, "")
			_, _ = p.send(factor.SMS)
			_, _ = p.ask()
			_, _ = p.wait()
			_, _ = p.password(newWord)
			_, _ = p.at()
			return []person{p}
		},
		"every proof wrong": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			p, _ := m.begin(ada, "")
			p.refused(p.code("", secret.Of("000000")))
			p.refused(p.saved(secret.Of("0000-0000-0000-0000-0000-0000")))
			return []person{p}
		},
		"one proof, and every other way begun": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			p := m.proved(ada, "")
			p.want(recovery.StepMore)(p.send(factor.SMS))
			p.want(recovery.StepMore)(p.send(factor.Email))
			p.want(recovery.StepMore)(p.ask())
			p.want(recovery.StepWaiting)(p.wait())
			p.refused(p.contact(secret.Of("00000000")))
			p.refused(p.password("not it, not it, not it"))
			return []person{p}
		},
		"one proof, twice": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			p, _ := m.begin(ada, "")
			code := m.code(ada)
			p.want(recovery.StepMore)(p.code("", code))
			p.refused(p.code(factor.Email, code))
			return []person{p}
		},
		"the saved code, twice": func(m *machine, _ *dbtest.Clock, saved secret.Token) []person {
			p, _ := m.begin(ada, "")
			p.want(recovery.StepMore)(p.saved(saved))
			p.want(recovery.StepMore)(p.saved(saved))
			return []person{p}
		},
		"one code of two contacts": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			p := m.proved(ada, "")
			p.want(recovery.StepMore)(p.ask())
			p.want(recovery.StepMore)(p.contact(m.code("bob@example.org")))
			return []person{p}
		},
		"two proofs in two flows": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			return []person{m.proved(ada, ""), m.proved(ada, adaPhone)}
		},
		"both codes, where neither may go": func(m *machine, _ *dbtest.Clock, _ secret.Token) []person {
			p := m.proved(ada, "")
			mail := m.proved("mallory@example.org", "")
			mail.want(recovery.StepMore)(mail.send(factor.SMS))
			code := m.code("+4915112345679")
			p.want(recovery.StepMore)(p.send(factor.SMS))
			p.refused(p.code(factor.SMS, code))
			return []person{p}
		},
		"most of the wait": func(m *machine, clock *dbtest.Clock, _ secret.Token) []person {
			p := m.proved(ada, "")
			p.want(recovery.StepWaiting)(p.wait())
			clock.Advance(3*day - time.Second)
			return []person{p}
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, m *machine, clock *dbtest.Clock) {
				m.Throttle.Exempt = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
				id := m.Account(ada, adaPhone)
				saved := m.savedCode(id)
				m.Account("mallory@example.org", "+4915112345679")
				m.contacts(clock, id, "bob@example.org", "carol@example.org")
				for _, p := range short(m, clock, saved) {
					fails(t, "step_out_of_order")(p.finish(newWord))
					stranger := person{m, p.ref}
					stranger.ref.Browser = secret.NewToken(recovery.BrowserPrefix)
					fails(t, "flow_ended")(stranger.finish(newWord))
				}
				if m.opens(id, newWord) {
					t.Error("the password was replaced")
				}
			})
		})
	}
}
