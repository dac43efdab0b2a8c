package outbox_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/dbtest"
)

// twins is a letter with another that may be sent in its place, about which more is to be said.
func twins(to, device string) outbox.Letter {
	l := code(to)
	l.Kind, l.Account = message.AddressCode, ""
	l.Twin = &message.Letter{Kind: message.RegistrationAttempt, Channel: message.SMS, To: to, Language: "en", Params: map[string]string{
		"when": "2026-11-23T18:49:00Z", "device": device, "site": "Fotoalbum",
	}}
	return l
}

// P2: whoever reads the table cannot tell which of two letters was sent, whatever their words take.
func TestWhichOfTwoLettersIsSentShowsNowhere(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		b := &outbox.Box{DB: db, Ring: ring(t)}
		for _, device := range []string{"Firefox on Linux", strings.Repeat("long name ", 60)} {
			first, second := twins("+4915112345678", device), twins("+4915112345678", device)
			second.SendTwin = true
			one, other := put(t, db, b, first), put(t, db, b, second)
			rows := lines(t, db)
			a, z := rows[one], rows[other]
			a.raw, z.raw = nil, nil
			if diff := cmp.Diff(a, z, cmp.AllowUnexported(line{})); diff != "" {
				t.Errorf("rows differ: %s", diff)
			}
			if alone := put(t, db, b, code("+4915112345678")); len(device) > 100 && lines(t, db)[alone].Size == a.Size {
				t.Error("the longer of the two does not show in the size: this test compares nothing")
			}
			for _, c := range claim(t, b, 10) {
				if c.Shows != c.Kind && c.ID != other {
					t.Errorf("%s is a twin", c.Kind)
				}
				if c.ID == other && (c.Kind != message.RegistrationAttempt || c.Shows != message.AddressCode || c.Language != "en" || c.Params["device"] != device) {
					t.Errorf("the twin came out as %s, %v", c.Kind, c.Params)
				}
				if c.ID == one && (c.Kind != message.AddressCode || c.Language != "de" || c.Params["code"] != "482913") {
					t.Errorf("the letter came out as %s, %v", c.Kind, c.Params)
				}
			}
		}
	})
}

func TestATwinGoesNowhereElse(t *testing.T) {
	db := dbtest.SQLite(t)
	b := &outbox.Box{DB: db, Ring: ring(t)}
	elsewhere, otherWay, malformed := twins("+4915112345678", "x"), twins("+4915112345678", "x"), twins("+4915112345678", "x")
	elsewhere.Twin.To, otherWay.Twin.Channel = "+4915100000000", message.Email
	delete(malformed.Twin.Params, "when")
	for _, l := range []outbox.Letter{elsewhere, otherWay, malformed} {
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := b.Put(t.Context(), tx, l)
			return err
		})
		if err == nil {
			t.Errorf("%s with %s was taken", l.Letter, l.Twin)
		}
	}
}
