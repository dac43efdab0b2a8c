package factor_test

import (
	"slices"
	"testing"

	"countersign/internal/account"
	"countersign/internal/factor"
)

// P5: whoever has a verified address has a way, the better one first; what nobody verified is none.
func TestWaysAreTheVerifiedAddresses(t *testing.T) {
	mail := account.Address{ID: "mail", Kind: account.Email, Verified: true}
	phone := account.Address{ID: "phone", Kind: account.Phone, Verified: true}
	second := account.Address{ID: "second", Kind: account.Phone, Verified: true}
	unverified := account.Address{ID: "unverified", Kind: account.Phone}
	name := account.Address{ID: "name", Kind: account.Username, Verified: true}
	for what, c := range map[string]struct {
		addresses []account.Address
		want      []factor.Way
		sms       string
	}{
		"both, the better first":      {[]account.Address{mail, phone}, []factor.Way{factor.SMS, factor.Email}, "phone"},
		"two numbers are one way":     {[]account.Address{phone, second}, []factor.Way{factor.SMS}, "phone"},
		"an unverified one is passed": {[]account.Address{unverified, second, mail}, []factor.Way{factor.SMS, factor.Email}, "second"},
		"e-mail only":                 {[]account.Address{mail, unverified}, []factor.Way{factor.Email}, ""},
		"nothing goes to a username":  {[]account.Address{name}, nil, ""},
		"nobody":                      {nil, nil, ""},
	} {
		if got := factor.Ways(c.addresses); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
		if to, ok := factor.Destination(c.addresses, factor.SMS); to.ID != c.sms || ok != (c.sms != "") {
			t.Errorf("%s: a text goes to %q", what, to.ID)
		}
	}
	if _, ok := factor.Destination([]account.Address{mail, phone}, "carrier pigeon"); ok {
		t.Error("a way nobody knows leads somewhere")
	}
}
