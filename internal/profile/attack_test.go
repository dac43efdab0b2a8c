package profile_test

import (
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/message"
	"countersign/internal/platform/fault"
	"countersign/internal/profile"
)

// A stolen session that is fresh takes an address of the holder's away without a word to it: removing it
// would be told there, and could be undone from there for 72 hours. "This wasn't me" on a line of weeks ago is not.
func TestADisavowalRemovesNoAddressSilently(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		h.clock.Advance(40 * 24 * time.Hour)
		h.record(audit.Event{Kind: audit.LoginSuccess, Account: string(ada)})
		old := h.activity(ada)[0].ID
		h.clock.Advance(time.Hour)
		h.add(h.signIn(ada, ""), "remedy@example.org")
		h.clock.Advance(20 * 24 * time.Hour)
		h.Letters(message.Email)
		thief := h.signIn(ada, "")
		if ok, err := h.Profile.DisavowDeed(t.Context(), thief, h.Client, old); !ok || err != nil {
			t.Fatal(ok, err)
		}
		_, there := h.addresses(ada)["remedy@example.org"]
		told := false
		letters, _ := h.sent(message.Email)
		for _, l := range letters {
			told = told || l.To == "remedy@example.org"
		}
		if !there && !told {
			t.Error("an address of three weeks is gone, and nobody has told it")
		}
	})
}

// A session from a clock that was ahead is fresh for as long as the clock was wrong, not for ten minutes: the
// flows have a bound for that (skew), freshness has none.
func TestASessionOfTheFutureIsNotFresh(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		h.clock.Advance(48 * time.Hour)
		me := h.signIn(ada, "")
		h.clock.Advance(-48 * time.Hour)
		h.clock.Advance(24 * time.Hour)
		var id string
		for _, a := range h.addresses(ada) {
			id = a.ID
		}
		if err := h.Profile.SetAddressUses(t.Context(), me, h.Client, id, account.Uses{SignsIn: true}); code(err) != "reauthentication_required" {
			t.Errorf("a day later the session is still fresh: %v", err)
		}
	})
}

// The holder has ended the thief's session on one node; on another the thief's request was let in a moment
// before. What takes changes back, stops the password and calls an erasure off does not look whether the session is still there.
func TestAnEndedSessionDisavowsNothing(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org", "+4915112345678")
		h.guest("ada@example.org", "203.0.113.9").enter()
		deed := h.activity(ada)[0].ID
		mine, thief := h.signIn(ada, ""), h.signIn(ada, "")
		if _, err := h.Profile.AskErase(t.Context(), mine, h.Client); err != nil { // ends every other session
			t.Fatal(err)
		}
		if kept, err := h.Profile.Keep(t.Context(), thief, h.Client); kept || err == nil {
			t.Errorf("an ended session has called the erasure off: %t, %v", kept, err)
		}
		if ok, err := h.Profile.DisavowDeed(t.Context(), thief, h.Client, deed); ok && err == nil {
			t.Error("an ended session has stopped the password and signed the holder out")
		}
	})
}

// P9: whoever has an account, or a stolen session, has any number of letters and text messages written, each
// of which costs the operator: notices have no limit of their own. With a number that earns its owner money per message
// and open registration this pays. (The letters of protect are bounded; those of codes and contacts too.)
func TestNoticesAreBounded(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("+4915112345678")
		me := h.signIn(ada, "")
		for range 200 {
			if _, err := h.Profile.NewSavedCode(t.Context(), me, h.Client); err != nil && fault.Of(err).Kind == fault.TooMany {
				break
			}
		}
		languages := []string{"de", "en"}
		for n := range 50 {
			if err := h.Profile.SetLanguage(t.Context(), me, h.Client, languages[n%2]); err != nil && fault.Of(err).Kind == fault.TooMany {
				break
			}
		}
		sent := 0
		for {
			letters := h.Letters(message.SMS)
			if len(letters) == 0 {
				break
			}
			for _, l := range letters {
				if !l.Withhold {
					sent++
				}
			}
		}
		if sent > 50 {
			t.Errorf("%d text messages to one number in no time", sent)
		}
	})
}

// P10: a new password is judged before anything is counted and outside the queue. It takes as long as hashing one;
// whoever has a session has the server do it as often as they like, and nobody else signs in meanwhile.
func TestJudgingPasswordsIsBounded(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		me := h.signIn(h.Account("ada@example.org"), "")
		began, judged := time.Now(), 0
		for range 150 {
			_, _, err := h.Profile.ChangePassword(t.Context(), me, h.Client, profile.PasswordChange{
				Current: "not it", New: "passwordmonkeydragonmasterlovelysunshineprincess1",
			})
			if k := fault.Of(err).Kind; k == fault.TooMany || k == fault.Unavailable {
				break
			}
			judged++
		}
		if judged == 150 {
			t.Errorf("%d judgements, %s each, and none refused", judged, time.Since(began)/150)
		}
	})
}
