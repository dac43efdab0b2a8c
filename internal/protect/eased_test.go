package protect_test

import (
	"testing"
	"time"

	"countersign/internal/factor"
	"countersign/internal/message"
	"countersign/internal/platform/sqldb"
)

// The page's field has whatever the client writes: a thief who asks for "unrecognised_device" in place of nothing takes the wish back as well.
func TestTheWishToBeAskedComesBackHoweverItWasTakenBack(t *testing.T) {
	each(t, []string{ada}, func(t *testing.T, k *kit) {
		for _, p := range []factor.Policy{factor.Always, factor.Unrecognised} {
			k.write(func(tx *sqldb.Tx) error { return k.Choices.Choose(t.Context(), tx, k.id, factor.Choice{Holder: p}) })
		}
		k.clock.Advance(time.Hour)
		k.happens(message.FactorChosen, nil)
		if !k.disavow(k.link(message.FactorChosen, ada)) {
			t.Fatal("the link is worth nothing")
		}
		k.write(func(tx *sqldb.Tx) error {
			got, err := k.Choices.Of(t.Context(), tx, k.id)
			if got.Holder != factor.Always {
				t.Errorf("%q, want %q", got.Holder, factor.Always)
			}
			return err
		})
	})
}
