package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pelletier/go-toml/v2"

	"countersign/internal/certificate"
	"countersign/internal/courier/post"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/signin"
	"countersign/internal/web/oidcweb"
	"countersign/internal/web/pages"
)

// fewestSecret is how many characters a secret of the file of clients has at least: 128 bits in hexadecimal.
const fewestSecret = 32

// applications is the OpenID provider, with the clients of the file.
func applications(c config.Config, p signin.Parts, log *slog.Logger) (*oidc.Service, error) {
	s := &oidc.Service{
		DB: p.DB, Ring: p.Ring, Audit: p.Audit, Throttle: p.Throttle, Accounts: p.Accounts, Sessions: p.Sessions, Issuer: c.Public().String(), Post: postLogouts(log), Log: log,
		MTLS: certificate.Door{Origin: c.OIDC.MTLS(), Roots: rootsOf(c)},
	}
	p.Sessions.Ended = s.SignedOut
	if _, err := s.MTLS.Roots.Load(); err != nil {
		return nil, fmt.Errorf("oidc.mtls_roots: %w", err)
	}
	listed, err := clientsOf(c)
	for _, one := range listed {
		if !one.secret.Empty() {
			one.Client = s.WithSecret(one.Client, one.secret)
		}
		s.Listed = append(s.Listed, one.Client)
	}
	return s, err
}

// postLogouts posts logout tokens, under the guard of webhooks. What goes wrong is logged by a word, without the address.
func postLogouts(log *slog.Logger) func(context.Context, oidc.Client, string) error {
	var mu sync.Mutex
	clients := map[string]*post.Client{} // by address, so that connections are used again
	dial := func(address string) (c *post.Client, err error) {
		mu.Lock()
		defer mu.Unlock()
		if c = clients[address]; c == nil {
			if c, err = post.New("logout", address, nil); err == nil {
				clients[address] = c
			}
		}
		return c, err
	}
	return func(ctx context.Context, to oidc.Client, token string) error {
		client, err := dial(to.Backchannel)
		var no *post.Refusal
		if err == nil {
			_, no, err = client.Do(ctx, to.Backchannel, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(url.Values{"logout_token": {token}}.Encode()))
		}
		if no != nil {
			err = client.Fault(no, "")
		}
		if err != nil {
			log.LogAttrs(ctx, slog.LevelWarn, "an application was not told that somebody is signed out", slog.String("client", to.ID), slog.Any("error", err))
		}
		return err
	}
}

type listedClient struct {
	oidc.Client

	secret secret.Token
}

// clientsOf reads the file of clients, and the files with their secrets.
func clientsOf(c config.Config) (all []listedClient, err error) {
	name := c.OIDC.ClientsFile
	if name == "" {
		return nil, nil
	}
	text, err := os.Open(name) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("oidc.clients_file: %w", err)
	}
	defer func() { _ = text.Close() }()
	var file struct {
		Clients []oidc.Client `toml:"client"`
	}
	if err := toml.NewDecoder(text).DisallowUnknownFields().Decode(&file); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok {
			err = errors.New(strict.String())
		}
		return nil, fmt.Errorf("oidc.clients_file %s: %w", name, err)
	}
	seen, here := map[string]bool{}, oidc.Service{MTLS: certificate.Door{Origin: c.OIDC.MTLS(), Roots: rootsOf(c)}}
	for _, one := range file.Clients {
		l := listedClient{Client: one}
		err := errors.Join(l.Check(), here.Possible(one))
		if err == nil && seen[one.ID] {
			err = errors.New("it stands in the file twice")
		}
		if err == nil {
			err = l.readSecret(filepath.Dir(name))
		}
		if err != nil {
			return nil, fmt.Errorf("oidc.clients_file %s: client %q: %w", name, one.ID, err)
		}
		seen[one.ID] = true
		all = append(all, l)
	}
	return all, nil
}

// readSecret reads a client's secret from its file, whose name is as seen from the folder.
func (l *listedClient) readSecret(folder string) error {
	if needs := l.Auth == oidc.ByBasic || l.Auth == oidc.ByPost; needs != (l.SecretFile != "") {
		return fmt.Errorf("secret_file: auth %s and a secret do not go together, or lack one another", l.Auth)
	}
	if l.SecretFile == "" {
		return nil
	}
	name := l.SecretFile
	if !filepath.IsAbs(name) {
		name = filepath.Join(folder, name)
	}
	text, err := os.ReadFile(name) //nolint:gosec // the operator names it
	if err != nil {
		return fmt.Errorf("secret_file: %w", err)
	}
	plain := strings.TrimSpace(string(text))
	if len(plain) < fewestSecret {
		return fmt.Errorf("secret_file: want at least %d characters, as openssl rand -hex 32 makes them", fewestSecret)
	}
	l.secret = secret.Of(plain)
	return nil
}

// EnsureSigningKeys sees to it that there is a key for every algorithm that a client of the file wants.
func (c *Core) EnsureSigningKeys(ctx context.Context) error {
	for _, one := range c.Applications.Listed {
		if err := c.Applications.EnsureKeys(ctx, one.Alg); err != nil {
			return fmt.Errorf("make a signing key: %w", err)
		}
	}
	return nil
}

// provide mounts the OpenID provider: the pages that people come to, and what programs call.
func (s *Server) provide(mux *http.ServeMux, way pages.SignIn) oidcweb.Door {
	way.MountProvider(mux, s.core.Applications)
	way.MountLogout(mux, s.core.Applications)
	way.MountDevices(mux, s.core.Applications, s.core.Applications)
	door := oidcweb.Door{
		Log: s.deps.Log, Provider: s.core.Applications, Requests: s.core.Applications, Registry: s.core.Applications, Devices: s.core.Applications, Proofs: s.core.Proofs, Now: s.deps.Now, Issuer: s.core.Applications.Issuer,
		Source: func(r *http.Request) netip.Addr { return way.Client(r).Source },
	}
	door.Mount(mux)
	return door
}
