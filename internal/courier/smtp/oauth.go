package smtp

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/wneessen/go-mail/smtp"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"countersign/internal/courier"
	"countersign/internal/platform/secret"
)

// OAuth gets tokens that a mail server takes in the place of a password: with RefreshToken for the person who
// consented (RFC 6749 section 6), and without it for the client itself (section 4.4).
type OAuth struct {
	TokenURL     string
	ClientID     string
	ClientSecret secret.Token
	RefreshToken secret.Token
	Scopes       []string
}

// tokenTimeout is how long the token endpoint may take: less than a letter has.
const tokenTimeout = 5 * time.Second

// source returns tokens, each as long as it is good. It outlives ctx.
func (o OAuth) source(ctx context.Context) oauth2.TokenSource {
	ctx = context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Timeout: tokenTimeout})
	if o.RefreshToken.Empty() {
		return (&clientcredentials.Config{
			ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), TokenURL: o.TokenURL, Scopes: o.Scopes,
		}).TokenSource(ctx)
	}
	return (&oauth2.Config{
		ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), Endpoint: oauth2.Endpoint{TokenURL: o.TokenURL}, Scopes: o.Scopes,
	}).TokenSource(ctx, &oauth2.Token{RefreshToken: o.RefreshToken.Reveal()})
}

// bearer signs in with a token: as RFC 7628 has it, or, where a server knows that alone, as Google and Microsoft had it before.
type bearer struct {
	host   string
	port   int
	user   string
	tokens oauth2.TokenSource
}

func (p *Provider) bearer(ctx context.Context) *bearer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tokens == nil {
		p.tokens = p.c.OAuth.source(ctx)
	}
	return &bearer{p.c.Host, p.c.Port, p.c.User, p.tokens}
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
	token, err := b.tokens.Token()
	if err != nil {
		return "", nil, tokenError(err)
	}
	if slices.Contains(server.Auth, oauthBearer) || !slices.Contains(server.Auth, xoauth2) {
		return oauthBearer, []byte("n,a=" + saslName.Replace(b.user) + "," + separator + "host=" + b.host + separator + "port=" + strconv.Itoa(b.port) + separator +
			"auth=Bearer " + token.AccessToken + separator + separator), nil
	}
	return xoauth2, []byte("user=" + b.user + separator + "auth=Bearer " + token.AccessToken + separator + separator), nil
}

// Next answers a server that says what it does not like, so that it refuses with a code.
func (b *bearer) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return []byte(separator), nil
	}
	return nil, nil
}

// tokenError keeps the code of RFC 6749 section 5.2: a description quotes what it likes.
func tokenError(err error) *courier.Error {
	code := "unreachable"
	if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code = "refused"
		if known := []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}; slices.Contains(known, r.ErrorCode) {
			code = r.ErrorCode
		}
	}
	return courier.Temporary("smtp_oauth_"+code, nil)
}
