package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"countersign/internal/oidc"
	"countersign/internal/platform/secret"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

const photosPage = "https://photos.example.net"

// photos registers an application of the second door, and returns it with what proves it.
func photos(t *testing.T, n *servertest.Node) (a *app, basic string) {
	t.Helper()
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "photos", Name: "Photos", SecondDoor: []string{photosPage}})
	if err != nil {
		t.Fatal(err)
	}
	return &app{t: t, node: n}, basicOf("photos", token)
}

func basicOf(id string, token secret.Token) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+token.Reveal()))
}

const somebody = `"person":{"address":"192.0.2.7","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}`

type opened struct {
	Allowed bool
	ACR     string
	AMR     []string
	Step    string
	Device  struct{ Handle string }
	Devices []struct{ ID, Name string }
}

func doorSays(t *testing.T, a answer) (o opened) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), &o); err != nil {
		t.Fatalf("%s: %v", a.text, err)
	}
	return o
}

// An application keeps its accounts: a new device meets a code, and is recognised the next time. No answer has an address.
func TestTheSecondDoorAlone(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	a, basic := photos(t, n)
	call := func(want int, method, path, body string) answer {
		t.Helper()
		return a.want(want, a.call(method, "/api/v1/door"+path, body, "Authorization", basic))
	}
	const to = "ada@example.org"
	n.Guard.Add(to)
	call(200, "PUT", "/accounts/u-17", `{"email":"`+to+`","language":"en"}`)
	begun := call(201, "POST", "/begin", `{"reference":"u-17",`+somebody+`}`)
	if begun.Step != "second" || len(begun.Ways) != 1 {
		t.Fatalf("begin: %s", begun.text)
	}
	call(202, "POST", "/code/send", `{"flow":"`+begun.Flow+`","way":"email",`+somebody+`}`)
	if got := call(401, "POST", "/code", `{"flow":"`+begun.Flow+`","code":"000000",`+somebody+`}`); got.Code != "code_refused" {
		t.Errorf("a wrong code: %s", got.text)
	}
	key := testkit.NewKey(t)
	b64 := base64.RawURLEncoding.EncodeToString
	passed := call(200, "POST", "/code", `{"flow":"`+begun.Flow+`","code":"`+n.Code(to)+`",`+somebody+`,"remember":{"public_key":"`+b64(key.Public())+`","signature":"`+b64(key.Sign("remember", photosPage, begun.Nonce))+`"}}`)
	o := doorSays(t, passed)
	if !o.Allowed || o.ACR != "aal1" || strings.Join(o.AMR, " ") != "pwd" || passed.Session.Token != "" || o.Device.Handle == "" {
		t.Fatalf("the code: %s", passed.text)
	}
	again := call(201, "POST", "/begin", `{"reference":"u-17","devices":["`+o.Device.Handle+`"],`+somebody+`}`)
	known := call(200, "POST", "/device", `{"flow":"`+again.Flow+`",`+somebody+`,"device":{"handle":"`+o.Device.Handle+`","signature":"`+b64(key.Sign("recognise", photosPage, again.Nonce))+`"}}`)
	if o := doorSays(t, known); !o.Allowed || strings.Join(o.AMR, " ") != "pwd swk" {
		t.Fatalf("the device: %s", known.text)
	}
	all := doorSays(t, call(200, "GET", "/accounts/u-17/devices", ""))
	if len(all.Devices) != 1 || all.Devices[0].Name != "Firefox on Linux" {
		t.Errorf("devices: %+v", all)
	}
	call(204, "DELETE", "/accounts/u-17/devices/"+all.Devices[0].ID, "")
	call(404, "DELETE", "/accounts/u-17/devices/"+all.Devices[0].ID, "")
	if got := call(403, "PUT", "/accounts/u-17", `{"email":"eve@example.net"}`); got.Code != "contact_proof_required" {
		t.Errorf("another address: %s", got.text)
	}
	call(200, "PUT", "/accounts/u-17", `{"email":"eve@example.net","flow":"`+begun.Flow+`"}`)
	if got := call(422, "POST", "/begin", `{"reference":"u-17","site":"https://evil.example",`+somebody+`}`); got.Code != "site_unknown" {
		t.Errorf("another page: %s", got.text)
	}
	call(204, "DELETE", "/accounts/u-17", "")
	if got := call(404, "POST", "/begin", `{"reference":"u-17",`+somebody+`}`); got.Code != "account_unknown" {
		t.Errorf("an account that was erased: %s", got.text)
	}
}

