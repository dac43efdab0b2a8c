package transfer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longestLine is the most bytes of one: a file without line ends must not fill the memory.
const longestLine = 1 << 20

// rawLine is a line as it stands in the file.
type rawLine struct {
	number  int64
	text    []byte
	tooLong bool
}

// lines reads a file line by line.
type lines struct {
	r      *bufio.Reader
	number int64
	bytes  int64
}

func newLines(r io.Reader) *lines {
	l := &lines{r: bufio.NewReaderSize(r, 64<<10)}
	if mark, _ := l.r.Peek(3); string(mark) == "\xef\xbb\xbf" { // Windows programs write it in front
		_, _ = l.r.Discard(3)
	}
	return l
}

// next returns the next line that is not blank; io.EOF is the end.
func (l *lines) next() (rawLine, error) {
	for {
		line, err := l.read()
		if err != nil {
			return rawLine{}, err
		}
		if len(bytes.TrimSpace(line.text)) > 0 || line.tooLong {
			return line, nil
		}
	}
}

func (l *lines) read() (line rawLine, err error) {
	l.number++
	line.number = l.number
	for {
		part, err := l.r.ReadSlice('\n')
		l.bytes += int64(len(part))
		switch {
		case len(line.text)+len(part) > longestLine:
			line.text, line.tooLong = nil, true
		case !line.tooLong:
			line.text = append(line.text, part...)
		}
		switch {
		case err == nil:
			line.text = bytes.TrimRight(line.text, "\r\n")
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && (len(line.text) > 0 || line.tooLong):
			return line, nil // the last line may lack its end
		default:
			return rawLine{}, err
		}
	}
}

// record is a line's account. An export writes the same.
//
//arch:wire
type record struct {
	ID         string `json:"id,omitempty"`
	ExternalID text   `json:"external_id,omitempty"`

	Email         string `json:"email,omitempty"`
	EmailVerified *yes   `json:"email_verified,omitempty"`
	Phone         string `json:"phone,omitempty"`
	PhoneVerified *yes   `json:"phone_verified,omitempty"`
	Username      string `json:"username,omitempty"`

	Identifiers []identifier `json:"identifiers,omitempty"`

	Language    string            `json:"language,omitempty"`
	State       string            `json:"state,omitempty"`
	CreatedAt   moment            `json:"created_at,omitzero"`
	FrozenUntil moment            `json:"frozen_until,omitzero"`
	EraseAt     moment            `json:"erase_at,omitzero"`
	Claims      map[string]string `json:"claims,omitempty"`

	Password       string `json:"password,omitempty"`
	PasswordHash   string `json:"password_hash,omitempty"`
	PasswordSalt   string `json:"password_salt,omitempty"`
	PasswordPepper string `json:"password_pepper,omitempty"`
	PasswordInner  string `json:"password_inner,omitempty"`
	PasswordSetAt  moment `json:"password_set_at,omitzero"`
}

// identifier is an address with its uses.
type identifier struct {
	Kind     string `json:"kind"`
	Value    string `json:"value"`
	Verified bool   `json:"verified,omitempty"`
	SignsIn  bool   `json:"signs_in,omitempty"`
	Notices  bool   `json:"notices,omitempty"`
	Recovers bool   `json:"recovers,omitempty"`
	AddedAt  moment `json:"added_at,omitzero"`
}

// text is a string that some systems write as a number.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	if string(b) == "null" {
		return nil
	}
	if _, err := strconv.ParseInt(string(b), 10, 64); err != nil {
		return LineMalformed
	}
	*t = text(b)
	return nil
}

// yes is a bool as spreadsheets and databases write it.
type yes bool

// UnmarshalJSON implements json.Unmarshaler.
func (y *yes) UnmarshalJSON(b []byte) error { return y.read(strings.Trim(string(b), `"`)) }

func (y *yes) read(s string) error {
	switch strings.ToLower(s) {
	case "true", "t", "yes", "y", "1":
		*y = true
	case "false", "f", "no", "n", "0", "":
		*y = false
	default:
		return LineMalformed
	}
	return nil
}

