package message

import (
	"strings"
	"testing"
)

// toApps are the kinds of letter that holders of an application's own account get.
func toApps() []Kind {
	return []Kind{
		SigninCode, NewDevice, DeviceEnded, SecondFailed, AddressAdded, AddressRemoved, FactorAdded, FactorRemoved, FactorStopped, SIMSwapped, FactorsReset,
		BackupChanged, BackupUsed, Protected, LanguageChanged, DoorClosed,
	}
}

func ofApp(k Kind, ch Channel, lang, name, page string) Letter {
	l := Sample(k, ch, lang, Site{"Fotoalbum", "https://id.example.org"})
	l.Params["app"], l.Params["app_site"] = name, page
	return l
}

// Who has an account at a shop knows the shop, not us: each letter names it and leads there, and speaks of no password of ours and no page of ours
// but the link's.
func TestALetterAboutAnApplicationsAccountNamesTheApplication(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, lang := range Languages() {
		for _, k := range toApps() {
			for _, ch := range []Channel{Email, SMS} {
				l := ofApp(k, ch, lang, "Corner Shop", "https://shop.example.net:8443")
				r, err := c.Render(l)
				if err != nil {
					t.Fatalf("%s %s: %v", lang, l, err)
				}
				said := r.Subject + "\n" + r.Text
				if !strings.Contains(said, "Corner Shop") && !strings.Contains(said, "@shop.example.net #") || strings.ContainsAny(said, "{}") {
					t.Errorf("%s %s does not name the application:\n%s", lang, l, said)
				}
				body, footer, _ := strings.Cut(strings.ReplaceAll(said, l.Params["link"], ""), "\n-- \n")
				if strings.Contains(body, "Fotoalbum") || strings.Contains(body, "id.example.org") {
					t.Errorf("%s %s leads to us:\n%s", lang, l, body)
				}
				if n, ok := septets(r.Text); ch == SMS && lang != "ar" && (!ok || n > 2*partSMS) {
					t.Errorf("%s %s: %d septets, in the alphabet %v: %q", lang, l, n, ok, r.Text)
				}
				if ch == Email && (!strings.Contains(footer, "Fotoalbum") || !strings.Contains(footer, "Corner Shop")) {
					t.Errorf("%s %s does not say who sent it, and for whom:\n%s", lang, l, footer)
				}
			}
		}
	}
}

// A browser fills a code in on the site that its text message names: the application's, where it is typed.
func TestACodeForAnApplicationIsBoundToItsPages(t *testing.T) {
	c := catalog(t, "id.example.org")
	for _, lang := range Languages() {
		r, err := c.Render(ofApp(SigninCode, SMS, lang, "Shop", "https://shop.example.net:8443"))
		if err != nil || !strings.HasSuffix(r.Text, "\n\n@shop.example.net #482913") {
			t.Errorf("%s: %v, %q", lang, err, r.Text)
		}
		long := "https://" + strings.Repeat("long.", 40) + "example.net"
		r, err = c.Render(ofApp(SigninCode, SMS, lang, strings.Repeat("N", 60), long))
		if err != nil || !strings.Contains(r.Text, "482913") || segments(r.Text) > 1 && lang != "ar" {
			t.Errorf("%s: an application with a long host: %v, %q", lang, err, r.Text)
		}
		for _, k := range toApps() {
			if _, err := c.Render(ofApp(k, SMS, lang, strings.Repeat("ё", 60), long)); err != nil {
				t.Errorf("%s %s: %v", lang, k, err)
			}
		}
	}
}

// A name that an operator chose is words, and no place to go.
func TestAnApplicationIsNamedWithItsPages(t *testing.T) {
	for name, page := range map[string]string{"Shop": "", "": "https://shop.example.net", "A\nB": "https://shop.example.net", "Shop2": "javascript:alert(1)", "Shop3": "https://a@shop.example.net"} {
		if ofApp(NewDevice, Email, "en", name, page).Validate() == nil {
			t.Errorf("%q at %q was taken", name, page)
		}
	}
}
