package totp

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // G505: HMAC-SHA-1 is what RFC 6030 files have
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"
)

const pskcSpace = "urn:ietf:params:xml:ns:keyprov:pskc"

// The elements of RFC 6030 that mean something here. Signatures are not verified: the operator knows where a file is from.
type (
	pskcValue struct {
		Plain     string      `xml:"PlainValue"`
		Encrypted *pskcCipher `xml:"EncryptedValue"`
		MAC       string      `xml:"ValueMAC"`
	}
	pskcCipher struct {
		Method struct {
			Algorithm string `xml:"Algorithm,attr"`
		} `xml:"EncryptionMethod"`
		Value string `xml:"CipherData>CipherValue"`
	}
	pskcEncryption struct {
		Derived *struct {
			Method struct {
				Algorithm string `xml:"Algorithm,attr"`
				Salt      string `xml:"PBKDF2-params>Salt>Specified"`
				Rounds    int    `xml:"PBKDF2-params>IterationCount"`
				Length    int    `xml:"PBKDF2-params>KeyLength"`
				PRF       struct {
					Algorithm string `xml:"Algorithm,attr"`
				} `xml:"PBKDF2-params>PRF"`
			} `xml:"KeyDerivationMethod"`
		} `xml:"DerivedKey"`
	}
	pskcMAC struct {
		Algorithm string      `xml:"Algorithm,attr"`
		Key       *pskcCipher `xml:"MACKey"`
	}
	pskcPackage struct {
		Serial string   `xml:"DeviceInfo>SerialNo"`
		Key    *pskcKey `xml:"Key"`
	}
	pskcKey struct {
		ID        string `xml:"Id,attr"`
		Algorithm string `xml:"Algorithm,attr"`
		Suite     string `xml:"AlgorithmParameters>Suite"`
		Response  struct {
			Length      int    `xml:"Length,attr"`
			Encoding    string `xml:"Encoding,attr"`
			CheckDigits string `xml:"CheckDigits,attr"`
		} `xml:"AlgorithmParameters>ResponseFormat"`
		Secret   *pskcValue  `xml:"Data>Secret"`
		Counter  pskcValue   `xml:"Data>Counter"`
		Time     pskcValue   `xml:"Data>Time"`
		Interval pskcValue   `xml:"Data>TimeInterval"`
		Policy   *pskcPolicy `xml:"Policy"`
	}
	pskcPolicy struct {
		Start  string   `xml:"StartDate"`
		Expiry string   `xml:"ExpiryDate"`
		Usage  []string `xml:"KeyUsage"`
		PIN    *struct {
			Mode string `xml:"PINUsageMode,attr"`
		} `xml:"PINPolicy"`
		Transactions string `xml:"NumberOfTransactions"`
		Other        []struct {
			XMLName xml.Name
		} `xml:",any"`
	}
)

var (
	errPSKC  = errors.New("the file is no PSKC key container (RFC 6030)")
	errDTD   = errors.New("the file has a document type, which PSKC files have no use for: it is refused")
	errMAC   = errors.New("a MAC of the file does not fit: the key or passphrase is another, or the file was changed")
	errNoMAC = errors.New("the file has encrypted secrets without a MAC: whether they were changed cannot be told")
	errLock  = errors.New("the file is encrypted: give the key or passphrase that came with it, by another way")
)

