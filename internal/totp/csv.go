package totp

import (
	"cmp"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// csvColumns are those of a file; serial and secret must be there.
func csvColumns() []string {
	return []string{"serial", "secret", "kind", "digits", "algorithm", "period", "counter"}
}

// readCSV reads tokens, one a line. What a line leaves out is as Default has it.
func readCSV(r io.Reader, secretsAs string, take func(found) error) error {
	in := csv.NewReader(r)
	in.FieldsPerRecord, in.ReuseRecord = -1, true
	first, err := in.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	names := make([]string, len(first))
	for i, name := range first {
		names[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))) // as spreadsheets write it
		if !slices.Contains(csvColumns(), names[i]) {
			return fmt.Errorf("%q is no column: want %s", names[i], strings.Join(csvColumns(), ", "))
		}
	}
	if !slices.Contains(names, "serial") || !slices.Contains(names, "secret") {
		return errNoColumns
	}
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		f := found{}
		if bad, ok := errors.AsType[*csv.ParseError](err); ok {
			f.line, f.why = int64(bad.StartLine), LineMalformed
		} else if err != nil {
			return err
		} else {
			line, _ := in.FieldPos(0)
			f = csvToken(names, fields, secretsAs)
			f.line = int64(line)
		}
		if err := take(f); err != nil {
			return err
		}
	}
}

func csvToken(names, fields []string, secretsAs string) (f found) {
	if len(fields) != len(names) {
		return found{why: LineMalformed}
	}
	at := map[string]string{}
	for i, name := range names {
		at[name] = strings.TrimSpace(fields[i])
	}
	f.serial = at["serial"]
	f.shape = Shape{Kind: Kind(strings.ToLower(cmp.Or(at["kind"], string(TOTP)))), Algorithm: algorithm(at["algorithm"])}
	var err error
	if f.secret, err = decoded(at["secret"], secretsAs); err != nil {
		f.why = SecretInvalid
	}
	if f.shape.Digits, err = strconv.Atoi(cmp.Or(at["digits"], "6")); err != nil {
		f.why = cmp.Or(f.why, DigitsInvalid)
	}
	if f.shape.Kind == TOTP {
		if f.shape.Period, err = strconv.Atoi(cmp.Or(at["period"], "30")); err != nil {
			f.why = cmp.Or(f.why, PeriodInvalid)
		}
	} else if f.counter, err = strconv.ParseInt(cmp.Or(at["counter"], "0"), 10, 64); err != nil {
		f.why = cmp.Or(f.why, CounterInvalid)
	}
	return f
}

// algorithm reads "SHA-256", "HmacSHA256", "sha256" and the like.
func algorithm(written string) Algorithm {
	plain := strings.ReplaceAll(strings.ToUpper(cmp.Or(written, string(SHA1))), "-", "")
	return Algorithm(strings.TrimPrefix(plain, "HMAC"))
}

// decoded never repeats the secret in its error.
func decoded(written, as string) ([]byte, error) {
	written = strings.Join(strings.Fields(written), "")
	var b []byte
	var err error
	switch as {
	case "hex":
		b, err = hex.DecodeString(written)
	case "base64":
		b, err = base64.StdEncoding.DecodeString(written)
	default:
		b, err = encoding.DecodeString(strings.TrimRight(strings.ToUpper(written), "="))
	}
	if err != nil {
		return nil, errors.New("the secret is not written as it should be")
	}
	return b, nil
}
