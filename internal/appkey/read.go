package appkey

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// ReadRoots reads certificates in PEM, each of which is believed, and refuses what is anything else beside them.
func ReadRoots(text []byte) (*x509.CertPool, error) {
	pool, count := x509.NewCertPool(), 0
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("want certificates alone, not a %s", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(c)
		text = rest
		count++
	}
	if count == 0 || strings.Contains(string(text), "-----BEGIN") {
		return nil, errors.New("no certificate in PEM, or one that is cut off")
	}
	return pool, nil
}

// ReadRevoked reads Google's list of certificates that are not believed any more. One that is suspended is not believed
// either: whatever the list names stands for itself.
func ReadRevoked(text []byte) (map[string]bool, error) {
	var list struct {
		Entries map[string]json.RawMessage `json:"entries"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	if list.Entries == nil {
		return nil, errors.New("no entries")
	}
	revoked := make(map[string]bool, len(list.Entries))
	for serial := range list.Entries {
		number := strings.TrimLeft(strings.ToLower(serial), "0")
		if number == "" || strings.Trim(number, "0123456789abcdef") != "" {
			return nil, fmt.Errorf("%q is no serial number in hexadecimal", serial)
		}
		revoked[number] = true
	}
	return revoked, nil
}
