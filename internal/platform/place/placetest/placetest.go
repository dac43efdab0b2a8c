// Package placetest writes files of places for tests.
package placetest

import (
	"bytes"
	"net"
	"os"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Names are a name by language.
type Names map[string]string

// Record is what a file has for a network. Flat writes the country as some vendors do, its code alone.
type Record struct {
	ISO     string
	Country Names
	City    Names
	Flat    bool
}

// Graz is a record with the names that GeoLite2 has, none of them Arabic.
func Graz() Record {
	return Record{
		ISO: "AT", Country: Names{"en": "Austria", "de": "Österreich", "fr": "Autriche", "es": "Austria"},
		City: Names{"en": "Graz", "de": "Graz"},
	}
}

// Write makes a file in which networks have records, at once and in one piece, as updaters do.
func Write(t testing.TB, file string, built time.Time, where map[string]Record) {
	t.Helper()
	draft := file + ".draft"
	if err := os.WriteFile(draft, Bytes(t, built, where), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(draft, file); err != nil {
		t.Fatal(err)
	}
}

// Bytes is the content of such a file.
func Bytes(t testing.TB, built time.Time, where map[string]Record) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "Test-City", BuildEpoch: built.Unix(), IncludeReservedNetworks: true, DisableIPv4Aliasing: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for network, r := range where {
		_, prefix, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(prefix, r.value()); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (r Record) value() mmdbtype.Map {
	if r.Flat {
		return mmdbtype.Map{"country_code": mmdbtype.String(r.ISO), "country": mmdbtype.String(r.Country["en"])}
	}
	out := mmdbtype.Map{}
	if r.ISO != "" {
		out["country"] = mmdbtype.Map{"iso_code": mmdbtype.String(r.ISO), "names": r.Country.value()}
	}
	if r.City != nil {
		out["city"] = mmdbtype.Map{"names": r.City.value()}
	}
	return out
}

func (n Names) value() mmdbtype.Map {
	out := mmdbtype.Map{}
	for lang, name := range n {
		out[mmdbtype.String(lang)] = mmdbtype.String(name)
	}
	return out
}
