package token

import (
	"slices"
	"strconv"
	"strings"
)

const (
	oauthBearer = "OAUTHBEARER"
	xoauth2     = "XOAUTH2"
	separator   = "\x01"
)

// Again is what a client says to a server that has said what it does not like, so that it refuses with a code (RFC 7628 section 3.2.3).
const Again = separator

// saslName writes a user name as RFC 5801 section 4 has it.
var saslName = strings.NewReplacer("=", "=3D", ",", "=2C") //nolint:gochecknoglobals // a constant

// SignIn is how a client signs in with a token at a mail server that knows some mechanisms: as RFC 7628 has it, or, where a server knows that alone, as Google
// and Microsoft had it before. It is shown to a server with TLS only.
func SignIn(mechanisms []string, user, host string, port int, access string) (mechanism string, answer []byte) {
	if slices.Contains(mechanisms, oauthBearer) || !slices.Contains(mechanisms, xoauth2) {
		return oauthBearer, []byte("n,a=" + saslName.Replace(user) + "," + separator + "host=" + host + separator + "port=" + strconv.Itoa(port) + separator +
			"auth=Bearer " + access + separator + separator)
	}
	return xoauth2, []byte("user=" + user + separator + "auth=Bearer " + access + separator + separator)
}
