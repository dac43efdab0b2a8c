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

// Own are the kinds of proof that people set up themselves, and what is chosen about them. All fields are required.
type Own struct {
	Authenticators *totp.Service
	BackupCodes    *backup.Service
	Passkeys       *passkey.Service
	Choices        *Choices
}

// Enrolled says which of them an account has.
func (o Own) Enrolled(ctx context.Context, tx *sqldb.Tx, id account.ID) (map[Way]bool, error) {
	passkeys, err := o.Passkeys.Has(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	otp, err := o.Authenticators.Has(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	list, err := o.BackupCodes.Has(ctx, tx, id)
	return map[Way]bool{Passkey: passkeys, OTP: otp, Backup: list}, err
}

// Spend uses up a code that its holder has already, of an app, a token (OTP) or a list (Backup), and reports whether
// it was right. Where none is enrolled it does the same work.
func (o Own) Spend(ctx context.Context, tx *sqldb.Tx, id account.ID, w Way, code secret.Token) (right bool, err error) {
	if w == Backup {
		_, right, err = o.BackupCodes.Spend(ctx, tx, id, code)
		return right, err
	}
	var verdict totp.Verdict
	if first, second, two := inTwo(code); two { // from a token that has strayed
		_, verdict, err = o.Authenticators.Resync(ctx, tx, id, first, second)
	} else {
		_, verdict, err = o.Authenticators.Verify(ctx, tx, id, code)
	}
	return verdict == totp.Right, err
}

// inTwo reads two codes in a row: no code has more than ten digits.
func inTwo(code secret.Token) (first, second secret.Token, two bool) {
	typed := code.Reveal()
	if len(typed) < 12 || len(typed)%2 != 0 {
		return secret.Token{}, secret.Token{}, false
	}
	return secret.Of(typed[:len(typed)/2]), secret.Of(typed[len(typed)/2:]), true
}

// EndSince ends what was set up since a time, which somebody else may have done, and returns how many there were. What is chosen about
// the second door is undone as Choices.Undo does.
func (o Own) EndSince(ctx context.Context, tx *sqldb.Tx, id account.ID, since time.Time) (int, error) {
	ended, err := o.Authenticators.EndSince(ctx, tx, id, since)
	if err != nil {
		return 0, err
	}
	list, err := o.BackupCodes.EndSince(ctx, tx, id, since)
	if err != nil {
		return 0, err
	}
	if list {
		ended++
	}
	if err := o.Choices.Undo(ctx, tx, id, since); err != nil {
		return 0, err
	}
	passkeys, err := o.Passkeys.EndSince(ctx, tx, id, since)
	return int(ended + passkeys), err
}

// EndAll removes everything that an account has set up. Hardware tokens are nobody's again; passkeys stay on record for a while.
func (o Own) EndAll(ctx context.Context, tx *sqldb.Tx, id account.ID, why string) error {
	if err := o.Authenticators.Erase(ctx, tx, id); err != nil {
		return err
	}
	if err := o.BackupCodes.Erase(ctx, tx, id); err != nil {
		return err
	}
	return o.Passkeys.EndAll(ctx, tx, id, why)
}