// asserting registers an application of the second door, bank, that proves itself by a key, and returns what makes its assertions.
func asserting(t *testing.T, n *servertest.Node) func(change func(map[string]any)) (authorization string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "one", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Core().Applications.Add(t.Context(), oidc.Client{ID: "bank", Name: "Bank", Auth: oidc.ByAssertion, Keys: string(keys), SecondDoor: []string{"https://bank.example.net"}})
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: private, KeyID: "one"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return func(change func(map[string]any)) string {
		claims := map[string]any{
			"iss": "bank", "sub": "bank", "aud": n.Core().Applications.Issuer, "jti": rand.Text(), "iat": n.Clock.Now().Unix(), "exp": n.Clock.Now().Add(time.Minute).Unix(),
		}
		change(claims)
		text, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return "Bearer " + text
	}
}

// Nobody calls it but a client that is registered for it and proves who it is; an assertion is good for one call (RFC 7523, A-10.4.10).
func TestTheSecondDoorIsForItsClients(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	a, basic := photos(t, n)
	shop, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "shop", Name: "Shop", RedirectURIs: []string{"https://shop.example.com/callback"}})
	if err != nil {
		t.Fatal(err)
	}
	assert := asserting(t, n)
	put := func(authorization string) answer {
		return a.call("PUT", "/api/v1/door/accounts/u-1", `{"email":"ada@example.org"}`, "Authorization", authorization)
	}
	once := assert(func(map[string]any) {})
	a.want(200, put(once))
	a.want(200, put(basic))
	for what, authorization := range map[string]string{
		"nothing":                        "",
		"another's secret":               basicOf("photos", shop),
		"a client of another kind":       basicOf("shop", shop),
		"an assertion that was used":     once,
		"an assertion for somebody else": assert(func(c map[string]any) { c["aud"] = "https://elsewhere.example" }),
		"an assertion of long ago":       assert(func(c map[string]any) { c["exp"] = n.Clock.Now().Add(-time.Minute).Unix() }),
		"an assertion of another's":      assert(func(c map[string]any) { c["sub"] = "photos" }),
		"a session's token":              "Bearer css_AAAA",
	} {
		if got := put(authorization); got.status != 401 || got.Code != "client_unproved" {
			t.Errorf("%s: %d %s", what, got.status, got.text)
		}
	}
}

// A call that is repeated, since its answer was lost, sends no second code and begins no second flow; its refusals stand as well.
func TestACallIsRepeatedWithItsKey(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	a, basic := photos(t, n)
	call := func(want int, path, key, body string) answer {
		t.Helper()
		return a.want(want, a.call("POST", "/api/v1/door"+path, body, "Authorization", basic, "Idempotency-Key", key))
	}
	a.want(200, a.call("PUT", "/api/v1/door/accounts/u-17", `{"email":"ada@example.org","language":"en"}`, "Authorization", basic))
	begin := `{"reference":"u-17",` + somebody + `}`
	first := call(201, "/begin", `"begin-1"`, begin)
	if again := call(201, "/begin", `begin-1`, begin); first.Flow == "" || again.text != first.text {
		t.Errorf("repeated:\n%s\n%s", first.text, again.text)
	}
	if other := call(201, "/begin", `"begin-2"`, begin); other.Flow == first.Flow {
		t.Error("another key, and the same flow")
	}
	if got := call(422, "/begin", `"begin-1"`, `{"reference":"u-18",`+somebody+`}`); got.Code != "call_differs" {
		t.Errorf("another body: %s", got.text)
	}
	send := `{"flow":"` + first.Flow + `","way":"email",` + somebody + `}`
	if got := call(422, "/code/send", `"begin-1"`, send); got.Code != "call_differs" {
		t.Errorf("another call: %s", got.text)
	}
	sent := call(202, "/code/send", `"send-1"`, send)
	if again := call(202, "/code/send", `"send-1"`, send); again.text != sent.text {
		t.Errorf("repeated:\n%s\n%s", sent.text, again.text)
	}
	if got := a.want(429, a.call("POST", "/api/v1/door/code/send", send, "Authorization", basic)); got.Code != "resend_too_soon" {
		t.Errorf("without the key: %s", got.text)
	}
	wrong := `{"flow":"` + first.Flow + `","code":"000000",` + somebody + `}`
	for range 8 { // more than the five that are evaluated
		if got := call(401, "/code", `"wrong-1"`, wrong); got.Code != "code_refused" {
			t.Fatalf("repeated refusal: %s", got.text)
		}
	}
	right := `{"flow":"` + first.Flow + `","code":"` + n.Code("ada@example.org") + `",` + somebody + `}`
	passed := call(200, "/code", `"code-1"`, right)
	if again := call(200, "/code", `"code-1"`, right); !doorSays(t, again).Allowed || again.text != passed.text {
		t.Errorf("repeated:\n%s\n%s", passed.text, again.text)
	}
	for _, key := range []string{`"`, `"a`, `a b`, `"` + strings.Repeat("x", 256) + `"`, "ä"} {
		if got := call(400, "/begin", key, begin); got.Code != "idempotency_key_malformed" {
			t.Errorf("%q: %s", key, got.text)
		}
	}
}
