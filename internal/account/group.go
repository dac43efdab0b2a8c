package account

import (
	"context"
	"errors"
	"regexp"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

// Group is a name that the operator gives to several accounts, for rules about them.
type Group struct {
	Name    string
	Members int64
}

// groupName keeps names to what can stand in settings, rules and headers as it is.
var groupName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,31}$`)

// CheckGroup refuses what is no name of a group: fault.Invalid "group_malformed".
func CheckGroup(name string) error {
	if groupName.MatchString(name) {
		return nil
	}
	return fault.New(fault.Invalid, "group_malformed", errors.New("want up to 32 small letters, digits, dots, hyphens and underscores, the first a letter or a digit"))
}

// Groups lists the groups of an account by name.
func (s *Service) Groups(ctx context.Context, tx *sqldb.Tx, id ID) ([]string, error) {
	return groups(ctx, tx, id)
}

// AllGroups lists the groups that anybody is in by name.
func (s *Service) AllGroups(ctx context.Context, tx *sqldb.Tx) ([]Group, error) {
	return groupSizes(ctx, tx)
}

// Members lists up to n accounts of a group by id, those behind one.
func (s *Service) Members(ctx context.Context, tx *sqldb.Tx, group string, after ID, n int) ([]ID, error) {
	return members(ctx, tx, group, after, n)
}

// Join puts an account into a group; changed is false if it is in. Errors are those of CheckGroup.
func (s *Service) Join(ctx context.Context, tx *sqldb.Tx, id ID, group string) (changed bool, err error) {
	if err := CheckGroup(group); err != nil {
		return false, err
	}
	return join(ctx, tx, id, group)
}

// Leave takes an account out of a group; changed is false if it is not in.
func (s *Service) Leave(ctx context.Context, tx *sqldb.Tx, id ID, group string) (changed bool, err error) {
	return leave(ctx, tx, id, group)
}