// readPSKC reads a container a package at a time.
func readPSKC(r io.Reader, o Import, now time.Time, take func(found) error) error {
	in := xml.NewDecoder(r)
	var c container
	inside := false
	for {
		token, err := in.Token()
		if errors.Is(err, io.EOF) {
			if !inside {
				return errPSKC
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the file: %w", err)
		}
		if _, bad := token.(xml.Directive); bad {
			return errDTD
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if !inside {
			if start.Name.Local != "KeyContainer" || start.Name.Space != pskcSpace {
				return errPSKC
			}
			inside = true
			continue
		}
		line, _ := in.InputPos()
		switch start.Name.Local {
		case "EncryptionKey":
			var e pskcEncryption
			if err := in.DecodeElement(&e, &start); err != nil {
				return fmt.Errorf("read the file: %w", err)
			}
			if c.key, err = e.unlock(o); err != nil {
				return err
			}
		case "MACMethod":
			var m pskcMAC
			if err := in.DecodeElement(&m, &start); err != nil {
				return fmt.Errorf("read the file: %w", err)
			}
			if err := c.setMAC(m); err != nil {
				return err
			}
		case "KeyPackage":
			var p pskcPackage
			if err := in.DecodeElement(&p, &start); err != nil {
				return fmt.Errorf("read the file: %w", err)
			}
			f, err := c.token(p, now)
			if err != nil {
				return err
			}
			f.line = int64(line)
			if err := take(f); err != nil {
				return err
			}
		default: // signatures and extensions
			if err := in.Skip(); err != nil {
				return fmt.Errorf("read the file: %w", err)
			}
		}
	}
}

// unlock returns the container's key.
func (e pskcEncryption) unlock(o Import) ([]byte, error) {
	if e.Derived == nil {
		if len(o.Key) == 0 {
			return nil, errLock
		}
		return o.Key, nil
	}
	if o.Passphrase.Empty() {
		return nil, errLock
	}
	m := e.Derived.Method
	salt, err := base64.StdEncoding.DecodeString(spaceless(m.Salt))
	made := map[string]func() hash.Hash{"": sha1.New, "hmacWithSHA1": sha1.New, "hmac-sha1": sha1.New, "hmacWithSHA256": sha256.New, "hmac-sha256": sha256.New}[fragment(m.PRF.Algorithm)]
	// RFC 8018 asks for a thousand rounds at least; ten million take some seconds.
	if err != nil || fragment(m.Algorithm) != "pbkdf2" || made == nil || len(salt) > 1024 || m.Rounds < 1 || m.Rounds > 10_000_000 || m.Length < 16 || m.Length > 32 {
		return nil, errors.New("the file's key is derived in a way that is not known here: want PBKDF2 with HMAC-SHA-1 or HMAC-SHA-256")
	}
	return pbkdf2.Key(made, o.Passphrase.Reveal(), salt, m.Rounds, m.Length)
}

// container is what the packages of a file share.
type container struct {
	key    []byte
	mac    func() hash.Hash
	macKey []byte
}

func (c *container) setMAC(m pskcMAC) (err error) {
	c.mac = map[string]func() hash.Hash{"hmac-sha1": sha1.New, "hmac-sha256": sha256.New, "hmac-sha512": sha512.New}[fragment(m.Algorithm)]
	if c.mac == nil {
		return errors.New("the file's MAC is not known here: want HMAC with SHA-1, SHA-256 or SHA-512")
	}
	c.macKey = c.key // RFC 6030 section 6.1.1: without a key of its own
	if m.Key != nil {
		if c.key == nil {
			return errLock
		}
		sealed, err := m.Key.bytes()
		if err != nil {
			return err
		}
		c.macKey, err = c.decrypt(sealed)
		return err
	}
	return nil
}

// token reads a package. An error is about the whole file.
func (c *container) token(p pskcPackage, now time.Time) (f found, err error) {
	f.serial = strings.TrimSpace(p.Serial)
	if p.Key == nil || p.Key.Secret == nil {
		f.serial, f.why = cmp.Or(f.serial, "?"), SecretMissing
		return f, nil
	}
	k := p.Key
	f.serial = cmp.Or(f.serial, strings.TrimSpace(k.ID))
	if f.secret, err = c.secret(*k.Secret); err != nil {
		if errors.Is(err, errValue) {
			f.why, err = SecretInvalid, nil
		}
		return f, err
	}
	f.shape = Shape{Kind: Kind(strings.TrimPrefix(k.Algorithm, pskcSpace+":")), Algorithm: algorithm(strings.TrimSpace(k.Suite)), Digits: k.Response.Length}
	f.why = k.Policy.forbids(now)
	if k.Response.Encoding != "DECIMAL" || k.Response.CheckDigits == "true" || k.Response.CheckDigits == "1" {
		f.why = cmp.Or(f.why, DigitsInvalid)
	}
	if f.shape.Kind == TOTP {
		interval, err := k.Interval.number(30)
		base, err2 := k.Time.number(0)
		if err != nil || err2 != nil || base != 0 || interval > 120 {
			f.why = cmp.Or(f.why, PeriodInvalid)
		}
		f.shape.Period = int(min(interval, 121))
		return f, nil
	}
	if f.counter, err = k.Counter.number(0); err != nil {
		f.why = cmp.Or(f.why, CounterInvalid)
	}
	return f, nil
}

// number reads a plain value; where a file encrypts even those, it is not taken.
func (v pskcValue) number(missing int64) (int64, error) {
	if v.Encrypted != nil {
		return 0, errValue
	}
	if strings.TrimSpace(v.Plain) == "" {
		return missing, nil
	}
	return strconv.ParseInt(strings.TrimSpace(v.Plain), 10, 64)
}

// forbids says what a policy has against the use that keys have here. RFC 6030 section 5: whoever does not
// understand all of a policy must not use the key.
func (p *pskcPolicy) forbids(now time.Time) Reason {
	if p == nil {
		return ""
	}
	usable := len(p.Usage) == 0
	for _, usage := range p.Usage {
		usable = usable || strings.TrimSpace(usage) == "OTP"
	}
	if !usable || len(p.Other) > 0 || p.Transactions != "" || p.PIN != nil && p.PIN.Mode != "Local" {
		return PolicyUnknown
	}
	start, err := dated(p.Start, now)
	expiry, err2 := dated(p.Expiry, now.Add(time.Hour))
	switch {
	case err != nil, err2 != nil, start.After(now):
		return PolicyUnknown
	case !expiry.After(now):
		return KeyExpired
	}
	return ""
}

func dated(text string, missing time.Time) (time.Time, error) {
	if text = strings.TrimSpace(text); text == "" {
		return missing, nil
	}
	return time.Parse(time.RFC3339, text)
}

// errValue is about one value only.
var errValue = errors.New("a value of the file is not written as it should be")

// secret opens a value. The MAC is verified before anything is decrypted: CBC alone tells whoever changes it too much.
func (c *container) secret(v pskcValue) ([]byte, error) {
	if v.Encrypted == nil {
		plain, err := base64.StdEncoding.DecodeString(spaceless(v.Plain))
		if err != nil {
			return nil, errValue
		}
		return plain, nil
	}
	if c.key == nil {
		return nil, errLock
	}
	if c.mac == nil || v.MAC == "" {
		return nil, errNoMAC
	}
	sealed, err := v.Encrypted.bytes()
	if err != nil {
		return nil, err
	}
	want, err := base64.StdEncoding.DecodeString(spaceless(v.MAC))
	if err != nil {
		return nil, errMAC
	}
	mac := hmac.New(c.mac, c.macKey)
	mac.Write(sealed)
	if !hmac.Equal(mac.Sum(nil), want) {
		return nil, errMAC
	}
	return c.decrypt(sealed)
}

func (p pskcCipher) bytes() ([]byte, error) {
	switch fragment(p.Method.Algorithm) {
	case "aes128-cbc", "aes192-cbc", "aes256-cbc":
	default:
		return nil, errors.New("the file's encryption is not known here: want AES-CBC")
	}
	sealed, err := base64.StdEncoding.DecodeString(spaceless(p.Value))
	if err != nil {
		return nil, errMAC
	}
	return sealed, nil
}

// decrypt opens AES-CBC as XML Encryption has it: the IV first, and the last byte says how much is padding.
func (c *container) decrypt(sealed []byte) ([]byte, error) {
	block, err := aes.NewCipher(c.key)
	if err != nil {
		return nil, errors.New("the key has the wrong length: want 16, 24 or 32 bytes")
	}
	if len(sealed) < 2*aes.BlockSize || len(sealed)%aes.BlockSize != 0 {
		return nil, errMAC
	}
	plain := make([]byte, len(sealed)-aes.BlockSize)
	cipher.NewCBCDecrypter(block, sealed[:aes.BlockSize]).CryptBlocks(plain, sealed[aes.BlockSize:])
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, errMAC
	}
	return plain[:len(plain)-pad], nil
}

// fragment is the part of an algorithm's URI that names it.
func fragment(uri string) string {
	_, name, found := strings.Cut(uri, "#")
	if !found {
		return uri
	}
	return name
}

func spaceless(s string) string { return strings.Join(strings.Fields(s), "") }
