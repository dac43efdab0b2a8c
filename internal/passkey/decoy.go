package passkey

import (
	"crypto/hmac"
	"strconv"

	"github.com/go-webauthn/webauthn/protocol"
)

// kind is a kind of authenticator as a list of credentials shows it.
type kind struct {
	share      int // of 256
	idLength   int // bytes
	transports []protocol.AuthenticatorTransport
}

// kinds are the common ones, and how common we take them to be. The lengths are those that their credentials have. An
// account with an uncommon authenticator is still known for one: BeginSignin says for whom lists are.
func kinds() []kind {
	return []kind{
		{100, 16, []protocol.AuthenticatorTransport{protocol.Hybrid, protocol.Internal}}, // password managers
		{80, 20, []protocol.AuthenticatorTransport{protocol.Hybrid, protocol.Internal}},  // iCloud Keychain
		{46, 32, []protocol.AuthenticatorTransport{protocol.Internal}},                   // Windows Hello
		{20, 48, []protocol.AuthenticatorTransport{protocol.NFC, protocol.USB}},          // security keys
		{10, 64, nil}, // older ones, and browsers that do not say
	}
}

// decoys are the passkeys of an account that has none: as many and such as people have, and the same every time for
// one name. Nobody without the key can tell them from an account's, and the key that they are made with never changes.
func (s *Service) decoys(name string) []protocol.CredentialDescriptor {
	draw := s.Ring.Stable("passkey/decoys", name)
	n := 1
	switch { // seven in ten people have one passkey, two in ten two
	case draw[0] >= 236:
		n = 3
	case draw[0] >= 180:
		n = 2
	}
	all := make([]protocol.CredentialDescriptor, 0, n)
	for i := range n {
		k := pick(int(draw[1+i]))
		which := strconv.Itoa(i) + "/" + name
		body := append(s.Ring.Stable("passkey/decoy", which), s.Ring.Stable("passkey/decoy-more", which)...)[:k.idLength-decoyMark]
		all = append(all, descriptor(append(body, s.mark(body)...), k.transports))
	}
	return inOrder(all)
}

func pick(drawn int) kind {
	all := kinds()
	for _, k := range all {
		if drawn -= k.share; drawn < 0 {
			return k
		}
	}
	return all[0]
}

// decoyMark is how many bytes at the end of a decoy's id say, with the key, that it is one.
const decoyMark = 8

func (s *Service) mark(body []byte) []byte {
	return s.Ring.Stable("passkey/decoy-mark", string(body))[:decoyMark]
}

// decoy reports whether a credential's id is one that decoys made. An answer with it is refused as one with a bad
// signature is: were it unknown, an answer with each id of a list would tell whether there is such an account.
func (s *Service) decoy(id []byte) bool {
	if len(id) < minCredentialID {
		return false
	}
	body, mark := id[:len(id)-decoyMark], id[len(id)-decoyMark:]
	return hmac.Equal(mark, s.mark(body))
}
