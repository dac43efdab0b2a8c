package smtp

import (
	"errors"

	gosmtp "github.com/wneessen/go-mail/smtp"

	"countersign/internal/courier/token"
)

// bearer signs in with a token.
type bearer struct {
	host  string
	port  int
	user  string
	token string
}

// Start implements the library's Auth.
func (b *bearer) Start(server *gosmtp.ServerInfo) (mechanism string, answer []byte, err error) {
	if !server.TLS {
		return "", nil, errors.New("AUTH: a token is not shown without TLS")
	}
	mechanism, answer = token.SignIn(server.Auth, b.user, b.host, b.port, b.token)
	return mechanism, answer, nil
}

// Next answers a server that says what it does not like.
func (b *bearer) Next(_ []byte, more bool) ([]byte, error) {
	if more {
		return []byte(token.Again), nil
	}
	return nil, nil
}
