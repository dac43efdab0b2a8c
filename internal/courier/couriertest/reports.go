package couriertest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"countersign/internal/courier"
)

// Reports holds a provider to what receiving reports takes: the genuine one is read as want, and none is that differs from it in anything that counts.
// Loose are names of headers, and of parameters of the address, that nothing is signed over.
func Reports(t *testing.T, p courier.Receiver, genuine courier.Arrived, want courier.Report, loose ...string) {
	t.Helper()
	got, err := p.Receive(genuine)
	if err != nil || len(got) != 1 || got[0] != want {
		t.Fatalf("%+v %v, want %+v", got, err, want)
	}
	if said := fmt.Sprintf("%+v", got); strings.Contains(said, "15112345678") || strings.Contains(said, "482913") { // it is logged
		t.Errorf("the report tells a number or a code: %s", said)
	}
	refused := func(what string, a courier.Arrived) {
		t.Helper()
		if got, err := p.Receive(a); err == nil && slices.Contains(got, want) {
			t.Errorf("%s: taken", what)
		} else if err == nil && len(got) > 0 {
			t.Errorf("%s: read as %+v", what, got)
		}
	}
	refused("nothing", courier.Arrived{Header: http.Header{}, Query: url.Values{}})
	if len(genuine.Header)+len(genuine.Query) > 0 { // else it is in the body
		refused("no signature", courier.Arrived{Header: http.Header{}, Query: url.Values{}, Body: genuine.Body})
	}
	for name := range genuine.Header {
		if slices.Contains(loose, name) {
			continue
		}
		without, other := clone(genuine), clone(genuine)
		without.Header.Del(name)
		refused("without "+name, without)
		other.Header.Set(name, spoiled(genuine.Header.Get(name)))
		refused("another "+name, other)
	}
	for name := range genuine.Query {
		if slices.Contains(loose, name) {
			continue
		}
		without, other, twice := clone(genuine), clone(genuine), clone(genuine)
		without.Query.Del(name)
		refused("without "+name, without)
		other.Query.Set(name, spoiled(genuine.Query.Get(name)))
		refused("another "+name, other)
		twice.Query[name] = []string{spoiled(genuine.Query.Get(name)), genuine.Query.Get(name)}
		refused("two of "+name, twice)
	}
}

// Signed holds a provider to a signature over the whole body: no byte of it may differ.
func Signed(t *testing.T, p courier.Receiver, genuine courier.Arrived) {
	t.Helper()
	for i := range genuine.Body {
		a := clone(genuine)
		a.Body[i] ^= 1
		if got, err := p.Receive(a); err == nil {
			t.Errorf("byte %d (%q) changed: taken as %+v", i, genuine.Body[i], got)
		}
	}
}

func clone(a courier.Arrived) courier.Arrived {
	return courier.Arrived{Header: a.Header.Clone(), Query: maps.Clone(a.Query), Body: slices.Clone(a.Body)}
}

// spoiled is a value of the same length and letters.
func spoiled(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch {
		case c >= '1' && c <= '8':
			b[i]++
			return string(b)
		case c >= 'b' && c <= 'e':
			b[i]++
			return string(b)
		}
	}
	return s + "1"
}
