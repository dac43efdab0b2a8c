package attestation

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-webauthn/webauthn/metadata"
	"github.com/go-webauthn/webauthn/metadata/providers/memory"
	"github.com/google/uuid"
)

// anchor is whom the file must be signed by.
type anchor struct {
	roots *x509.CertPool
	name  string // in the certificate that signs; empty takes any under the roots
}

// blob is a file that was verified.
type blob struct {
	number   int       // grows with each file
	next     time.Time // when there is a newer one, at the latest
	entries  map[Model]*metadata.Entry
	provider metadata.Provider // the same entries, as the library looks them up
	unread   int               // entries that could not be read
}

// payload is what the file says. An entry that cannot be read must not cost all others.
type payload struct {
	Number     int               `json:"no"`
	NextUpdate string            `json:"nextUpdate"`
	Entries    []json.RawMessage `json:"entries"`
}

// algorithms are those that a file may be signed with; the service uses the first.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512, jose.RS384, jose.RS512, jose.PS256} //nolint:gochecknoglobals // a constant

var (
	errElsewhere = errors.New("it says that its certificates are elsewhere (x5u), and nobody outside is asked")
	errEmpty     = errors.New("no authenticator with an AAGUID is in it")
)

// read verifies a file and reads it (FIDO Metadata Service 3.1, section 3.2). The library's own decoder is not used: it asks the
// certificates' issuers over the network whether they were revoked, and takes a file that was signed by anybody whom the root
// vouches for. The FIDO Alliance's root is one that vouches for web servers.
func read(text []byte, by anchor, now time.Time) (*blob, error) {
	signed, err := jose.ParseSignedCompact(strings.TrimSpace(string(text)), algorithms)
	if err != nil {
		return nil, err
	}
	p := payload{}
	if err := json.Unmarshal(signed.UnsafePayloadWithoutVerification(), &p); err != nil {
		return nil, err
	}
	day, err := time.Parse(time.DateOnly, p.NextUpdate)
	if err != nil {
		return nil, fmt.Errorf("nextUpdate: %w", err)
	}
	next := day.AddDate(0, 0, 1) // the day itself is in time
	// A file that was good stays so when it is past its time, though the certificate that signed it has expired since.
	at := now
	if next.Before(at) {
		at = next
	}
	key, err := by.key(signed.Signatures[0].Protected, at)
	if err != nil {
		return nil, err
	}
	if _, err := signed.Verify(key); err != nil {
		return nil, err
	}
	b := &blob{number: p.Number, next: next, entries: map[Model]*metadata.Entry{}}
	return b, b.index(p.Entries)
}

// key is the key that signed, if its certificate leads to the roots.
func (a anchor) key(h jose.Header, at time.Time) (any, error) {
	if _, ok := h.ExtraHeaders[metadata.HeaderX509URI]; ok {
		return nil, errElsewhere
	}
	chains, err := h.Certificates(x509.VerifyOptions{Roots: a.roots, DNSName: a.name, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, err
	}
	return chains[0][0].PublicKey, nil
}

// index makes the entries findable.
func (b *blob) index(all []json.RawMessage) (err error) {
	byAAGUID, byKey := map[uuid.UUID]*metadata.Entry{}, map[string]*metadata.Entry{}
	for _, raw := range all {
		var text metadata.EntryJSON
		if err := json.Unmarshal(raw, &text); err != nil {
			b.unread++
			continue
		}
		e, err := text.Parse()
		if err != nil {
			b.unread++
			continue
		}
		// Nobody here draws them, and they are most of the file.
		s := &e.MetadataStatement
		s.Icon, s.IconDark, s.ProviderLogoLight, s.ProviderLogoDark = nil, nil, nil, nil
		if e.AaGUID != uuid.Nil {
			byAAGUID[e.AaGUID], b.entries[Model(e.AaGUID.String())] = &e, &e
		}
		for _, id := range e.AttestationCertificateKeyIdentifiers {
			id = strings.ToLower(id)
			byKey[id], b.entries[Model(id)] = &e, &e
		}
	}
	if len(byAAGUID) == 0 {
		return errEmpty
	}
	b.provider, err = memory.New(
		memory.WithMetadata(byAAGUID), memory.WithMetadataKeyIdentifiers(byKey), memory.WithValidateEntryKeyIdentifier(true),
		memory.WithValidateAAGUID(true), memory.WithValidateStatus(false), // we look at the status ourselves, also later
	)
	return err
}
