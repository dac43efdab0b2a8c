package oidc

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"countersign/internal/audit"
	"countersign/internal/certificate"
	"countersign/internal/dpop"
	"countersign/internal/platform/fault"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
)

// AuthMethod is how a client proves who it is at our endpoints (RFC 7591 section 2). A client has one way and no other.
type AuthMethod string

// The ways.
const (
	ByNothing   AuthMethod = "none" // a public client: an app, or a page without a server
	ByBasic     AuthMethod = "client_secret_basic"
	ByPost      AuthMethod = "client_secret_post"
	ByAssertion AuthMethod = "private_key_jwt"

	ByAuthority  AuthMethod = "tls_client_auth"             // a certificate that somebody vouches for whom the operator believes (RFC 8705)
	BySelfSigned AuthMethod = "self_signed_tls_client_auth" // a certificate that is registered
)

// authMethods are all of them.
func authMethods() []AuthMethod {
	return []AuthMethod{ByBasic, ByPost, ByAssertion, ByAuthority, BySelfSigned, ByNothing}
}

// The scopes. What is not here is asked for in vain.
const (
	scopeOpenID  = "openid"
	scopeEmail   = "email" // which is told at userinfo alone
	scopeOffline = "offline_access"
)

// Scopes are all of them, in the order in which they are shown.
func Scopes() []string { return []string{scopeOpenID, scopeEmail, scopeOffline} }

// Client is an application, as the file of clients and the commands have it.
//
//arch:wire
type Client struct {
	ID           string     `toml:"id" json:"-"`
	Name         string     `toml:"name" json:"name"`                               // as people see it
	RedirectURIs []string   `toml:"redirect_uris" json:"redirect_uris"`             // compared letter by letter
	Auth         AuthMethod `toml:"auth" json:"auth"`                               // one of authMethods; client_secret_basic without
	Scopes       []string   `toml:"scopes" json:"scopes"`                           // that it may ask for; openid without
	FirstParty   bool       `toml:"first_party" json:"first_party,omitempty"`       // yours: nobody is asked to consent, but for an app on a device
	Public       bool       `toml:"public_subject" json:"public_subject,omitempty"` // its sub is the account's id, as the API has it
	Sector       string     `toml:"sector" json:"sector,omitempty"`                 // whose subs it shares; without, the host of its redirect URIs
	Alg          string     `toml:"id_token_alg" json:"id_token_alg,omitempty"`     // what its tokens are signed by; ES256 without
	Keys         string     `toml:"jwks" json:"jwks,omitempty"`                     // its public keys (RFC 7517), for private_key_jwt, certificates of its own and requests that it signs
	Introspects  bool       `toml:"introspects" json:"introspects,omitempty"`       // a resource server, which may ask about any access token
	WithoutPKCE  bool       `toml:"pkce_exempt" json:"pkce_exempt,omitempty"`       // it sends a nonce instead (RFC 9700 section 2.1.1), and has a secret
	SecondDoor   []string   `toml:"second_door" json:"second_door,omitempty"`       // it may use the second door; the origins of its pages, whose browsers sign
	SecretFile   string     `toml:"secret_file" json:"-"`                           // where the file of clients has it
	secrets      [][]byte   // stable digests
	keys         jose.JSONWebKeySet

	// What it is held to.
	DPoP          bool `toml:"dpop_bound" json:"dpop_bound,omitempty"`                         // its tokens are bound to a key (RFC 9449): without a proof there are none
	RequirePAR    bool `toml:"require_par" json:"require_par,omitempty"`                       // it pushes its requests (RFC 9126), and no browser brings one
	RequireSigned bool `toml:"require_signed_request" json:"require_signed_request,omitempty"` // it signs its requests (RFC 9101), and none that is not is its own
	FAPI          bool `toml:"fapi" json:"fapi,omitempty"`                                     // it keeps to the FAPI 2.0 Security Profile, and is held to it

	// By certificates (RFC 8705).
	certificate.Subject
	CertificateBound bool `toml:"certificate_bound" json:"certificate_bound,omitempty"` // its tokens are bound to the certificate that it shows: without one there are none

	// What else it has to do with us.
	PostLogout  []string `toml:"post_logout_redirect_uris" json:"post_logout_redirect_uris,omitempty"` // where browsers go that it sends to be signed out
	Backchannel string   `toml:"backchannel_logout_uri" json:"backchannel_logout_uri,omitempty"`       // where it is told that people are signed out
	OwnScopes   []string `toml:"own_scopes" json:"own_scopes,omitempty"`                               // that it may have in its own name (client credentials)
	Device      bool     `toml:"device_grant" json:"device_grant,omitempty"`                           // it runs on devices without a browser (RFC 8628)
}

