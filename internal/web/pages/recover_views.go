package pages

import (
	"slices"
	"time"

	"countersign/internal/factor"
	"countersign/internal/recovery"
)

// recoverViews are the pages of a recovery.
func recoverViews() []view {
	return []view{recoverView{}, recoverCodeView{}, moreView{}, proofView{}, waitingView{}, setView{}, recoveredView{}}
}

// ways names the ways a code can go from this server, in the keys of words: both, sms or email.
func (p *Pages) ways() string {
	sms := len(p.options.Ways) == 0 || slices.Contains(p.options.Ways, factor.SMS)
	email := len(p.options.Ways) == 0 || slices.Contains(p.options.Ways, factor.Email)
	switch {
	case sms && email:
		return "both"
	case sms:
		return "sms"
	}
	return "email"
}

// recoverView has no field for what was typed.
type recoverView struct {
	frame

	Ways  string // both, sms, email
	Where bool   // the problem is where the code should go
	Open  string // path of a recovery that was begun in this browser
}

func (recoverView) template() string { return "recover" }

// recoverCodeView asks for a code. Nothing here says where it went, nor whether it did.
type recoverCodeView struct {
	frame

	Path        string
	Way         factor.Way
	First       bool // no proof was given yet
	Lead        string
	WaitSeconds int
	NoMore      bool
}

func (recoverCodeView) template() string { return "recovercode" }

func recoverCodePage(f frame, path string, next recovery.Next, pause time.Duration) recoverCodeView {
	first := next.Step == recovery.StepCode
	key := "recover_code_lead_"
	if !first {
		key = "recover_other_lead_"
	}
	return recoverCodeView{
		frame: f, Path: path, Way: next.Sent, First: first, Lead: f.say(key + string(next.Sent)),
		WaitSeconds: int((pause + time.Second - 1) / time.Second), NoMore: next.ResendAt.IsZero(),
	}
}

// moreView offers the same to everybody, whatever the account has.
type moreView struct {
	frame

	Path         string
	Ways         []factor.Way
	Wait, Longer string // how long the waiting time is; empty if it cannot be begun
}

func morePage(f frame, path string, next recovery.Next) moreView {
	v := moreView{frame: f, Path: path, Ways: next.Ways}
	if next.Step == recovery.StepMore && next.Wait > 0 {
		v.Wait, v.Longer = f.span(next.Wait), f.span(next.WaitLonger)
	}
	return v
}

func (moreView) template() string { return "recovermore" }

// proofView asks for one thing.
type proofView struct {
	frame

	Path, Page, Back     string
	Heading, Lead, Label string
	Asked                bool // the contacts were sent their codes
}

func (proofView) template() string { return "recoverproof" }

type waitingView struct {
	frame

	Path  string
	Ready instant
}

func (waitingView) template() string { return "recoverwait" }

type setView struct {
	frame

	Path string
	Min  int
}

func (setView) template() string { return "recoverset" }

// Names are the fields: the password twice, so that nobody sets one that they did not mean (C-FP-18).
func (setView) Names() []string { return []string{"password", "again"} }

type recoveredView struct {
	frame

	Saved string // the new saved code, if the old one was used: shown this once, to whoever has just set the password
}

func (recoveredView) template() string { return "recovered" }

