package signin_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"countersign/internal/assurance"
	"countersign/internal/attestation"
	"countersign/internal/attestation/attestationtest"
	"countersign/internal/audit"
	"countersign/internal/platform/sqldb"
	"countersign/internal/signin"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
)

// N-2.3.1-01: hardware that its maker attested, and that verified its user, is the highest level. Once its model is not taken any more it
// opens nothing, at either door, and whoever has it is told no more than with a wrong one; its holder sees it in the record.
func TestAPasskeyOfAnAttestedModel(t *testing.T) {
	each(t, func(t *testing.T, m *testkit.Machine, clock *dbtest.Clock) {
		id := m.Account("ada@example.org", "+4741234567")
		file, maker := attestationtest.New(t), attestationtest.NewMaker(t, "Example Key 5")
		file.Models = []attestationtest.Model{{Maker: maker, Statuses: []string{"FIDO_CERTIFIED_L2"}}}
		file.Write()
		m.Passkeys.Models = file.Service(file.Settings(attestation.Certified), clock.Now)
		p := m.PasskeyOf(id, func(p *testkit.Passkey) { p.MadeBy(maker) })
		b := newBrowser(t, m)
		n := b.passkey(b.first(), p)
		if n.Step != signin.StepDone || !slices.Equal(methods(t, m, n), []string{"passkey_attested_verified"}) {
			t.Fatalf("%+v", n)
		}
		if level := assurance.Of(methods(t, m, n)).Level; level != assurance.AAL3 {
			t.Errorf("%s", level)
		}
		file.Models[0].Statuses = append(file.Models[0].Statuses, "REVOKED")
		file.Write()
		if err := m.Passkeys.Models.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		ref, _ := b.password("ada@example.org", testkit.Password)
		first, second := b.passkey(b.first(), p), b.passkey(at(ref), p)
		if !first.Refused || first.Unknown || first.Session != nil || !second.Refused || second.Unknown || second.Session != nil {
			t.Errorf("%+v; %+v", first, second)
		}
		begun := b.asked(b.first())
		wrong := b.answer(b.first(), signin.PasskeyProof{State: begun.State, Response: p.Sign(b.asked(b.first()).Options)})
		if !reflect.DeepEqual(first, wrong) {
			t.Errorf("whether it is a wrong one shows: %+v, %+v", first, wrong)
		}
		var events int
		change(t, m, func(ctx context.Context, tx *sqldb.Tx) error {
			return tx.QueryRow(ctx, "SELECT count(*) FROM audit_event WHERE kind = $1 AND account_id = $2", audit.PasskeyFailed, id).Scan(&events)
		})
		if events != 2 {
			t.Errorf("%d events of the account's", events)
		}
	})
}