var clientID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

const (
	maxURIs = 20   // an application has a few: one for each environment it runs in
	maxURI  = 2000 // what every browser and proxy takes
	maxName = 60
)

// Check completes a client and says what of it cannot be.
func (c *Client) Check() error {
	var bad []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Errorf(format, args...))
		}
	}
	if c.Auth == "" {
		c.Auth = ByBasic
	}
	if c.Alg == "" {
		c.Alg = string(jose.ES256)
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{scopeOpenID}
	}
	want(clientID.MatchString(c.ID), "id: want letters, digits, dots, hyphens and underscores, a hundred at most")
	want(uuid.Validate(c.ID) != nil, "id: one that looks like an account's could be taken for it") // RFC 9700, section 4.15
	name := strings.TrimSpace(c.Name)
	want(name != "" && name == c.Name && len([]rune(name)) <= maxName && !strings.ContainsFunc(name, unprintable), "name: want what people know it by, in %d characters", maxName)
	want(slices.Contains(authMethods(), c.Auth), "auth: want one of %s", authMethods())
	want(slices.Contains(algorithms(), c.Alg), "id_token_alg: want one of %s", strings.Join(algorithms(), ", "))
	want(len(c.RedirectURIs) > 0 && len(c.RedirectURIs) <= maxURIs || (c.Introspects || len(c.SecondDoor) > 0 || len(c.OwnScopes) > 0 || c.Device) && len(c.RedirectURIs) == 0, "redirect_uris: want one to %d", maxURIs)
	hosts := map[string]bool{}
	for _, u := range c.RedirectURIs {
		host, err := checkRedirect(u, c.Auth == ByNothing)
		if err != nil {
			bad = append(bad, fmt.Errorf("redirect_uris: %q: %w", u, err))
		}
		hosts[host] = true
	}
	want(len(c.PostLogout) <= maxURIs, "post_logout_redirect_uris: want %d at most", maxURIs)
	for _, u := range c.PostLogout {
		if _, err := checkRedirect(u, c.Auth == ByNothing); err != nil {
			bad = append(bad, fmt.Errorf("post_logout_redirect_uris: %q: %w", u, err))
		}
	}
	c.checkOwn(want)
	c.checkCertificates(want)
	if c.Backchannel != "" {
		if _, err := checkRedirect(c.Backchannel, false); err != nil {
			bad = append(bad, fmt.Errorf("backchannel_logout_uri: %q: %w", c.Backchannel, err))
		}
	}
	for _, one := range c.Scopes {
		want(slices.Contains(Scopes(), one), "scopes: %q is none of %s", one, strings.Join(Scopes(), ", "))
	}
	if c.Sector == "" && len(hosts) == 1 {
		for c.Sector = range hosts { //nolint:revive // there is one
		}
	}
	if c.Sector == "" {
		c.Sector = c.ID
		want(c.Public || len(hosts) <= 1, "sector: its redirect URIs have several hosts: name the one whose subjects it shares")
	}
	want(!c.Device || !c.RequirePAR && !c.RequireSigned && !c.FAPI, "device_grant: what a device asks for is neither pushed nor signed")
	want(!c.WithoutPKCE || c.Auth != ByNothing, "pkce_exempt: a client without a secret needs PKCE")
	want(!c.Introspects || c.Auth != ByNothing, "introspects: a client that asks about tokens has to prove who it is")
	want(len(c.SecondDoor) == 0 || c.Auth == ByBasic || c.Auth == ByAssertion || c.Auth.byCertificate(), "second_door: a client of the second door proves itself by client_secret_basic, private_key_jwt or a certificate")
	want(len(c.SecondDoor) <= maxURIs, "second_door: want %d at most", maxURIs)
	for _, site := range c.SecondDoor {
		want(isOrigin(site), "second_door: %q: want scheme and host of a page, such as https://photos.example.net", site)
	}
	if err := c.readKeys(); err != nil {
		bad = append(bad, err)
	}
	if c.FAPI {
		bad = append(bad, c.checkFAPI())
	}
	return errors.Join(bad...)
}

