package factor

import (
	"context"
	"time"

	"countersign/internal/account"
	"countersign/internal/backup"
	"countersign/internal/passkey"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/totp"
)

// Own are the kinds of proof that people set up themselves. All fields are required.
type Own struct {
	Apps     *totp.Service
	Lists    *backup.Service
	Passkeys *passkey.Service
}

// Typed are those that are codes.
func (o Own) Typed() map[Way]Typed {
	return map[Way]Typed{OTP: ofApps{o.Apps}, Backup: ofLists{o.Lists}}
}

// EndSince ends what was set up since a time, which somebody else may have done, and returns how many there were.
func (o Own) EndSince(ctx context.Context, tx *sqldb.Tx, id account.ID, since time.Time) (int, error) {
	apps, err := o.Apps.EndSince(ctx, tx, id, since)
	if err != nil {
		return 0, err
	}
	list, err := o.Lists.EndSince(ctx, tx, id, since)
	if err != nil {
		return 0, err
	}
	if list {
		apps++
	}
	passkeys, err := o.Passkeys.EndSince(ctx, tx, id, since)
	return int(apps + passkeys), err
}

type ofApps struct{ *totp.Service }

// Spend takes two codes in a row, too, from a token that has strayed: see totp.Service.Resync.
func (a ofApps) Spend(ctx context.Context, tx *sqldb.Tx, id account.ID, code secret.Token) (bool, error) {
	judge := func() (totp.ID, totp.Verdict, error) { return a.Verify(ctx, tx, id, code) }
	if typed := code.Reveal(); len(typed) >= 12 && len(typed)%2 == 0 {
		first, second := secret.Of(typed[:len(typed)/2]), secret.Of(typed[len(typed)/2:])
		judge = func() (totp.ID, totp.Verdict, error) { return a.Resync(ctx, tx, id, first, second) }
	}
	_, verdict, err := judge()
	return verdict == totp.Right, err
}

type ofLists struct{ *backup.Service }

func (l ofLists) Has(ctx context.Context, tx *sqldb.Tx, id account.ID) (bool, error) {
	left, _, err := l.Left(ctx, tx, id)
	return left > 0, err
}

func (l ofLists) Spend(ctx context.Context, tx *sqldb.Tx, id account.ID, code secret.Token) (bool, error) {
	_, right, err := l.Service.Spend(ctx, tx, id, code)
	return right, err
}