// moment is a time: RFC 3339, also with a space and without a zone (UTC), a date, or seconds or
// milliseconds since 1970.
type moment struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (m moment) MarshalJSON() ([]byte, error) {
	return json.Marshal(m.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(b []byte) error { return m.read(strings.Trim(string(b), `"`)) }

func (m *moment) read(s string) error {
	if s == "" || s == "null" {
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		const tooFarForSeconds = 100_000_000_000 // the year 5138
		if n < 0 {
			return TimeInvalid
		}
		m.Time = time.UnixMilli(n)
		if n < tooFarForSeconds {
			m.Time = time.Unix(n, 0)
		}
		return nil
	}
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999-07",
		"2006-01-02 15:04:05.999999999", time.DateOnly,
	} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 && t.Year() < 10000 {
			m.Time = t
			return nil
		}
	}
	return TimeInvalid
}

// parser makes records of lines.
type parser struct {
	columns []string // of CSV, by place
	lenient bool
}

// header reads a CSV file's first line.
func (p *parser) header(line rawLine) error {
	columns, err := fieldsOf(line)
	if err != nil {
		return fmt.Errorf("the first line must name the columns: %w", err)
	}
	for i, name := range columns {
		columns[i] = strings.ToLower(strings.TrimSpace(name))
		name = columns[i]
		if slices.Contains(columns[:i], name) {
			return fmt.Errorf("the column %q is there twice", name)
		}
		if new(record).set(name, "") != nil && !p.lenient {
			return fmt.Errorf("the column %q means nothing here: leave it out, name it claim.%s to keep it as a claim, or use --ignore-unknown", name, name)
		}
	}
	p.columns = columns
	return nil
}

func fieldsOf(line rawLine) ([]string, error) {
	r := csv.NewReader(bytes.NewReader(line.text))
	r.FieldsPerRecord = -1
	fields, err := r.Read()
	if err != nil {
		return nil, LineMalformed // encoding/csv's error could show some of it
	}
	return fields, nil
}

func (p *parser) parse(line rawLine) (r record, err error) {
	switch {
	case line.tooLong:
		return r, LineTooLong
	case p.columns == nil:
		return p.object(line.text)
	}
	fields, err := fieldsOf(line)
	if err != nil || len(fields) != len(p.columns) {
		return r, LineMalformed
	}
	for i, value := range fields {
		if err := r.set(p.columns[i], value); err != nil && (!p.lenient || !errors.Is(err, FieldUnknown)) {
			return r, err
		}
	}
	return r, nil
}

func (p *parser) object(b []byte) (r record, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if !p.lenient {
		d.DisallowUnknownFields()
	}
	if err = d.Decode(&r); err == nil {
		if _, rest := d.Token(); !errors.Is(rest, io.EOF) {
			err = LineMalformed
		}
	}
	if err == nil {
		return r, nil
	}
	if why, ok := errors.AsType[Reason](err); ok {
		return r, why
	}
	if strings.HasPrefix(err.Error(), "json: unknown field") { // the package has no type for it
		return r, FieldUnknown
	}
	return r, LineMalformed
}

// set fills in one column of CSV.
func (r *record) set(column, value string) error {
	if name, ok := strings.CutPrefix(column, "claim."); ok && name != "" {
		if value != "" {
			if r.Claims == nil {
				r.Claims = map[string]string{}
			}
			r.Claims[name] = value
		}
		return nil
	}
	if t := r.text(column); t != nil {
		*t = value
		return nil
	}
	if t := r.time(column); t != nil {
		return t.read(value)
	}
	var y **yes
	switch column {
	case "email_verified":
		y = &r.EmailVerified
	case "phone_verified":
		y = &r.PhoneVerified
	default:
		return FieldUnknown
	}
	if value == "" {
		return nil
	}
	*y = new(yes)
	return (*y).read(value)
}

func (r *record) text(column string) *string {
	switch column {
	case "id":
		return &r.ID
	case "external_id":
		return (*string)(&r.ExternalID)
	case "email":
		return &r.Email
	case "phone":
		return &r.Phone
	case "username":
		return &r.Username
	case "language":
		return &r.Language
	case "state":
		return &r.State
	case "password":
		return &r.Password
	case "password_hash":
		return &r.PasswordHash
	case "password_salt":
		return &r.PasswordSalt
	case "password_pepper":
		return &r.PasswordPepper
	case "password_inner":
		return &r.PasswordInner
	}
	return nil
}

func (r *record) time(column string) *moment {
	switch column {
	case "created_at":
		return &r.CreatedAt
	case "frozen_until":
		return &r.FrozenUntil
	case "erase_at":
		return &r.EraseAt
	case "password_set_at":
		return &r.PasswordSetAt
	}
	return nil
}
