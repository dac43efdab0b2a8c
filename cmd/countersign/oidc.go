package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"countersign/internal/certificate"
	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/server"
)

type oidcCmd struct {
	List   oidcListCmd   `cmd:"" default:"1" help:"List the applications that sign people in through us. This is what oidc alone does."`
	Add    oidcAddCmd    `cmd:"" help:"Register an application, or change one, and print the secret of a new one."`
	Invite oidcInviteCmd `cmd:"" help:"Make a token by which somebody else registers one application (RFC 7591)."`
	Secret oidcSecretCmd `cmd:"" help:"Make an application a new secret. The one before is taken for another day."`
	Remove oidcRemoveCmd `cmd:"" help:"Take an application away, and end everything that it was let do."`
	Keys   oidcKeysCmd   `cmd:"" help:"List the keys that tokens are signed with."`
	Rotate oidcRotateCmd `cmd:"" help:"Make a new key to sign tokens with."`
}

type oidcListCmd struct{}

// Help is shown after the flags.
func (oidcListCmd) Help() string {
	return `Those of the file (oidc.clients_file) come first, and are changed there. One that registered itself, by an invitation, may change
what it said; once "oidc add" has changed it, that is the operator's.

  countersign oidc list`
}

// Run lists applications.
func (oidcListCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Applications.Clients(ctx)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "APPLICATION\tNAME\tPROVES ITSELF BY\tSCOPES\tANSWERED AT\tREGISTERED BY")
		for _, r := range all {
			by := "command"
			switch {
			case r.Listed:
				by = "file"
			case r.Itself:
				by = "itself"
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Name, provesBy(r.Client), strings.Join(r.Scopes, " "), dash(answeredAt(r.Client)), by)
		}
		return t.Flush()
	})
}

// provesBy is what an application proves itself by, and the name in its certificate where that is it.
func provesBy(c oidc.Client) string {
	words := string(c.Auth)
	for _, name := range []struct{ kind, value string }{
		{"subject-dn", c.Subject.DN}, {"san-dns", c.Subject.DNS}, {"san-uri", c.Subject.URI}, {"san-ip", c.Subject.IP}, {"san-email", c.Subject.Email},
	} {
		if name.value != "" {
			words += " (" + name.kind + " " + name.value + ")"
		}
	}
	return words
}

// answeredAt is where an application is answered: its redirect URIs, and the pages from which it uses the second door.
func answeredAt(c oidc.Client) string {
	all := slices.Clone(c.RedirectURIs)
	for _, origin := range c.SecondDoor {
		all = append(all, origin+" (second door)")
	}
	return strings.Join(all, " ")
}

type oidcAddCmd struct {
	ID          string `arg:"" help:"What it calls itself: its client_id."`
	Name        string `required:"" help:"What people know it by."`
	oidcURIs    `embed:""`
	Auth        string `default:"client_secret_basic" enum:"client_secret_basic,client_secret_post,private_key_jwt,tls_client_auth,self_signed_tls_client_auth,none" help:"How it proves who it is: ${enum}. none is for apps, and for pages without a server."`
	oidcScopes  `embed:""`
	FirstParty  bool     `help:"It is yours: nobody is asked to consent."`
	PublicSub   bool     `help:"It knows people by their account's id, and not by a name of its own."`
	Sector      string   `placeholder:"HOST" help:"Applications of one sector know people by the same names. Without: the host of its redirect URIs."`
	Alg         string   `default:"ES256" enum:"ES256,RS256,EdDSA" help:"What its ID tokens are signed by: ${enum}."`
	JWKS        string   `name:"jwks" type:"existingfile" placeholder:"FILE" help:"Its public keys, for private_key_jwt, self_signed_tls_client_auth and requests that it signs."`
	Introspects bool     `help:"It is a resource server, which may ask about any token."`
	SecondDoor  []string `placeholder:"ORIGIN" sep:"none" help:"It has accounts of its own and may use the second door, from pages of this origin; several times for several."`

	Demands oidcDemands `embed:""`
	Subject oidcSubject `embed:""`
}

// oidcSubject is whose certificate an application shows, by one of the names in it.
type oidcSubject struct {
	DN    string `name:"subject-dn" placeholder:"NAME" help:"With tls_client_auth: the name in its certificate as RFC 4514 writes it, the last part first: openssl x509 -noout -subject -nameopt RFC2253 prints it, and without -nameopt the other way round. Or one of the next four."`
	DNS   string `name:"san-dns" placeholder:"HOST" help:"The name of a host in its certificate."`
	URI   string `name:"san-uri" placeholder:"URI" help:"A URI in its certificate."`
	IP    string `name:"san-ip" placeholder:"ADDRESS" help:"An IP address in its certificate."`
	Email string `name:"san-email" placeholder:"ADDRESS" help:"An e-mail address in its certificate."`
}

