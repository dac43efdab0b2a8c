package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
)

// hear is how long nodes have to say that they lack a key.
const hear = 2 * time.Second

// holdings are all that any table has of the keys. Whoever owns a table with something sealed or
// digested in it declares it, and it is listed here.
func (c *Core) holdings() []keyring.Holding {
	return slices.Concat(
		c.Audit.Holdings(), c.Outbox.Holdings(), c.Throttle.Holdings(), c.Accounts.Holdings(), c.Passwords.Holdings(),
		c.Codes.Holdings(), c.Devices.Holdings(), c.Passkeys.Holdings(), c.Sessions.Holdings(), c.SignIn.Holdings(), c.Recovery.Holdings(), c.Registration.Holdings(),
		c.Owner.Holdings(), c.Authenticators.Holdings(), c.SignIn.Approvals.Holdings(), c.Applications.Holdings(), c.Subscribers.Holdings(), c.SecondDoor().Holdings(),
	)
}

// Rotation moves the database from key to key.
func (c *Core) Rotation() *keyring.Rotation {
	return &keyring.Rotation{
		DB: c.DB, Ring: c.Ring, Holdings: c.holdings(), Settle: patience + 2*time.Second, Hear: hear, Rest: 3,
		Record: func(ctx context.Context, tx *sqldb.Tx, did, key string) error {
			return c.Audit.Append(ctx, tx, audit.Event{Kind: audit.KeysChanged, Actor: "operator", Detail: map[string]string{"key": key, "was": did}})
		},
	}
}

// ErrKeysGiven means that the keys come from the environment, where no command can change them.
var ErrKeysGiven = errors.New("the keys come from COUNTERSIGN_KEYS, which no command can change")

// AddKey adds a key to the key file, and nothing else: it is used when Rotate says so.
func AddKey(c config.Config) (id string, err error) {
	if !c.Keys.Value.Empty() {
		return "", ErrKeysGiven
	}
	return keyring.AddToFile(c.Keys.File)
}

// Rotated is how a rotation ended.
type Rotated struct {
	Key string
	Odd []keyring.Odd
}

// Rotate goes on with a rotation that was begun, or else begins one: to the key that the file has and
// the database does not know, or to a new one. It begins none while an older key is still looked for, unless fresh says so.
func (c *Core) Rotate(ctx context.Context, fresh bool, tell func(keyring.Progress)) (r Rotated, err error) {
	ro := c.Rotation()
	next, err := c.next(ctx, ro, fresh)
	if err == nil && next != "" {
		err = ro.Begin(ctx, next)
	}
	if err != nil {
		return r, err
	}
	// Nobody's password, but a row that would need the old key.
	if err := c.ensureDecoys(ctx); err != nil {
		return r, err
	}
	r.Key = c.Ring.ID()
	r.Odd, err = ro.Renew(ctx, tell)
	return r, err
}

// next is the key to begin with, or "" to go on with the current one.
func (c *Core) next(ctx context.Context, ro *keyring.Rotation, fresh bool) (string, error) {
	all, err := ro.Keys(ctx)
	if err != nil {
		return "", err
	}
	find := func(state keyring.KeyState) string {
		i := slices.IndexFunc(all, func(k keyring.Key) bool { return k.State == state })
		if i < 0 {
			return ""
		}
		return all[i].ID
	}
	if coming := find(keyring.Coming); coming != "" {
		return coming, nil
	}
	if find(keyring.Old) != "" && !fresh { // else nothing can be unfinished, and counting takes its time
		left, err := ro.Unfinished(ctx)
		if err != nil || left > 0 {
			return "", err
		}
	}
	if added := find(keyring.Unused); added != "" {
		return added, nil
	}
	if find(keyring.Old) != "" && !fresh {
		return "", nil
	}
	return AddKey(c.Config)
}

// DropKey gives a key up, unless something needs it that may not be lost, and takes it out of the key file.
// It returns what needs it; then nothing was changed.
func (c *Core) DropKey(ctx context.Context, id string, lose []string) ([]keyring.Need, error) {
	ro := c.Rotation()
	for _, table := range lose {
		if !slices.ContainsFunc(ro.Holdings, func(h keyring.Holding) bool { return h.Table == table }) {
			return nil, fmt.Errorf("%s is no table that keys are needed for: see keys list", table)
		}
	}
	needed, err := ro.Drop(ctx, id, lose)
	if err != nil || len(needed) > 0 || !c.Config.Keys.Value.Empty() {
		return needed, err
	}
	if err := keyring.RemoveFromFile(c.Config.Keys.File, id); err != nil {
		return nil, fmt.Errorf("the database does not need key %s any more, and it could not be taken out of the key file: %w", id, err)
	}
	return nil, nil
}
