package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
	"unique"

	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
)

// maxReference is how many bytes an application's name for an account may have: a UUID, a number, a URL.
const maxReference = 128

// NewReference is what an application calls an account of its own. Two applications that use one name mean two accounts. Unlike what people
// type it is compared byte by byte. A malformed one is fault.Invalid "reference_malformed".
func NewReference(client, name string) (Identifier, error) {
	if name == "" || len(name) > maxReference || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }) {
		return Identifier{}, fault.New(fault.Invalid, "reference_malformed", errors.New("want 1 to 128 bytes of characters that print, without spaces"))
	}
	return Identifier{kind: Reference, normal: unique.Make(client + referenceEnds + name)}, nil
}

const referenceEnds = "\x00" // the application's id

// Named returns which application's an account is, and what it calls it. Both are empty for an account of ours.
func (s *Service) Named(ctx context.Context, tx *sqldb.Tx, id ID) (app, reference string, err error) {
	rows, err := identifiers(ctx, tx, id)
	if err != nil {
		return "", "", err
	}
	i := slices.IndexFunc(rows, func(r identifierRow) bool { return r.Kind == Reference })
	if i < 0 {
		return "", "", nil
	}
	plain, err := s.Ring.Open(rows[i].sealed, place(rows[i].ID))
	if err != nil {
		return "", "", fmt.Errorf("open identifier %s of %s: %w", rows[i].ID, id, err)
	}
	app, reference, _ = strings.Cut(string(plain), referenceEnds)
	return app, reference, nil
}