// oidcDemands are what an application is held to, or let off.
type oidcDemands struct {
	Bound       bool `name:"certificate-bound" help:"Its tokens are bound to the certificate that it shows (RFC 8705): without one there are none."`
	DPoPBound   bool `name:"dpop-bound" help:"Its tokens are bound to a key of its own (RFC 9449): without a proof there are none."`
	FAPI        bool `name:"fapi" help:"It keeps to the FAPI 2.0 Security Profile, and is held to it: private_key_jwt or a certificate, PAR, bound tokens, ES256, PS256 or EdDSA."`
	RequireJAR  bool `name:"require-signed-request" help:"It signs its requests with the keys of --jwks (RFC 9101): what is not signed is refused."`
	RequirePAR  bool `name:"require-par" help:"It pushes its requests (RFC 9126): what a browser brings of itself is refused."`
	WithoutPKCE bool `name:"pkce-exempt" help:"It cannot do PKCE, and sends a nonce instead."`
}

// oidcScopes are what an application may ask for.
type oidcScopes struct {
	Scope    []string `default:"openid" help:"What it may ask for: openid, email, offline_access."`
	Device   bool     `name:"device-grant" help:"It runs on devices without a browser: people let it in at another one, by a code."`
	OwnScope []string `placeholder:"SCOPE" help:"What it may have in its own name, without anybody signed in (client credentials); several with commas between."`
}

// oidcURIs are an application's addresses.
type oidcURIs struct {
	Redirect    []string `placeholder:"URI" sep:"none" help:"Where it is answered, letter by letter; several times for several."`
	PostLogout  []string `placeholder:"URI" sep:"none" help:"Where browsers go that it sends to be signed out; several times for several."`
	Backchannel string   `name:"backchannel-logout" placeholder:"URI" help:"Where it is told that somebody is signed out."`
}

// Help is shown after the flags.
func (oidcAddCmd) Help() string {
	return `The secret is shown this once: only a digest is kept. What was registered before by this id is replaced, and keeps its secret:
what is not said again is taken away, and each setting that is another than before is printed.
docs/openid.md has what an application does with it.

  countersign oidc add shop --name "Corner Shop" --redirect https://shop.example.com/callback
  countersign oidc add shop --name "Corner Shop" --redirect https://shop.example.com/callback --post-logout https://shop.example.com/ --backchannel-logout https://shop.example.com/signed-out
  countersign oidc add app --name "Our App" --redirect org.example.app:/callback --auth none --scope openid,offline_access --first-party
  countersign oidc add files --name "File server" --introspects
  countersign oidc add bank --name "Bank" --redirect https://bank.example.com/callback --auth private_key_jwt --jwks bank.jwks --fapi
  countersign oidc add nightly --name "Nightly report" --own-scope orders:read
  countersign oidc add till --name "Till" --own-scope orders:write --auth tls_client_auth --san-dns till.example.com --certificate-bound
  countersign oidc add tv --name "Corner TV" --auth none --device-grant --scope openid,offline_access
  countersign oidc add photos --name "Photos" --second-door https://photos.example.net`
}

// Run registers an application.
func (a oidcAddCmd) Run(ctx context.Context, w world, c *cli) error {
	var keys []byte
	if a.JWKS != "" {
		var err error
		if keys, err = os.ReadFile(a.JWKS); err != nil {
			return err
		}
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		was, is, token, err := core.Applications.Change(ctx, oidc.Client{
			ID: a.ID, Name: a.Name, RedirectURIs: a.Redirect, Auth: oidc.AuthMethod(a.Auth), Scopes: a.Scope, FirstParty: a.FirstParty, Public: a.PublicSub,
			Sector: a.Sector, Alg: a.Alg, Keys: string(keys), Introspects: a.Introspects, WithoutPKCE: a.Demands.WithoutPKCE, SecondDoor: a.SecondDoor,
			CertificateBound: a.Demands.Bound, Subject: certificate.Subject(a.Subject), DPoP: a.Demands.DPoPBound, RequirePAR: a.Demands.RequirePAR, RequireSigned: a.Demands.RequireJAR, FAPI: a.Demands.FAPI,
			PostLogout: a.PostLogout, OwnScopes: a.OwnScope, Device: a.Device, Backchannel: a.Backchannel,
		})
		if err != nil {
			return explained(inFlags(err))
		}
		err = sayChange(w, core.Applications, was, is)
		reveal(w, token)
		return err
	})
}