// unprintable is what is seen by nobody, or turns round what stands beside it: names are shown to people, and on terminals. Persian joins its letters by two
// of those.
func unprintable(r rune) bool {
	const joins, joinsNot = 0x200d, 0x200c
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) && r != joins && r != joinsNot
}

// readKeys reads the client's public keys.
func (c *Client) readKeys() error {
	if c.Keys == "" && (c.Auth == ByAssertion || c.Auth == BySelfSigned || c.RequireSigned) {
		return fmt.Errorf("jwks: %s, %s and require_signed_request need it", ByAssertion, BySelfSigned)
	}
	if c.Keys == "" {
		return nil
	}
	set, err := readJWKS(c.Keys)
	c.keys = set
	return err
}

// checkRedirect returns the host of a redirect URI that may be registered (RFC 9700 section 2.1, RFC 8252 section 7).
func checkRedirect(text string, public bool) (host string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxURI || !u.IsAbs() || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", errors.New("want a whole URI in ASCII")
	case u.Fragment != "" || strings.Contains(text, "#"):
		return "", errors.New("a fragment would be lost")
	case u.User != nil:
		return "", errors.New("it has a user in it")
	case strings.Contains(text, "*"):
		return "", errors.New("it is compared letter by letter: there are no patterns")
	case u.Scheme == "https" && u.Host != "":
		return u.Hostname(), nil
	case u.Scheme == "http" && loopback(u.Hostname()):
		return u.Hostname(), nil
	case u.Scheme == "http":
		return "", errors.New("http is for loopback addresses alone")
	case public && strings.Contains(u.Scheme, "."):
		return u.Scheme, nil
	}
	return "", errors.New("want https, http on a loopback address, or an app's own scheme with a dot in it and auth none")
}

// isOrigin reports whether a text is the origin of a page as a browser writes it: https, or http on loopback.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host == strings.ToLower(u.Host) && text == u.Scheme+"://"+u.Host && u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()))
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// redirects reports whether the client may be answered at a URI: one of its list, letter by letter. Of a public client the
// port of a loopback address is free, which an app cannot know before it listens (RFC 8252 section 7.3).
func (c Client) redirects(to string) bool {
	if slices.Contains(c.RedirectURIs, to) {
		return true
	}
	if c.Auth != ByNothing {
		return false
	}
	bare, ok := portless(to)
	return ok && slices.ContainsFunc(c.RedirectURIs, func(one string) bool {
		listed, ok := portless(one)
		return ok && listed == bare
	})
}

// assured reports whether nobody but the client can have what is sent to a redirect URI of its list: it has a secret, or a host. Where a native app
// listens any program on the device may, so its holder is asked each time (RFC 8252 section 8.6).
func (c Client) assured(to string) bool {
	return c.Auth != ByNothing || strings.HasPrefix(to, "https://")
}

// portless is a URI of a loopback address without its port.
func portless(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return "", false
	}
	if a, err := netip.ParseAddr(u.Hostname()); err != nil || !a.IsLoopback() {
		return "", false
	}
	return strings.Replace(text, "//"+u.Host, "//"+u.Hostname(), 1), true
}

