package server

import (
	"net/url"
	"testing"
)

func TestWhatPeopleType(t *testing.T) {
	for address, want := range map[string]string{
		"https://id.example.org": "id.example.org", "https://id.example.org:443": "id.example.org", "https://id.example.org:8443": "id.example.org:8443",
		"http://localhost:8080": "localhost:8080", "http://localhost:80": "localhost", "http://localhost": "localhost",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := typed(u); got != want {
			t.Errorf("%s: %q", address, got)
		}
	}
}