// sayChange says on stderr what has become of an application: a secret alone is on stdout.
func sayChange(w world, here *oidc.Service, was oidc.Registered, is oidc.Client) error {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(w.stderr, is.ID+" "+format+"\n", args...) }
	isNew := was.ID == ""
	changes, err := oidcChanges(was.Client, is)
	switch {
	case isNew:
		say("is registered; its issuer is %s", here.Issuer)
	case was.Itself:
		say("had registered itself, and is yours to change now")
	case err == nil && len(changes) == 0:
		say("is as it was")
	}
	for _, one := range changes {
		if !isNew {
			say("is changed: %s", one)
		}
	}
	if is.ShowsCertificate() && (len(changes) > 0 || !was.ShowsCertificate()) {
		say("calls %s, and shows its certificate there", here.MTLS.Origin)
	}
	if name, ok := certificate.Written(is.Subject.DN); ok && is.Subject != was.Subject {
		say("is known by the name %s in its certificate, in this order: openssl x509 -noout -subject -nameopt RFC2253 prints it so, and without -nameopt the other way round", name)
	}
	return err
}

// reveal prints a secret, where there is one.
func reveal(w world, token secret.Token) {
	if !token.Empty() {
		w.say("%s", token.Reveal())
	}
}

type oidcInviteCmd struct {
	For      time.Duration `default:"24h" help:"How long it is good for: 720h at most."`
	Withdraw bool          `help:"Make none, and take back all that were not used."`
}

// Help is shown after the flags.
func (oidcInviteCmd) Help() string {
	return `It is the initial access token of one registration at /oauth/register. People are asked to consent to such an application, and it knows them by
names of its own; list shows it, and remove takes it away.

  countersign oidc invite
  countersign oidc invite --for 168h
  countersign oidc invite --withdraw`
}

// Run makes a token.
func (i oidcInviteCmd) Run(ctx context.Context, w world, c *cli) error {
	if i.For <= 0 || i.For > oidc.MaxInvitation {
		return fmt.Errorf("--for: want a time up to %s; %w", oidc.MaxInvitation, errUsage)
	}
	return withCore(ctx, w, c, func(core *server.Core) error {
		if i.Withdraw {
			n, err := core.Applications.WithdrawInvitations(ctx)
			if err == nil {
				w.say("%d were taken back", n)
			}
			return explained(err)
		}
		token, err := core.Applications.Invite(ctx, i.For)
		if err == nil {
			_, _ = fmt.Fprintf(w.stderr, "whoever has it may register one application at %s%s\n", core.Applications.Issuer, oidc.RegisterPath)
			reveal(w, token)
		}
		return explained(err)
	})
}

type oidcSecretCmd struct {
	ID string `arg:"" help:"Its client_id."`
}

// Help is shown after the flags.
func (oidcSecretCmd) Help() string {
	return `The secret is shown this once.

  countersign oidc secret shop`
}

// Run makes a secret.
func (s oidcSecretCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		token, err := core.Applications.Renew(ctx, s.ID)
		if err == nil {
			reveal(w, token)
		}
		return explained(err)
	})
}

type oidcRemoveCmd struct {
	ID string `arg:"" help:"Its client_id."`
}

// Help is shown after the flags.
func (oidcRemoveCmd) Help() string {
	return `Its tokens are worth nothing at once.

  countersign oidc remove shop`
}

// Run takes an application away.
func (r oidcRemoveCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		err := core.Applications.Remove(ctx, r.ID)
		if err == nil {
			w.say("%s is removed", r.ID)
		}
		return explained(err)
	})
}

type oidcKeysCmd struct{}

// Help is shown after the flags.
func (oidcKeysCmd) Help() string {
	return `A key is made when the first application needs it.

  countersign oidc keys`
}

// Run lists signing keys.
func (oidcKeysCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		all, err := core.Applications.Keys(ctx)
		if err != nil {
			return err
		}
		t := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "KEY\tALGORITHM\tMADE\tPUBLISHED UNTIL")
		for _, k := range all {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", k.ID, k.Alg, k.CreatedAt.UTC().Format(time.RFC3339), day(k.EndsAt))
		}
		return t.Flush()
	})
}

type oidcRotateCmd struct {
	Alg string `default:"ES256" enum:"ES256,RS256,EdDSA" help:"Of which algorithm: ${enum}."`
	Now bool   `help:"Somebody may have the old key: give it up at once. Applications that have not fetched the new one refuse sign-ins for up to five minutes."`
}

// Help is shown after the flags.
func (oidcRotateCmd) Help() string {
	return `The new key is published at once and signs ten minutes later; the old one is published for another day.

  countersign oidc rotate
  countersign oidc rotate --alg RS256 --now`
}

// Run makes a signing key.
func (r oidcRotateCmd) Run(ctx context.Context, w world, c *cli) error {
	return withCore(ctx, w, c, func(core *server.Core) error {
		err := core.Applications.Rotate(ctx, r.Alg, r.Now)
		if err == nil {
			w.say("a new key for %s is published", r.Alg)
		}
		return err
	})
}