// find returns a client.
func (s *Service) find(ctx context.Context, tx *sqldb.Tx, id string) (Client, bool, error) {
	for _, c := range s.Listed {
		if c.ID == id {
			return c, true, nil
		}
	}
	if !clientID.MatchString(id) {
		return Client{}, false, nil
	}
	return clientByID(ctx, tx, id)
}

// Registered is a client as an operator sees it.
type Registered struct {
	Client

	Listed    bool // in the file of clients
	Itself    bool // it registered itself, and nobody has changed it since
	CreatedAt time.Time
}

// Clients lists every client: those of the file first.
func (s *Service) Clients(ctx context.Context) (all []Registered, err error) {
	for _, c := range s.Listed {
		all = append(all, Registered{Client: c, Listed: true})
	}
	err = s.DB.Read(ctx, func(tx *sqldb.Tx) error {
		return eachClient(ctx, tx, func(r Registered) { all = append(all, r) })
	})
	return all, err
}

// Add is Change, of which it returns the secret alone.
func (s *Service) Add(ctx context.Context, c Client) (token secret.Token, err error) {
	_, _, token, err = s.Change(ctx, c)
	return token, err
}

// Change registers a client, or puts it in the place of the one of its id: what is not said of it is taken away. It returns what was there before, the zero
// Registered if nothing was, what is there now, and the secret of a new one that has one: it is shown this once. One that had registered itself cannot change
// that any more.
func (s *Service) Change(ctx context.Context, c Client) (was Registered, is Client, token secret.Token, err error) {
	if err := errors.Join(c.Check(), s.Possible(c)); err != nil {
		return was, is, token, fault.New(fault.Invalid, "oidc_client_invalid", err)
	}
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) (err error) {
		token = secret.Token{}
		if slices.ContainsFunc(s.Listed, func(l Client) bool { return l.ID == c.ID }) {
			return fault.New(fault.Conflict, "oidc_client_listed", errors.New("it stands in the file of clients: change it there"))
		}
		if was, err = registeredByID(ctx, tx, c.ID); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		s.over(tx)
		if err := putClient(ctx, tx, c); err != nil {
			return err
		}
		if err := setOwn(ctx, tx, c.ID, nil); err != nil { // or one that registered itself could take back what the operator demands of it
			return err
		}
		if c.secretive() && len(was.secrets) == 0 {
			if token, err = s.newSecret(ctx, tx, c.ID); err != nil {
				return err
			}
		}
		return s.recordClient(ctx, tx, c.ID, "added")
	})
	if err == nil {
		err = s.EnsureKeys(ctx, c.Alg)
	}
	return was, c, token, err
}

// Renew gives a client a new secret. The one before is taken for another day.
func (s *Service) Renew(ctx context.Context, id string) (token secret.Token, err error) {
	err = s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		c, ok, err := clientByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if !ok || !c.secretive() {
			return unknownClient()
		}
		if token, err = s.newSecret(ctx, tx, id); err != nil {
			return err
		}
		return s.recordClient(ctx, tx, id, "secret")
	})
	return token, err
}

// Remove takes a client away, and ends everything that it was let do.
func (s *Service) Remove(ctx context.Context, id string) error {
	return s.DB.Write(ctx, func(tx *sqldb.Tx) error {
		s.over(tx)
		ok, err := deleteClient(ctx, tx, id)
		if err == nil && !ok {
			err = unknownClient()
		}
		if err != nil {
			return err
		}
		return s.recordClient(ctx, tx, id, "removed")
	})
}

func unknownClient() error {
	return fault.New(fault.NotFound, "oidc_client_unknown", errors.New("no such client among those that commands have registered, or it has no secret"))
}

func (s *Service) recordClient(ctx context.Context, tx *sqldb.Tx, id, was string) error {
	return s.Audit.Append(ctx, tx, audit.Event{Kind: audit.ApplicationChanged, Actor: "operator", Detail: map[string]string{"client": id, "was": was}})
}

// secretive reports whether the client proves itself by a secret.
func (c Client) secretive() bool { return c.Auth == ByBasic || c.Auth == ByPost }

