package profile_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"countersign/internal/account"
	"countersign/internal/audit"
	"countersign/internal/message"
	"countersign/internal/passkey"
	"countersign/internal/platform/sqldb"
	"countersign/internal/profile"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/totp"
)

// equip gives the account an app, a passkey and backup codes, and forgets the letters about it.
func (h home) equip(me session.Session) {
	h.t.Helper()
	e, err := h.Profile.BeginApp(h.t.Context(), me)
	h.must(err)
	_, err = h.Profile.ConfirmApp(h.t.Context(), me, h.Client, totp.Confirmation{ID: e.ID, Code: h.shows(e), Name: "My phone"})
	h.must(err)
	_, err = h.Profile.NewBackupCodes(h.t.Context(), me, h.Client)
	h.must(err)
	key := testkit.NewPasskey(h.t, "id.example.com", testkit.Origin, virtualwebauthn.KeyTypeEC2)
	h.must(h.DB.Write(h.t.Context(), func(tx *sqldb.Tx) error {
		begun, _, err := h.Passkeys.BeginEnrol(h.t.Context(), tx, passkey.Enrol{Bound: "a flow", Account: me.Account})
		if err != nil {
			return err
		}
		_, refused, err := h.Passkeys.FinishEnrol(h.t.Context(), tx, passkey.Answer{Bound: "a flow", State: begun.State, Response: key.Create(begun.Options)}, "Security key")
		if refused != "" {
			h.t.Errorf("a passkey: %s", refused)
		}
		return err
	}))
	h.Letters(message.Email)
}

// tokens brings hardware tokens in that are called T0, T1, …
func (h home) tokens(n int) {
	h.t.Helper()
	var file strings.Builder
	file.WriteString("serial,secret\n")
	for i := range n {
		fmt.Fprintf(&file, "T%d,%040x\n", i, 1<<20+i)
	}
	_, err := h.Authenticators.Import(h.t.Context(), strings.NewReader(file.String()), totp.Import{Format: totp.CSV, SecretsAs: "hex"})
	h.must(err)
}

func (h home) equipment(id account.ID) profile.Factors {
	h.t.Helper()
	e, err := h.Profile.Equipment(h.t.Context(), id)
	h.must(err)
	return e
}

// N-3.2.1-02, N-4.6-01: one thing goes, the others stay; its holder is told, and sees that it was an operator.
func TestAnOperatorRemovesOneFactor(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada, bob := h.Account("ada@example.org"), h.Account("bob@example.org")
		me := h.signIn(ada, "")
		h.equip(me)
		had := h.equipment(ada)
		if len(had.Apps) != 1 || had.Apps[0].Name != "My phone" || len(had.Passkeys) != 1 || had.Passkeys[0].Name != "Security key" || had.Backup != 10 {
			t.Fatalf("%+v", had)
		}
		app, key := string(had.Apps[0].ID), string(had.Passkeys[0].ID)
		for _, wrong := range []struct {
			who   account.ID
			which string
		}{{bob, app}, {bob, key}, {bob, profile.BackupList}, {ada, "no\x00id"}, {ada, "0196f0c1-0000-7000-8000-000000000000"}} {
			if err := h.Profile.TakeFactor(t.Context(), wrong.who, wrong.which); code(err) != "not_found" {
				t.Errorf("%q: %v", wrong.which, err)
			}
		}
		h.told(message.Email)
		h.must(h.Profile.TakeFactor(t.Context(), ada, app))
		h.told(message.Email, message.FactorRemoved)
		h.must(h.Profile.TakeFactor(t.Context(), ada, key))
		h.told(message.Email, message.FactorRemoved)
		if left := h.equipment(ada); len(left.Apps)+len(left.Passkeys) != 0 || left.Backup != 10 {
			t.Errorf("left: %+v", left)
		}
		h.must(h.Profile.TakeFactor(t.Context(), ada, profile.BackupList))
		h.told(message.Email, message.BackupChanged)
		if !h.equipment(ada).None() {
			t.Error("something is left")
		}
		if f, b := h.events("authn_factor_changed", "operator"), h.events("authn_backup_changed", "operator"); f != 2 || b != 1 {
			t.Errorf("recorded: %d and %d", f, b)
		}
		h.live(ada, me)
		past, err := h.Profile.Activity(t.Context(), me, audit.Mark{})
		h.must(err)
		seen := map[profile.What]int{}
		for _, d := range past.Deeds {
			if d.Actor == "operator" && !d.Foreign() {
				seen[d.What] += d.Times
			}
		}
		if seen[profile.FactorTaken] != 2 || seen[profile.BackupTaken] != 1 || seen[profile.LookedAt] != 3 {
			t.Errorf("their holder sees %v", seen)
		}
	})
}

