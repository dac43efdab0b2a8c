package profile_test

import (
	"slices"
	"testing"

	"countersign/internal/approval"
	"countersign/internal/device"
	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
)

// Beside what is offered, requests have a limit of their own and count as steps of their source; one over it is not made.
func TestRequestsAreLimited(t *testing.T) {
	for name, lower := range map[string]func(*signin.Limits){
		"of the account": func(l *signin.Limits) { l.Approval.Burst = 1 },
		"of the source":  func(l *signin.Limits) { l.Source.Burst = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, h home) {
				_, me, young := h.pair()
				young.ask()
				ref, _ := young.password(testkit.Password)
				lower(&h.Limits)
				if _, err := h.Ask(t.Context(), ref, young.from); codeOf(err) != "too_many_attempts" {
					t.Errorf("asked: %v", err)
				}
				if _, err := h.Approval(t.Context(), ref); codeOf(err) != "step_out_of_order" {
					t.Errorf("a request that was not made: %v", err)
				}
				if all, err := h.Profile.Approvals(t.Context(), me); err != nil || len(all) != 1 {
					t.Errorf("%d wait, %v", len(all), err)
				}
			})
		})
	}
}

// A number that was looked at for nothing costs none of the account's tries, and the right one gives them back.
func TestOwnersKeepTheirTries(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		for _, id := range []approval.ID{"", "nothing", "\x00", "\xff", "0199a0c8-0000-7000-8000-000000000000"} {
			for range 6 { // one more than an account has tries
				if right, code := old.types(me, id, secret.Of("000000")); right || code != "not_found" {
					t.Fatalf("%q: %t, %s", id, right, code)
				}
			}
			if ok, err := h.Profile.RefuseSignIn(t.Context(), me, old.from, id); err != nil || ok {
				t.Fatalf("%q refused: %t, %v", id, ok, err)
			}
		}
		for range 3 {
			ref, asked := young.ask()
			for range 2 {
				if right, code := old.types(me, asked.ID, other(asked.Number)); right || code != "" {
					t.Fatalf("a wrong number: %t, %s", right, code)
				}
			}
			if right, code := old.types(me, asked.ID, asked.Number); !right {
				t.Fatalf("the right number: %s", code)
			}
			if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); err != nil || n.Step != signin.StepDone {
				t.Fatal(n, err)
			}
		}
	})
}

// Who waits is shown as long as their sign-in lasts, and no longer: after that an owner would let nobody in.
func TestARequestEndsWithItsSignIn(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		h.FlowTTL = approval.TTL / 2
		_, asked := young.ask()
		h.clock.Advance(h.FlowTTL)
		if all, err := h.Profile.Approvals(t.Context(), me); err != nil || len(all) != 0 {
			t.Errorf("%d wait, %v", len(all), err)
		}
		if right, code := old.types(me, asked.ID, asked.Number); right || code != "not_found" {
			t.Errorf("approved: %t, %s", right, code)
		}
	})
}

// A refusal of what has let somebody in would end nothing, and tell the owner that it did.
func TestWhatHasLetSomebodyInIsNotRefused(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		ref, asked := young.ask()
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Fatal(code)
		}
		n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{})
		h.must(err)
		young.in(n)
		h.Letters(message.Email)
		if ok, err := h.Profile.RefuseSignIn(t.Context(), me, old.from, asked.ID); err != nil || ok {
			t.Errorf("refused: %t, %v", ok, err)
		}
		h.told(message.Email)
		young.ask() // nor are others kept from asking
	})
}

// A key that proves nothing is not remembered, and costs no approval.
func TestAnApprovedDeviceProvesItsKey(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		ref, asked := young.ask()
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Fatal(code)
		}
		stolen := &device.Enrolment{PublicKey: old.key.Public(), Signature: young.key.Sign("remember", testkit.Origin, "another")}
		if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{Remember: stolen}); codeOf(err) != "device_key_malformed" {
			t.Fatalf("%+v, %v", n, err)
		}
		n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{})
		h.must(err)
		young.in(n)
	})
}

// Nobody is let in to an account that was locked meanwhile: it is as if nobody had approved.
func TestALockedAccountIsNotApproved(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		old, me, young := h.pair()
		ref, asked := young.ask()
		if right, code := old.types(me, asked.ID, asked.Number); !right {
			t.Fatal(code)
		}
		later, _ := young.password(testkit.Password)
		h.write(func(tx *sqldb.Tx) error { return h.Accounts.Lock(t.Context(), tx, me.Account) })
		if n, err := h.Enter(t.Context(), ref, young.from, signin.CodeProof{}); err != nil || n.Step != signin.StepSecond || !n.Refused {
			t.Errorf("let in: %+v, %v", n, err)
		}
		n, err := h.At(t.Context(), later)
		h.must(err)
		if _, err := h.Ask(t.Context(), later, young.from); slices.Contains(n.Ways, factor.Approve) || codeOf(err) != "way_unknown" {
			t.Errorf("offered %v, asked %v", n.Ways, err)
		}
	})
}
