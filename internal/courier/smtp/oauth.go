package smtp

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	gosmtp "github.com/wneessen/go-mail/smtp"
)

// bearer signs in with a token: as RFC 7628 has it, or, where a server knows that alone, as Google and Microsoft had it before.
type bearer struct {
	host  string
	port  int
	user  string
	token string
}

const (
	oauthBearer = "OAUTHBEARER"
	xoauth2     = "XOAUTH2"
	separator   = "\x01"
)

// saslName writes a user name as RFC 5801 section 4 has it.
var saslName = strings.NewReplacer("=", "=3D", ",", "=2C") //nolint:gochecknoglobals // a constant

// Start implements the library's Auth.
func (b *bearer) Start(server *gosmtp.ServerInfo) (mechanism string, answer []byte, err error) {
	if !server.TLS {
		return "", nil, errors.New("AUTH: a token is not shown without TLS")
	}
	if slices.Contains(server.Auth, oauthBearer) || !slices.Contains(server.Auth, xoauth2) {
		return oauthBearer, []byte("n,a=" + saslName.Replace(b.user) + "," + separator + "host=" + b.host + separator + "port=" + strconv.Itoa(b.port) + separator +
			"auth=Bearer " + b.token + separator + separator), nil
	}
	return xoauth2, []byte("user=" + b.user + separator + "auth=Bearer " + b.token + separator + separator), nil
}

// Next answers a server that says what it does not like, so that it refuses with a code.
func (b *bearer) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return []byte(separator), nil
	}
	return nil, nil
}
