package profile_test

import (
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"countersign/internal/account"
	"countersign/internal/device"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
)

// device returns the only remembered device of an account.
func (h home) device(who account.ID) device.Device {
	h.t.Helper()
	all, err := h.Profile.ListDevices(h.t.Context(), session.Session{Account: who})
	if err != nil || len(all) != 1 {
		h.t.Fatalf("%d devices, %v", len(all), err)
	}
	return all[0]
}

func TestAnOwnerRenamesADevice(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		phone := h.remember(ada)
		mine := h.signIn(ada, phone)
		if ok, err := h.Profile.RenameDevice(t.Context(), mine, h.Client, phone, "  Grandmother's tablet "); err != nil || !ok {
			t.Fatal(ok, err)
		}
		if got := h.device(ada).Name; got != "Grandmother's tablet" {
			t.Errorf("it is called %q", got)
		}
		if n := h.events("device_renamed", "person"); n != 1 {
			t.Errorf("%d recorded", n)
		}
		for _, name := range []string{"", "  ", "\u202e\u200b\x00", "\n\t"} {
			if ok, err := h.Profile.RenameDevice(t.Context(), mine, h.Client, phone, name); ok || fault.Of(err).Code != "device_name_empty" {
				t.Errorf("%q: %v %v", name, ok, err)
			}
		}
		h.must(h.Profile.ForgetAllDevices(t.Context(), mine, h.Client))
		if ok, err := h.Profile.RenameDevice(t.Context(), mine, h.Client, phone, "Gone"); ok || err != nil {
			t.Errorf("a forgotten one: %v %v", ok, err)
		}
		if n := h.events("device_renamed", "person"); n != 1 {
			t.Errorf("%d recorded, want the one that did something", n)
		}
	})
}

// A name turns no line around, breaks none, and fills no page.
func TestADevicesNewNameIsHarmless(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada := h.Account("ada@example.org")
		phone := h.remember(ada)
		mine := h.signIn(ada, phone)
		for _, name := range []string{
			"\u202egnp.exe", "a\x00b\r\nSet-Cookie: x", strings.Repeat("é", 5000), "\xff\xfeab", "a\u2066b\u2069", "a\u200fb\u061c", "\ufeffx", "a\u2028b", "tag\U000e0061s",
		} {
			if ok, err := h.Profile.RenameDevice(t.Context(), mine, h.Client, phone, name); err != nil || !ok {
				t.Errorf("%.20q: %v %v", name, ok, err)
			}
			got := h.device(ada).Name
			if !utf8.ValidString(got) || utf8.RuneCountInString(got) > 60 || strings.ContainsAny(got, "\r\n\x00\u202e\u2066\u2069\u200f\u061c\ufeff\u2028\U000e0061") {
				t.Errorf("%.20q became %q", name, got)
			}
		}
	})
}

// P-1.1: an id of somebody else's finds nothing, changes nothing and leaves no record.
func TestNobodyRenamesWhatIsSomebodyElses(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ada, bob := h.Account("ada@example.org"), h.Account("bob@example.org")
		phone := h.remember(ada)
		his := h.signIn(bob, "")
		for _, id := range []device.ID{phone, "", "none", "' OR 1=1 --", "0196f0c1-0000-7000-8000-000000000000", "\x00"} {
			if ok, err := h.Profile.RenameDevice(t.Context(), his, h.Client, id, "Mine now"); ok || err != nil {
				t.Errorf("%q: %v %v", id, ok, err)
			}
		}
		if got := h.device(ada).Name; got != "Phone" {
			t.Errorf("it is called %q", got)
		}
		if n := h.events("device_renamed", "person"); n != 0 {
			t.Errorf("%d recorded", n)
		}
	})
}

// The owner sees whence a session was opened and a device last seen; the database shows no address of the
// network in clear (P4).
func TestOwnersSeeWhenceAndThievesDoNot(t *testing.T) {
	each(t, func(t *testing.T, h home) {
		ctx := t.Context()
		ada := h.Account("ada@example.org")
		first, then := netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("2001:db8::77")
		g := h.guest("ada@example.org", first.String())
		g.enter()
		if got := h.device(ada); got.Source != first || got.Strength != device.SoftwareKey {
			t.Errorf("remembered from %v, by %q", got.Source, got.Strength)
		}
		g.from.Source = then
		g.comeBack()
		if got := h.device(ada).Source; got != then {
			t.Errorf("last seen from %v, want %v", got, then)
		}
		all, err := h.Profile.ListSessions(ctx, session.Session{Account: ada})
		if err != nil || len(all) != 2 {
			t.Fatal(len(all), err)
		}
		for _, s := range all {
			if want := map[bool]netip.Addr{true: first, false: then}[s.Methods[1] == "email"]; s.Source != want {
				t.Errorf("opened by %v from %v, want %v", s.Methods, s.Source, want)
			}
		}
		for _, table := range []string{"session", "device"} {
			err := h.DB.Read(ctx, func(tx *sqldb.Tx) error {
				return tx.Each(ctx, "SELECT source FROM "+table, func(scan func(...any) error) error {
					var b []byte
					err := scan(&b)
					if len(b) < 20 || strings.Contains(string(b), "198.51") || strings.Contains(string(b), "2001:db8") {
						t.Errorf("%s: source %q", table, b)
					}
					return err
				})
			})
			h.must(err)
		}
		// What cannot be opened any more is not known, and that is all: the lists still come.
		h.must(h.DB.Write(ctx, func(tx *sqldb.Tx) error {
			if _, err := tx.Exec(ctx, "UPDATE device SET source = $1", []byte("spoiled")); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE session SET source = NULL")
			return err
		}))
		if h.device(ada).Source.IsValid() {
			t.Error("a spoiled address is one")
		}
		if all, err := h.Profile.ListSessions(ctx, session.Session{Account: ada}); err != nil || len(all) != 2 || all[0].Source.IsValid() {
			t.Errorf("%v, %v", all, err)
		}
	})
}