// Whoever lost everything may have lost it to somebody: what that one holds is worth nothing, on nodes that come later too.
func TestAResetLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada, bob := h.Account("ada@example.org", "ada@example.net"), h.Account("bob@example.org")
		me, token := h.open(ada, h.remember(ada))
		his := h.signIn(bob, h.remember(bob))
		h.equip(me)
		h.equip(his)
		h.tokens(1)
		h.must(h.Profile.GiveToken(t.Context(), "T0", ada))
		h.told(message.Email, message.FactorAdded, message.FactorAdded)

		was, err := h.Profile.ResetFactors(t.Context(), ada)
		h.must(err)
		if len(was.Apps) != 2 || len(was.Passkeys) != 1 || was.Backup != 10 {
			t.Errorf("was: %+v", was)
		}
		h.told(message.Email, message.FactorsReset, message.FactorsReset)
		if n := h.events("authn_factor_changed", "operator"); n != 1 {
			t.Errorf("%d recorded", n)
		}
		later := home{testkit.NewMachine(t, h.DB, h.Sessions.Ring), h.clock, t} // remembers nothing of before
		for _, node := range []home{h, later} {
			if node.alive(token) || !node.equipment(ada).None() {
				t.Error("something of before is worth something")
			}
			node.remembered(ada)
			node.live(bob, his)
			if kept := node.equipment(bob); len(kept.Apps)+len(kept.Passkeys) != 2 || kept.Backup != 10 {
				t.Errorf("somebody else has %+v", kept)
			}
		}
		again := h.signIn(ada, "")
		if was, err := h.Profile.ResetFactors(t.Context(), ada); err != nil || !was.None() {
			t.Errorf("a second time: %+v, %v", was, err)
		}
		h.live(ada, again)
		h.told(message.Email)
		h.must(h.Profile.GiveToken(t.Context(), "T0", bob)) // nobody's until then
		if _, err := h.Profile.ResetFactors(t.Context(), account.Last); code(err) != "account_unknown" {
			t.Errorf("a decoy: %v", err)
		}
	})
}

// Six operators, five places: whoever comes too late is told, and the holder has a letter for each token and no more.
func TestOperatorsAtOnceKeepTheLimit(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		const many = totp.MaxPerAccount + 3
		h.tokens(many)
		var refused sync.Map
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				if err := h.Profile.GiveToken(t.Context(), fmt.Sprintf("T%d", i), ada); err != nil {
					refused.Store(i, code(err))
				}
			})
		}
		all.Wait()
		n := 0
		refused.Range(func(i, why any) bool {
			n++
			if why != "too_many_authenticators" {
				t.Errorf("T%d: %v", i, why)
			}
			return true
		})
		if has := len(h.equipment(ada).Apps); n != many-totp.MaxPerAccount || has != totp.MaxPerAccount {
			t.Errorf("%d refused, the account has %d", n, has)
		}
		h.told(message.Email, message.FactorAdded, message.FactorAdded, message.FactorAdded, message.FactorAdded, message.FactorAdded)
		if n := h.events("token_assigned", "operator"); n != totp.MaxPerAccount {
			t.Errorf("%d recorded", n)
		}
		h.clock.Advance(time.Minute)
		for i := range many {
			if _, taken := refused.Load(i); !taken {
				was, err := h.Profile.TakeToken(t.Context(), fmt.Sprintf("T%d", i))
				h.must(err)
				if was != ada {
					t.Errorf("T%d was %q's", i, was)
				}
				h.told(message.Email, message.FactorRemoved)
			}
		}
	})
}
