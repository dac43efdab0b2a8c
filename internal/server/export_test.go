package server

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Certificate returns what a listener asks for its certificate.
func Certificate(certFile, keyFile string, now func() time.Time, complain func(error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return (&tlsFiles{setting: "http.tls_cert_file", certFile: certFile, keyFile: keyFile, now: now, complain: complain}).get
}

// Quiet returns what stands between net/http's own log and ours.
func Quiet(h slog.Handler) slog.Handler { return quiet{h} }