func (s *Service) newSecret(ctx context.Context, tx *sqldb.Tx, id string) (secret.Token, error) {
	token := secret.NewToken(secretPrefix)
	return token, setSecret(ctx, tx, id, s.secretDigest(id, token))
}

// secretDigest is what is kept of a secret, for years: so it stays what it is when keys change.
func (s *Service) secretDigest(id string, t secret.Token) []byte {
	return s.Ring.Stable("oidc/client/"+id, t.Reveal())
}

// WithSecret is a client of the file with its secret.
func (s *Service) WithSecret(c Client, t secret.Token) Client {
	c.secrets = [][]byte{s.secretDigest(c.ID, t)}
	return c
}

// Caller is who calls an endpoint, as the request has it.
type Caller struct {
	Method        AuthMethod // in which the call says who it is: one of authMethods
	ID            string     // empty where an assertion says it
	Secret        secret.Token
	Assertion     string
	AssertionType string
	Key           dpop.Thumbprint   // that the call has proved; empty for none. Authenticate does not look at it
	Certificate   certificate.Shown // that was shown in the handshake
	Asked         bool              // whether a certificate was asked for there; it says which of two reasons the log has, and nothing else
	Proves        bool              // a client that proves itself by nothing will not do
	Source        netip.Addr

	holder confirmation // what tokens will be bound to
}

// Authenticate returns the client that calls. Whatever does not fit is invalid_client, in the same words for everybody: what it is says the error's note, which
// only the log has.
func (s *Service) Authenticate(ctx context.Context, by Caller) (Client, error) {
	var c Client
	known := false
	id, why := by.client()
	err := s.DB.Read(ctx, func(tx *sqldb.Tx) (err error) {
		c, known, err = s.find(ctx, tx, id)
		return err
	})
	if err == nil && known {
		why, err = s.doubts(ctx, c, by)
	}
	switch {
	case err != nil:
		return Client{}, err
	case why == "":
		return c, nil
	}
	refusal := oauth(invalidClient, "the client did not prove who it is in the way it was registered with")
	return Client{}, s.failed(ctx, by.Source, c.Refused(refusal, why))
}

// Refused adds to a refusal what the log says of it: why, and which client it was, if there is one.
func (c Client) Refused(refusal error, why string) error {
	note := []slog.Attr{slog.String("why", why)}
	if c.ID != "" {
		note = append(note, slog.String("client", c.ID))
	}
	return fault.Noted(refusal, note...)
}

// client is the id of the client that a call says it is of, and why it is of none if there is no such client.
func (by Caller) client() (id, why string) {
	id = by.ID
	if by.Method == ByAssertion {
		said := issuerOf(by.Assertion)
		switch {
		case said == "":
			return "", "the assertion cannot be read, is of an algorithm that is not taken, or has no iss"
		case id != "" && id != said:
			return "", "client_id and the assertion's iss differ"
		}
		id = said
	}
	if id == "" {
		return "", "the call names no client"
	}
	return id, "no client of this id is registered"
}

// doubts says why a call is not of the client that it says it is of; empty if it is.
func (s *Service) doubts(ctx context.Context, c Client, by Caller) (why string, err error) {
	switch {
	case c.Auth.byCertificate() && len(by.Certificate) == 0 && !by.Asked:
		return "this listener asks for no certificates: oidc.mtls_url", nil
	case c.Auth.said() != by.Method || by.Proves && c.Auth == ByNothing:
		return "registered for another way (" + string(c.Auth) + ")", nil
	case c.secretive() && !s.knows(c, by.Secret):
		return "the secret is another", nil
	case c.Auth == ByAssertion:
		return s.asserts(ctx, c, by)
	case c.Auth.byCertificate():
		return s.showed(c, by.Certificate), nil
	}
	return "", nil
}

func (s *Service) knows(c Client, t secret.Token) bool {
	sum, right := s.secretDigest(c.ID, t), 0
	for _, one := range c.secrets {
		right |= subtle.ConstantTimeCompare(one, sum)
	}
	return right == 1
}
