package courier

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"countersign/internal/platform/secret"
)

// Report is what a provider tells, later, of a letter it took. Nothing in it is private but the number.
type Report struct {
	Provider string
	Letter   string // our id, where the provider tells it
	ID       string // the Receipt's, where it does not
	State    State
	Code     string // the provider's own word for what went wrong; may be empty
	To       Number // where the provider tells it
	Country  string // of the number
	// Complaint says that the recipient called the letter spam.
	Complaint bool
}

// Number is a phone number that prints as none.
type Number string

// String hides the number.
func (Number) String() string { return "[number]" }

// GoString hides the number.
func (n Number) GoString() string { return n.String() }

// LogValue hides the number.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// State is how far a letter has come.
type State string

// The states.
const (
	Underway     State = "underway"
	Delivered    State = "delivered"
	NotDelivered State = "not_delivered" // and will not be
	Unclear      State = "unclear"       // the provider itself does not know
)

// Receiver is a provider that posts its reports to an address of ours.
type Receiver interface {
	// Receive reads them. It returns ErrForged for what it cannot be sure that the provider wrote.
	Receive(a Arrived) ([]Report, error)
}

// Asked is a Receiver that is asked at the same address what to do next.
type Asked interface {
	// Answer answers what is a question. Its error is ErrForged as Receive's is; asks is false for what is a report.
	Answer(a Arrived) (answer Answer, asks bool, err error)
}

// Answer is what a provider is told, and what its question says of a letter.
type Answer struct {
	Type    string // the body's
	Body    []byte
	Reports []Report
}

// Arrived is what came to the address for reports. It holds a number, as a rule, and is not to be logged.
type Arrived struct {
	Header http.Header
	Query  url.Values
	Body   []byte
}

// ErrForged says that a report is not the provider's, or cannot be read as one.
var ErrForged = errors.New("the report is not the provider's")

// ReportAddress is the address for reports of one letter, for providers that sign none: nobody can guess it who has not seen it.
func ReportAddress(base string, key secret.Token, letter string) string {
	return base + "?" + url.Values{"letter": {letter}, "mac": {hex.EncodeToString(mac(key, letter))}}.Encode()
}

// Letter returns the letter whose address for reports this came to.
func (a Arrived) Letter(key secret.Token) (letter string, err error) {
	got, err := hex.DecodeString(a.Query.Get("mac"))
	letter = a.Query.Get("letter")
	if err != nil || len(a.Query["letter"]) != 1 || len(a.Query["mac"]) != 1 || !hmac.Equal(got, mac(key, letter)) {
		return "", ErrForged
	}
	return letter, nil
}

// mac is 128 bits: a guess at one tells nothing of another.
func mac(key secret.Token, letter string) []byte {
	m := hmac.New(sha256.New, []byte(key.Reveal()))
	m.Write([]byte("countersign report\n" + letter))
	return m.Sum(nil)[:16]
}
