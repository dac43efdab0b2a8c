package client

import (
	"slices"
	"strings"
	"testing"
)

// Versions in their order; those on one line are the same.
var order = [][]string{
	{"0"},
	{"0.9"},
	{"1.0.0-alpha"},
	{"1.0.0-alpha.1"},
	{"1.0.0-alpha.beta"},
	{"1.0.0-beta"},
	{"1.0.0-beta.2"},
	{"1.0.0-beta.11"},
	{"1.0.0-rc.1"},
	{"1", "1.0", "1.0.0", "1.0.0.0"},
	{"1.0.0.1"},
	{"1.2"},
	{"1.10-x"},
	{"1.10"},
	{"4.2.1"},
	{"2026.11.24"},
	{"202611241"},
	{"999999999.999999999.999999999.999999999"},
}

func TestVersionsHaveAnOrder(t *testing.T) {
	for i, low := range order {
		for j, high := range order {
			for _, a := range low {
				for _, b := range high {
					v, errA := ParseVersion(a)
					w, errB := ParseVersion(b)
					if errA != nil || errB != nil {
						t.Fatalf("%s, %s: %v %v", a, b, errA, errB)
					}
					if got := v.Compare(w); got < 0 != (i < j) || got > 0 != (i > j) {
						t.Errorf("%s against %s: %d", a, b, got)
					}
				}
			}
		}
	}
}

func TestWhatIsNoVersion(t *testing.T) {
	for _, bad := range []string{
		"", ".", "1.", ".1", "1..2", "v1", "1.2.3.4.5", "01", "1.02", "00", "1000000000", "-1", "+1", "1.2.3-", "1.2.3-a..b", "1.2.3-.a", "1.2.3-a_b",
		"1.2.3-ä", "1.2.3+5", "1,2", "1 ", " 1", "1\n", "1/2", "١.٢", "1.2.3-" + strings.Repeat("a", 48), "all", "none", "0x1", "1e3",
	} {
		if v, err := ParseVersion(bad); err == nil || v != (Version{}) {
			t.Errorf("%q is %+v", bad, v)
		}
	}
}

func TestWhoCalls(t *testing.T) {
	for line, want := range map[string]string{
		"ios/4.2.1":                              "ios 4.2.1",
		"iOS/4.2.1":                              "ios 4.2.1",
		"web-shop2/1-rc.1":                       "web-shop2 1-rc.1",
		"a/0":                                    "a 0",
		"ios":                                    "",
		"ios/":                                   "",
		"/4.2.1":                                 "",
		"ios/4.2.1 (iPad)":                       "",
		"ios/4.2.1, ios/5":                       "",
		"ios/4.2.1/5":                            "",
		" ios/4.2.1":                             "",
		"4ios/1":                                 "",
		"-ios/1":                                 "",
		"ios_x/1":                                "",
		"ios\x00/1":                              "",
		"ïos/1":                                  "",
		"İos/1":                                  "", // which folds to i and a dot
		"\u212aos/1":                             "", // a Kelvin sign, which folds to k
		"":                                       "",
		"<script>/1":                             "",
		"' OR 1=1 --/1":                          "",
		"ios/${jndi:ldap:}":                      "",
		strings.Repeat("a", 32) + "/1":           strings.Repeat("a", 32) + " 1",
		strings.Repeat("a", 33) + "/1":           "",
		"ios/" + strings.Repeat("1", 60_000):     "",
		strings.Repeat("a", 60_000) + "/1":       "",
		"ios/1.2.3-" + strings.Repeat("a", 42):   "ios 1.2.3-" + strings.Repeat("a", 42),
		"ios/1.2.3-" + strings.Repeat("a", 43):   "",
		strings.Repeat("/", 60_000):              "",
		strings.Repeat("a/1,", 10_000) + "ios/1": "",
	} {
		n, ok := parse([]string{line})
		got := ""
		if ok {
			got = n.Name + " " + n.Version.String()
		}
		if got != want {
			t.Errorf("%.60q is %q, want %q", line, got, want)
		}
	}
	for _, lines := range [][]string{nil, {}, {"ios/1", "ios/2"}, {"ios/1", "ios/1"}, {"", "ios/1"}} {
		if n, ok := parse(lines); ok {
			t.Errorf("%q is %v", lines, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ios/4.2.1", "ios/4.2.1-beta.3")
	f.Add("a/1.0.0-1", "a/1.0.0-a")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, okX := parse([]string{a})
		y, okY := parse([]string{b})
		if !okX || !okY {
			return
		}
		if x.Version.Compare(y.Version) != -y.Version.Compare(x.Version) {
			t.Errorf("%q and %q are both first", a, b)
		}
		if x.Version.Compare(x.Version) != 0 {
			t.Errorf("%q is not itself", a)
		}
		if again, err := ParseVersion(x.Version.String()); err != nil || again != x.Version {
			t.Errorf("%q reads as %q", a, again)
		}
		if len(x.Name) > maxName || slices.Contains([]byte(x.Name), 0) {
			t.Errorf("name %q", x.Name)
		}
	})
}

func TestBounds(t *testing.T) {
	v := func(text string) Version {
		got, err := ParseVersion(text)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	four := Bound{least: v("4")}
	for name, c := range map[string]struct {
		b    Bound
		v    Version
		want bool
	}{
		"below":                       {four, v("3.9.9"), true},
		"at":                          {four, v("4.0.0"), false},
		"above":                       {four, v("10"), false},
		"before it":                   {four, v("4.0.0-rc.1"), true},
		"no version, a bound":         {four, Version{}, false},
		"no version, all":             {All(), Version{}, true},
		"any version, all":            {All(), v("999"), true},
		"none":                        {Bound{}, v("0"), false},
		"no version, none":            {Bound{}, Version{}, false},
		"zero, which is a version":    {Bound{least: v("1")}, v("0"), true},
		"nothing is below zero":       {Bound{least: v("0")}, v("0"), false},
		"but what comes before it is": {Bound{least: v("0")}, v("0-a"), true},
	} {
		if got := c.b.over(c.v); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	for text, want := range map[string]string{"all": "all", "none": "", "": "", "4.2": "4.2"} {
		if b, err := ParseBound(text); err != nil || b.String() != want || b.Set() != (want != "") {
			t.Errorf("%q: %q %v", text, b, err)
		}
	}
	if _, err := ParseBound("newest"); err == nil {
		t.Error("read")
	}
}
