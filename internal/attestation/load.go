package attestation

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/metadata"
	"github.com/google/uuid"
)

// Settings are the operator's words, of the section passkey.
type Settings struct {
	Require      string
	File         string
	Root         string // a file; empty is the root of the FIDO Alliance's service
	Signer       string
	Allow, Deny  []string
	DenyStatuses []string
}

// New reads the settings. It returns nil where nothing is asked and no file is named. Errors are a line each and say what to do.
func New(s Settings, now func() time.Time, log *slog.Logger) (*Service, error) {
	if s.Require == None && len(s.Allow)+len(s.Deny) > 0 {
		return nil, errors.New("passkey.deny_models: without passkey.attestation a passkey is of whatever model it says: set that to known or certified, or leave allow_models and deny_models empty")
	}
	if s.File == "" {
		if s.Require == None {
			return nil, nil
		}
		return nil, fmt.Errorf("passkey.metadata_file: passkey.attestation is %s: name the file of %s, or set it to none", s.Require, metadata.ProductionMDSURL)
	}
	out := &Service{require: s.Require, now: now, log: log, signedBy: anchor{name: s.Signer}}
	out.file.Path, out.file.Parse = s.File, out.parse
	var bad [4]error
	out.signedBy.roots, bad[0] = roots(s.Root)
	out.allow, bad[1] = models("passkey.allow_models", s.Allow)
	out.deny, bad[2] = models("passkey.deny_models", s.Deny)
	out.statuses, bad[3] = statuses(s.DenyStatuses)
	return out, errors.Join(bad[:]...)
}

func models(key string, all []string) (out []Model, err error) {
	for _, text := range all {
		id, e := uuid.Parse(text)
		if e != nil || id == uuid.Nil {
			err = errors.Join(err, fmt.Errorf("%s: %q: want an AAGUID such as cb69481e-8ff7-4039-93ec-0a2729a154a8", key, text))
		}
		out = append(out, Model(id.String()))
	}
	return out, err
}

func statuses(all []string) (out []metadata.AuthenticatorStatus, err error) {
	known := append(metadata.DefaultUndesiredAuthenticatorStatuses(),
		metadata.UpdateAvailable, metadata.NotFidoCertified, metadata.SelfAssertionSubmitted)
	for _, text := range all {
		status := metadata.AuthenticatorStatus(text)
		if !slices.Contains(known, status) {
			err = errors.Join(err, fmt.Errorf("passkey.deny_statuses: there is no status %q that speaks against a model: want some of %s", text, join(known)))
		}
		out = append(out, status)
	}
	return out, err
}

func join(all []metadata.AuthenticatorStatus) string {
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

func roots(file string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if file == "" {
		der, err := base64.StdEncoding.DecodeString(metadata.ProductionMDSRoot)
		if err != nil {
			return nil, err
		}
		root, err := x509.ParseCertificate(der)
		if err == nil {
			pool.AddCert(root)
		}
		return pool, err
	}
	text, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err == nil && !pool.AppendCertsFromPEM(text) {
		err = fmt.Errorf("no certificate is in %s", file)
	}
	if err != nil {
		return nil, fmt.Errorf("passkey.metadata_root: %w: want a certificate in PEM", err)
	}
	return pool, nil
}

// Load reads the file if it has changed. With an error what was read before stays in use; each is told once. Only one Load may
// run at a time.
func (s *Service) Load(ctx context.Context) error {
	if s == nil {
		return nil
	}
	fresh, err := s.file.Load()
	if err != nil {
		err = fmt.Errorf("passkey.metadata_file: %s: %w: fetch it anew from %s", s.file.Path, err, metadata.ProductionMDSURL)
	}
	if b := s.file.Get(); fresh {
		s.late = false
		s.log.LogAttrs(ctx, slog.LevelInfo, "metadata of authenticators loaded", slog.Int("number", b.number), slog.Time("next_update", b.next),
			slog.Int("models", len(b.entries)), slog.Int("unread", b.unread))
	}
	s.mindAge(ctx)
	return err
}

func (s *Service) parse(text []byte) (*blob, error) {
	b, err := read(text, s.signedBy, s.now())
	if old := s.file.Get(); err == nil && old != nil && b.number < old.number { // an old file has what is revoked by now (section 3.2, step 6)
		err = fmt.Errorf("its number is %d, and that in use has %d", b.number, old.number)
	}
	return b, err
}

// mindAge warns once of a file that is past its time: what was found out since is not in it.
func (s *Service) mindAge(ctx context.Context) {
	if next, ok := s.Next(); ok && !s.late && s.now().After(next) {
		s.late = true
		s.log.LogAttrs(ctx, slog.LevelWarn, "metadata of authenticators are past their time: fetch them anew", slog.Time("next_update", next))
	}
}

// Next is when there is a newer file than that in use. ok is false if none is in use.
func (s *Service) Next() (at time.Time, ok bool) {
	if s == nil {
		return at, false
	}
	b := s.file.Get()
	if b == nil {
		return at, false
	}
	return b.next, true
}
