package totp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/google/uuid"

	"countersign/internal/audit"
	"countersign/internal/keyring"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// Format is how a file of tokens is written.
type Format string

// The formats.
const (
	PSKC Format = "pskc" // RFC 6030
	CSV  Format = "csv"
)

// Import says how to read a file of hardware tokens.
type Import struct {
	Format Format
	// Key opens an encrypted PSKC file, or Passphrase, from which its key is derived.
	Key        []byte
	Passphrase secret.Token
	// SecretsAs is how secrets are written in CSV: "base32", "hex" or "base64".
	SecretsAs string
	DryRun    bool
	// Refused, if not nil, is told of each token that is not taken, in the order of the file.
	Refused func(Refused) error
}

// Reason is the stable code of why a token is not taken. docs/operating.md lists them.
type Reason string

// The reasons.
const (
	LineMalformed    Reason = "line_malformed"
	SerialInvalid    Reason = "serial_invalid"
	SerialTaken      Reason = "serial_taken" // by another token, or by another line of the file
	SecretInvalid    Reason = "secret_invalid"
	SecretShort      Reason = "secret_short"
	SecretMissing    Reason = "secret_missing"
	KindUnknown      Reason = "kind_unknown"
	AlgorithmUnknown Reason = "algorithm_unknown"
	DigitsInvalid    Reason = "digits_invalid"
	PeriodInvalid    Reason = "period_invalid"
	CounterInvalid   Reason = "counter_invalid"
	KeyExpired       Reason = "key_expired"
	PolicyUnknown    Reason = "policy_unknown" // the file restricts its use in a way that is not kept here
)

// Refused is a token that is not taken.
type Refused struct {
	Line   int64 // where it begins in the file
	Why    Reason
	Serial string
}

// Summary is what an import has done, or would do.
type Summary struct {
	Read, Imported, Already int64
	Refused                 map[Reason]int64
}

const (
	// mostBytes and mostTokens bound a file: a pallet of tokens, whose serial numbers fit into little memory.
	mostBytes  = 64 << 20
	mostTokens = 100_000
	// writeSize is how many tokens one transaction writes: it has SQLite's one writer meanwhile.
	writeSize = 100
)

var (
	errTooLarge = fmt.Errorf("the file is larger than %d MiB: split it", mostBytes>>20)
	errTooMany  = fmt.Errorf("the file has more than %d tokens: split it", mostTokens)
)

// importer is one import under way.
type importer struct {
	s    *Service
	o    Import
	sum  Summary
	seen map[string]bool // keyed digests of the file's serial numbers
	wait []found
}

// Import reads hardware tokens from a file and writes those that are not there yet. They are nobody's. Run again
// after it was stopped it goes on, and takes no token twice. An error is the server's or the whole file's trouble
// (a MAC that does not fit, for one); what is wrong with a token is told to Refused.
func (s *Service) Import(ctx context.Context, r io.Reader, o Import) (Summary, error) {
	im := &importer{s: s, o: o, sum: Summary{Refused: map[Reason]int64{}}, seen: map[string]bool{}}
	r = &limited{r: r, left: mostBytes}
	take := func(f found) error { return im.take(ctx, f) }
	var err error
	switch o.Format {
	case PSKC:
		err = readPSKC(r, o, s.DB.Now(), take)
	case CSV:
		err = readCSV(r, o.SecretsAs, take)
	default:
		err = fmt.Errorf("%q is no format of tokens", o.Format)
	}
	if err == nil {
		err = im.flush(ctx)
	}
	if err == nil && im.sum.Imported > 0 && !o.DryRun {
		err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
			return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.TokensImported, Actor: "operator", Detail: map[string]string{"tokens": strconv.FormatInt(im.sum.Imported, 10)}})
		})
	}
	return im.sum, err
}

func (im *importer) take(ctx context.Context, f found) error {
	if im.sum.Read++; im.sum.Read > mostTokens {
		return errTooMany
	}
	f.check()
	if f.why == "" {
		if key := string(im.s.serialKey(f.serial)); im.seen[key] {
			f.why = SerialTaken
		} else {
			im.seen[key] = true
		}
	}
	im.wait = append(im.wait, f)
	if len(im.wait) < writeSize {
		return nil
	}
	return im.flush(ctx)
}

func (im *importer) flush(ctx context.Context) error {
	already := make([]bool, len(im.wait))
	do := im.s.DB.Write
	if im.o.DryRun {
		do = im.s.DB.Read
	}
	err := do(ctx, func(tx *sqldb.Tx) (err error) {
		for i := range im.wait {
			if im.wait[i].why == "" && err == nil {
				im.wait[i].why, already[i], err = im.put(ctx, tx, im.wait[i])
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for i, f := range im.wait {
		switch {
		case f.why != "":
			im.sum.Refused[f.why]++
			if im.o.Refused == nil {
				continue
			}
			if err := im.o.Refused(Refused{f.line, f.why, f.serial}); err != nil {
				return err
			}
		case already[i]:
			im.sum.Already++
		default:
			im.sum.Imported++
		}
	}
	im.wait = im.wait[:0]
	return nil
}

// put writes a token, or says that it is there already, or that another is by its number.
func (im *importer) put(ctx context.Context, tx *sqldb.Tx, f found) (why Reason, already bool, err error) {
	key := im.s.serialKey(f.serial)
	if !im.o.DryRun {
		id := ID(uuid.Must(uuid.NewV7()).String())
		fresh, err := putToken(ctx, tx, row{
			id: id, serialKey: key, serial: im.s.seal(id, "serial", []byte(f.serial)), shape: f.shape,
			secret: im.s.seal(id, "secret", f.secret), name: im.s.seal(id, "name", nil), next: f.counter,
		})
		if err != nil || fresh {
			return "", false, err
		}
	}
	r, there, err := bySerial(ctx, tx, key)
	if err != nil || !there {
		return "", false, err
	}
	secret, err := im.s.Ring.Open(r.secret, keyring.Place{Table: table, Row: string(r.id), Column: "secret"})
	if err != nil {
		return "", false, fmt.Errorf("open the secret of authenticator %s: %w", r.id, err)
	}
	if r.shape != f.shape || !bytes.Equal(secret, f.secret) {
		return SerialTaken, false, nil
	}
	return "", true, nil
}

// limited is a reader that fails where io.LimitReader would say that the file ends.
type limited struct {
	r    io.Reader
	left int64
}

// Read implements io.Reader.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

var errNoColumns = errors.New("the file's first line must name the columns, serial and secret among them")
