package server_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/message"
	"countersign/internal/notice"
	"countersign/internal/platform/config"
	"countersign/internal/platform/place/placetest"
	"countersign/internal/platform/sqldb"
	"countersign/internal/server"
	"countersign/internal/testkit/servertest"
)

func TestPlacesComeFromTheFileInTheSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "places.mmdb")
	placetest.Write(t, file, time.Now(), map[string]placetest.Record{"203.0.113.0/24": placetest.Graz()})
	with := servertest.Start(t, servertest.Options{Idle: true, Config: func(c *config.Config) { c.Place.Database = file }})
	without := servertest.Start(t, servertest.Options{Idle: true})
	a := netip.MustParseAddr("203.0.113.9")
	if got := with.Core().Places.Of(a).In("de"); got != "Graz, Österreich" {
		t.Errorf("found %q", got)
	}
	if without.Core().Places.Of(a).Known() {
		t.Error("known without a file")
	}
}

// P7: the letter says when, from what and roughly where.
func TestALetterSaysRoughlyWhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "places.mmdb")
	placetest.Write(t, file, time.Now(), map[string]placetest.Record{"203.0.113.0/24": placetest.Graz()})
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) { c.Place.Database = file }})
	who := n.Account("ada@example.org")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		return n.Core().Notices.Tell(t.Context(), tx, notice.Event{
			Kind: message.NewDevice, Account: who, Source: netip.MustParseAddr("203.0.113.9"), Device: "Firefox on Linux",
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := n.Wait("ada@example.org").Text; !strings.Contains(text, "Where, roughly: Graz, Austria\n") {
		t.Errorf("the letter:\n%s", text)
	}
}

// An app is told where, in the language it asks for; whoever asks for none of ours is told in their own all the same.
func TestAnAppIsToldWhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "places.mmdb")
	placetest.Write(t, file, time.Now(), map[string]placetest.Record{"203.0.113.0/24": placetest.Graz()})
	n := servertest.Start(t, servertest.Options{Config: func(c *config.Config) {
		c.Place.Database, c.HTTP.TrustedProxies = file, []string{"127.0.0.0/8"}
	}})
	n.Account("ada@example.org")
	a := &app{t: t, node: n, from: "203.0.113.9"}
	a.remembered("ada@example.org")
	for path, want := range map[string]string{
		"/api/v1/sessions": "Graz, Austria", "/api/v1/sessions?lang=de": "Graz, Österreich", "/api/v1/devices?lang=ar": "Graz، النمسا", "/api/v1/devices?lang=it": "Graz, Austria",
	} {
		if got := a.want(200, a.call("GET", path, "")); strings.Count(got.text, `"place":"`+want+`"`) != 1 {
			t.Errorf("%s: %s", path, got.text)
		}
	}
	for _, odd := range []string{"d", "deu", "DE", "..", "%00"} {
		a.want(422, a.call("GET", "/api/v1/sessions?lang="+odd, ""))
	}
	if devices := a.call("GET", "/api/v1/devices", ""); !strings.Contains(devices.text, `"strength":"software_key"`) {
		t.Error(devices.text)
	}
}

// A file that is missing or damaged keeps nobody from signing in: the server starts, and says so.
func TestAMissingFileOfPlacesDoesNotStopTheServer(t *testing.T) {
	n := servertest.Start(t, servertest.Options{Idle: true, Config: func(c *config.Config) { c.Place.Database = filepath.Join(t.TempDir(), "none.mmdb") }})
	if n.Core().Places.Of(netip.MustParseAddr("203.0.113.9")).Known() || !strings.Contains(n.Log.String(), "places not loaded") {
		t.Errorf("the log says:\n%s", n.Log)
	}
}

func TestTheDoctorLooksAtTheFileOfPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "places.mmdb")
	look := func() server.Finding {
		t.Helper()
		c := config.Default()
		c.Place.Database = file
		for _, f := range server.Examine(t.Context(), c, server.Deps{Now: time.Now}) {
			if f.Part == "places" {
				return f
			}
		}
		t.Fatal("not looked at")
		return server.Finding{}
	}
	graz := map[string]placetest.Record{"203.0.113.0/24": placetest.Graz()}
	if f := look(); f.State != server.Broken {
		t.Errorf("missing: %+v", f)
	}
	placetest.Write(t, file, time.Now().Add(-31*24*time.Hour), graz)
	if f := look(); f.State != server.Warning || !strings.Contains(f.Words, "31 days old") {
		t.Errorf("old: %+v", f)
	}
	placetest.Write(t, file, time.Now().Add(-24*time.Hour), graz)
	if f := look(); f.State != server.Fine {
		t.Errorf("new: %+v", f)
	}
	if err := os.Truncate(file, 100); err != nil {
		t.Fatal(err)
	}
	if f := look(); f.State != server.Broken {
		t.Errorf("damaged: %+v", f)
	}
}
