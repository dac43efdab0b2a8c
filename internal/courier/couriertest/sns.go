package couriertest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// SNS is a pretended Amazon SNS: it signs messages of a topic, shows the certificate that it signs with, and is told of confirmations.
type SNS struct {
	Topic string
	// Issuers has it show the whole chain; else it shows its own certificate alone, as Amazon does.
	Issuers bool
	// Client asks this SNS, whatever the host.
	Client *http.Client
	// Roots verify the certificate.
	Roots *x509.CertPool
	// Certificate is the address that messages name.
	Certificate string

	mu        sync.Mutex
	asked     []string
	key       *rsa.PrivateKey
	leaf, mid []byte
}

// NewSNS starts one that is good from an hour before now to a day after it.
func NewSNS(t testing.TB, topic string, now time.Time) *SNS {
	t.Helper()
	region := strings.Split(topic, ":")[3]
	host := "sns." + region + ".amazonaws.com"
	s := &SNS{Topic: topic, Roots: x509.NewCertPool(), Certificate: "https://" + host + "/SimpleNotificationService-0123456789abcdef.pem"}
	authority := func(name string, by *x509.Certificate, key crypto.Signer) (*x509.Certificate, crypto.Signer) {
		t.Helper()
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		return issue(t, cert, own, by, key), own
	}
	root, rootKey := authority("root", nil, nil)
	s.Roots.AddCert(root)
	mid, midKey := authority("between", root, rootKey)
	s.mid = mid.Raw
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "sns.amazonaws.com"}, DNSNames: []string{"sns.amazonaws.com"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IssuingCertificateURL: []string{"http://crt.test.amazontrust.com/between.cer"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key, mid, midKey)
	s.leaf, s.key = leaf.Raw, key

	srv := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	srv.StartTLS()
	t.Cleanup(srv.Close)
	plain := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(plain.Close)
	s.Client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := srv.Listener.Addr().String()
			if strings.HasSuffix(address, ":80") {
				to = plain.Listener.Addr().String()
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the pretended host has no certificate of that name
	}}
	return s
}

func issue(t testing.TB, cert *x509.Certificate, own crypto.Signer, by *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	if by == nil {
		by, key = cert, own
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, by, own.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *SNS) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, "https://"+r.Host+r.URL.RequestURI())
	s.mu.Unlock()
	switch {
	case strings.HasSuffix(r.URL.Path, ".cer"):
		_, _ = w.Write(s.mid)
	case strings.HasSuffix(r.URL.Path, "0123456789abcdef.pem"):
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: s.leaf})
		if s.Issuers {
			_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: s.mid})
		}
	case r.URL.Query().Get("Action") == "ConfirmSubscription":
		_, _ = w.Write([]byte("<ConfirmSubscriptionResponse/>"))
	default:
		http.NotFound(w, r)
	}
}

// Asked returns what it was asked, and forgets it.
func (s *SNS) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

// Post is a notification with this text at this time, signed in a version, with changes to its fields that the signature does not know of.
func (s *SNS) Post(version, text string, at time.Time, changes map[string]string) []byte {
	return s.post(version, map[string]string{"Type": "Notification", "Message": text}, at, changes)
}

// Subscribe is a message that asks whether this topic is wanted.
func (s *SNS) Subscribe(version, token string, at time.Time, changes map[string]string) []byte {
	ask := url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {s.Topic}, "Token": {token}}
	return s.post(version, map[string]string{
		"Type": "SubscriptionConfirmation", "Token": token, "SubscribeURL": "https://sns.us-west-2.amazonaws.com/?" + ask.Encode(),
		"Message": "You have chosen to subscribe to the topic " + s.Topic + ".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
	}, at, changes)
}

func (s *SNS) post(version string, fields map[string]string, at time.Time, changes map[string]string) []byte {
	fields["MessageId"], fields["TopicArn"], fields["SignatureVersion"] = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", s.Topic, version
	fields["Timestamp"], fields["SigningCertURL"] = at.UTC().Format("2006-01-02T15:04:05.000Z"), s.Certificate
	text := ""
	for _, name := range []string{"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"} {
		if value, ok := fields[name]; ok {
			text += name + "\n" + value + "\n"
		}
	}
	kind, sum := crypto.SHA1, make([]byte, 0, sha256.Size)
	if version == "2" {
		long := sha256.Sum256([]byte(text))
		kind, sum = crypto.SHA256, append(sum, long[:]...)
	} else {
		short := sha1.Sum([]byte(text))
		sum = append(sum, short[:]...)
	}
	signature, err := rsa.SignPKCS1v15(nil, s.key, kind, sum)
	if err != nil {
		panic(err)
	}
	fields["Signature"] = base64.StdEncoding.EncodeToString(signature)
	maps.Copy(fields, changes)
	out, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return out
}