func (p *Pages) recoverShots() []Shot {
	const path = "/recover/example"
	both := []factor.Way{factor.SMS, factor.Email}
	code := func(f frame, step recovery.Step, way factor.Way, pause time.Duration) view {
		next := recovery.Next{Step: step, Sent: way, ResendAt: time.Unix(1, 0)}
		if pause < 0 {
			next.ResendAt = time.Time{}
		}
		return recoverCodePage(f, path, next, max(pause, 0))
	}
	proof := func(f frame, what proofPage, next recovery.Next) view {
		return proofPageOf(f, path, next, what)
	}
	more := recovery.Next{Step: recovery.StepMore}
	ready := time.Date(2026, time.November, 24, 14, 12, 0, 0, time.UTC)
	return []Shot{
		p.shot("recover", "recover_title", func(f frame) view { return recoverView{frame: f, Ways: "both"} }),
		p.shot("recover-open", "recover_title", func(f frame) view { return recoverView{frame: f, Ways: "sms", Open: path} }),
		p.shot("recover-missing", "recover_title", func(f frame) view { return recoverView{frame: f.fails(f.say("recover_missing")), Ways: "both"} }),
		p.shot("recover-where", "recover_title", func(f frame) view {
			return recoverView{frame: f.fails(f.say("recover_where_email")), Ways: "email", Where: true}
		}),
		p.shot("recover-code-email", "recover_code_title", func(f frame) view { return code(f, recovery.StepCode, factor.Email, 30*time.Second) }),
		p.shot("recover-code-sms", "recover_code_title", func(f frame) view { return code(f.flash("code-sent"), recovery.StepCode, factor.SMS, 0) }),
		p.shot("recover-code-refused", "recover_code_title", func(f frame) view {
			return code(f.fails(f.say("code_refused")), recovery.StepCode, factor.Email, -1)
		}),
		p.shot("recover-other-email", "recover_more_title", func(f frame) view { return code(f, recovery.StepMore, factor.Email, 0) }),
		p.shot("recover-other-sms", "recover_more_title", func(f frame) view { return code(f, recovery.StepMore, factor.SMS, 0) }),
		p.shot("recover-more", "recover_more_title", func(f frame) view {
			return morePage(f, path, recovery.Next{Step: recovery.StepMore, Ways: both, Wait: 24 * time.Hour, WaitLonger: 72 * time.Hour})
		}),
		p.shot("recover-saved", "recover_saved_title", func(f frame) view {
			return proof(f, savedProof, recovery.Next{Step: recovery.StepCode})
		}),
		p.shot("recover-saved-refused", "recover_saved_title", func(f frame) view { return proof(f.fails(f.say("recover_saved_refused")), savedProof, more) }),
		p.shot("recover-contacts", "recover_contacts_title", func(f frame) view { return proof(f, contactProof, more) }),
		p.shot("recover-contacts-asked", "recover_contacts_title", func(f frame) view {
			return proof(f, contactProof, recovery.Next{Step: recovery.StepMore, Asked: true})
		}),
		p.shot("recover-contacts-one-more", "recover_contacts_title", func(f frame) view {
			return proof(f.flash("one-more"), contactProof, recovery.Next{Step: recovery.StepMore, Asked: true})
		}),
		p.shot("recover-old", "recover_old_title", func(f frame) view { return proof(f, oldProof, more) }),
		p.shot("recover-old-refused", "recover_old_title", func(f frame) view { return proof(f.fails(f.say("recover_old_refused")), oldProof, more) }),
		p.shot("recover-otp", "recover_otp_title", func(f frame) view { return proof(f, otpProof, more) }),
		p.shot("recover-backup-refused", "recover_backup_title", func(f frame) view {
			return proof(f.fails(f.say("recover_backup_refused")), backupProof, more)
		}),
		p.shot("recover-waiting", "recover_waiting_title", func(f frame) view { return waitingView{frame: f, Path: path, Ready: f.instant(ready)} }),
		p.shot("recover-password", "recover_password_title", func(f frame) view { return setView{frame: f, Path: path, Min: 15} }),
		p.shot("recover-password-short", "recover_password_title", func(f frame) view {
			return setView{frame: f.fails(f.say("recover_password_too_short", "min", 15)), Path: path, Min: 15}
		}),
		p.shot("recovered", "recovered_title", func(f frame) view { return recoveredView{frame: f} }),
		p.shot("recovered-saved", "recovered_title", func(f frame) view {
			return recoveredView{frame: f, Saved: "K7QM-2XRD-9HTV-4WPA-B6ZN-E3JC"}
		}),
	}
}
