package certificate

import (
	"crypto/x509"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Subject says whose certificate is expected (RFC 8705 section 2.1.2), by one of the names that there may be in it.
//
//arch:wire
type Subject struct {
	DN    string `toml:"tls_client_auth_subject_dn" json:"tls_client_auth_subject_dn,omitempty"` // as RFC 4514 writes it
	DNS   string `toml:"tls_client_auth_san_dns" json:"tls_client_auth_san_dns,omitempty"`
	URI   string `toml:"tls_client_auth_san_uri" json:"tls_client_auth_san_uri,omitempty"`
	IP    string `toml:"tls_client_auth_san_ip" json:"tls_client_auth_san_ip,omitempty"`
	Email string `toml:"tls_client_auth_san_email" json:"tls_client_auth_san_email,omitempty"`
}

const maxName = 500 // characters: a distinguished name of eight parts has 200

// CheckSubject says what of a subject cannot be.
func CheckSubject(s Subject) error {
	var given []string
	for _, one := range []string{s.DN, s.DNS, s.URI, s.IP, s.Email} {
		if one != "" {
			given = append(given, one)
		}
	}
	if len(given) != 1 || len(given[0]) > maxName {
		return errors.New("want one name of the certificate, and one alone: tls_client_auth_subject_dn, _san_dns, _san_uri, _san_ip or _san_email")
	}
	switch {
	case s.DN != "":
		_, err := parseName(s.DN)
		return err
	case strings.ContainsFunc(given[0], func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("tls_client_auth_san_*: want ASCII without spaces, as certificates have it")
	case s.DNS != "" && strings.ContainsAny(s.DNS, "*/:@"):
		return errors.New("tls_client_auth_san_dns: want the name of one host")
	case s.URI != "":
		if u, err := url.Parse(s.URI); err != nil || !u.IsAbs() {
			return errors.New("tls_client_auth_san_uri: want a whole URI")
		}
	case s.IP != "":
		if a, err := netip.ParseAddr(s.IP); err != nil || a.Zone() != "" {
			return errors.New("tls_client_auth_san_ip: want an address")
		}
	case s.Email != "" && !strings.Contains(s.Email, "@"):
		return errors.New("tls_client_auth_san_email: want an address")
	}
	return nil
}

// Names reports whether the certificate is of the subject that is expected. Of several alternative names of one kind each counts, for whoever vouches for the certificate vouches
// for each; one kind is never taken for another. Names are compared letter by letter, but for those of hosts.
func (s Shown) Names(want Subject) bool {
	if len(s) == 0 || CheckSubject(want) != nil {
		return false
	}
	c := s[0]
	switch {
	case want.DN != "":
		return sameName(want.DN, c)
	case want.DNS != "":
		return slices.ContainsFunc(c.DNSNames, func(one string) bool { return strings.EqualFold(one, want.DNS) })
	case want.URI != "":
		return hasURI(c, want.URI)
	case want.IP != "":
		return hasAddr(c, netip.MustParseAddr(want.IP))
	}
	return slices.Contains(c.EmailAddresses, want.Email)
}

func hasURI(c *x509.Certificate, want string) bool {
	for _, u := range c.URIs {
		if u.String() == want {
			return true
		}
	}
	return false
}

func hasAddr(c *x509.Certificate, want netip.Addr) bool {
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok && a.Unmap() == want.Unmap() {
			return true
		}
	}
	return false
}
