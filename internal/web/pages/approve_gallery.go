package pages

import (
	"net/netip"
	"time"

	"countersign/internal/approval"
	"countersign/internal/factor"
	"countersign/internal/platform/secret"
	"countersign/internal/profile"
	"countersign/internal/signin"
)

func (p *Pages) approveShots() []Shot {
	now := time.Date(2026, time.November, 23, 14, 12, 0, 0, time.UTC)
	asked := signin.Approval{ID: "0199e4a2-6c1e-7d0a-8f3b-2b1c9a7e5d40", State: approval.Waiting, Number: secret.Of("492817"), ExpiresAt: now.Add(approval.TTL)}
	over := asked
	over.State = approval.Over
	newcomer := func(a signin.Approval, change func(frame) frame) func(frame) view {
		return func(f frame) view {
			v, err := p.askedPage(change(f), "/signin/example", a)
			if err != nil {
				panic(err)
			}
			v.Nonce = "example"
			return v
		}
	}
	from := netip.MustParseAddr("192.0.2.7")
	one := approval.Request{ID: asked.ID, Source: from, Device: "Firefox on Linux", AskedAt: now, ExpiresAt: now.Add(approval.TTL)}
	two := approval.Request{ID: "0199e4a2-6c1e-7d0a-8f3b-2b1c9a7e5d41", AskedAt: now.Add(-time.Minute), ExpiresAt: now.Add(9 * time.Minute)}
	can := profile.Approver{Recognised: true, Recent: true}
	old := func(may profile.Approver, change func(frame) frame, all ...approval.Request) func(frame) view {
		return func(f frame) view { return p.approvePage(change(f), all, may) }
	}
	same := func(f frame) frame { return f }
	says := func(key string) func(frame) frame {
		return func(f frame) frame { return f.fails(f.say(key)) }
	}
	return []Shot{
		p.shot("code-approve", "code_title", func(f frame) view {
			return codeView{
				frame: f, Flow: "/signin/example", Submit: "/signin/example/code", Nonce: "example",
				appDoor: appDoor{Start: "/signin"}, Origin: p.options.Origin, RememberDays: p.options.RememberDays,
			}.ways([]factor.Way{factor.Email, factor.Approve}, factor.Email, 0)
		}),
		p.shot("asked", "way_approve", newcomer(asked, same)),
		p.shot("asked-always", "way_approve", func(f frame) view {
			v := newcomer(asked, same)(f).(askedView) //nolint:forcetypeassert // it is no other
			v.RememberDays = 0
			return v
		}),
		p.shot("asked-early", "way_approve", newcomer(asked, says("approve_not_yet"))),
		p.shot("asked-over", "way_approve", newcomer(over, same)),
		p.shot("approve", "approve_title", old(can, same, one)),
		p.shot("approve-two", "approve_title", old(can, same, one, two)),
		p.shot("approve-none", "approve_title", old(can, same)),
		p.shot("approve-given", "approve_title", old(can, func(f frame) frame { return f.flash("approved") })),
		p.shot("approve-wrong", "approve_title", func(f frame) view {
			v := p.approvePage(f.fails(f.say("approve_wrong")), []approval.Request{one}, can)
			v.Rows[0].Wrong = true
			return v
		}),
		p.shot("approve-missing", "approve_title", old(can, says("approve_missing"), one)),
		p.shot("approve-gone", "approve_title", old(can, says("approve_gone"))),
		p.shot("approve-unproved", "approve_title", old(can, says("approve_unproved"), one)),
		p.shot("approve-unrecognised", "approve_title", old(profile.Approver{Recent: true}, same, one)),
		p.shot("approve-stale", "approve_title", old(profile.Approver{Recognised: true}, same, one)),
		p.shot("refused", "approve_refused_title", func(f frame) view { return refusedPage(f) }),
	}
}
