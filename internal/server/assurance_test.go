package server_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"countersign/internal/assurance"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// level is what applications are told of a sign-in.
type level struct {
	Methods         []string
	AAL             string
	AMR             []string
	AuthTime        int64     `json:"auth_time"`
	AuthenticatedAt time.Time `json:"authenticated_at"`
}

func (l level) String() string {
	return strings.Join(l.Methods, "+") + " " + l.AAL + " " + strings.Join(l.AMR, ",")
}

// assured fails unless applications are told that the session of a token was worth so much.
func (a *app) assured(token, want string) {
	a.t.Helper()
	a.token = token
	told := a.want(200, a.call("GET", "/api/v1/session", "")).text
	var one level
	if err := json.Unmarshal([]byte(told), &one); err != nil {
		a.t.Fatalf("%s: %v", told, err)
	}
	if one.String() != want {
		a.t.Errorf("told %s, want %s", one, want)
	}
	if one.AuthTime != one.AuthenticatedAt.Unix() || one.AuthTime != a.node.Clock.Now().Unix() {
		a.t.Errorf("auth_time %d, authenticated_at %s, and it is %s", one.AuthTime, one.AuthenticatedAt, a.node.Clock.Now())
	}
	var listed struct {
		Sessions []struct {
			level

			Current bool
		}
	}
	text := a.want(200, a.call("GET", "/api/v1/sessions", "")).text
	if err := json.Unmarshal([]byte(text), &listed); err != nil {
		a.t.Fatalf("%s: %v", text, err)
	}
	for _, s := range listed.Sessions {
		if s.Current && s.String() != want {
			a.t.Errorf("listed as %s, want %s", s.level, want)
		}
	}
}

// filed fails unless a session of that worth is in the file that the holder downloads.
func (a *app) filed(want string) {
	a.t.Helper()
	var file struct{ Sessions []level }
	text := a.want(200, a.call("POST", "/api/v1/account/data", "")).text
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		a.t.Fatalf("%s: %v", text, err)
	}
	if !slices.ContainsFunc(file.Sessions, func(l level) bool { return l.String() == want }) {
		a.t.Errorf("in the file %v, want one %s", file.Sessions, want)
	}
}

// second begins, gives the password, and then the code that way needs; it returns the session's token.
func (a *app) second(name, way, code string) string {
	a.t.Helper()
	flow := a.begin(name).Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	return a.want(200, a.call("POST", "/api/v1/signin/code", `{"flow":"`+flow+`","code":"`+code+`","way":"`+way+`"}`)).Session.Token
}

func (a *app) sent(name, way, to string) string {
	a.t.Helper()
	flow := a.begin(name).Flow
	a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow+`","password":"`+servertest.Password+`"}`))
	a.want(202, a.call("POST", "/api/v1/signin/code/send", `{"flow":"`+flow+`","way":"`+way+`"}`))
	return a.want(200, a.call("POST", "/api/v1/signin/code", `{"flow":"`+flow+`","code":"`+a.node.Code(to)+`"}`)).Session.Token
}

// Every way to sign in that there is, told for what it was.
func TestWhatASignInWasWorth(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	n.Account("ada@example.org", "+4741234567")
	a := &app{t: t, node: n}

	a.assured(a.sent("ada@example.org", "email", "ada@example.org"), "password+email aal1 pwd")
	a.assured(a.sent("ada@example.org", "sms", "+4741234567"), "password+sms aal2 pwd,sms,mca,mfa")

	key, b64 := testkit.NewKey(t), base64.RawURLEncoding.EncodeToString
	n.Clock.Advance(time.Minute) // the next code may be sent
	kept := a.signIn("ada@example.org", func(nonce string) string {
		return `,"remember":{"public_key":"` + b64(key.Public()) + `","signature":"` + b64(key.Sign("remember", n.URL, nonce)) + `"}`
	}).Device
	a.token = ""
	flow := a.begin("ada@example.org")
	known := a.want(200, a.call("POST", "/api/v1/signin/password", `{"flow":"`+flow.Flow+`","password":"`+servertest.Password+
		`","device":{"handle":"`+kept.Handle+`","signature":"`+b64(key.Sign("recognise", n.URL, flow.Nonce))+`"}}`))
	a.assured(known.Session.Token, "password+device aal1 pwd,swk")

	var begun struct{ ID, Key string }
	if err := json.Unmarshal([]byte(a.want(201, a.call("POST", "/api/v1/account/apps", "")).text), &begun); err != nil {
		t.Fatal(err)
	}
	code := func() string {
		t.Helper()
		code, err := totp.GenerateCode(strings.ReplaceAll(begun.Key, " ", ""), n.Clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	a.want(204, a.call("POST", "/api/v1/account/apps/"+begun.ID+"/confirm", `{"code":"`+code()+`"}`))
	var list struct{ Codes []string }
	if err := json.Unmarshal([]byte(a.want(201, a.call("POST", "/api/v1/account/backup-codes", "")).text), &list); err != nil {
		t.Fatal(err)
	}
	n.Clock.Advance(time.Minute) // the code that confirmed it is used up
	a.assured(a.second("ada@example.org", "otp", code()), "password+otp aal2 pwd,otp,mfa")
	a.assured(a.second("ada@example.org", "backup", list.Codes[0]), "password+backup aal2 pwd,otp,mfa")

	a.filed("password+email aal1 pwd")
	a.filed("password+sms aal2 pwd,sms,mca,mfa")
}

func TestWhatARegistrationWasWorth(t *testing.T) {
	n := open(t, nil)
	a := &app{t: t, node: n}
	for address, want := range map[string]string{"bob@example.org": "password+email aal1 pwd", "+4741234568": "password+sms aal2 pwd,sms,mca,mfa"} {
		a.token = ""
		n.Guard.Add(address)
		begun := a.want(201, a.call("POST", "/api/v1/registration", `{"address":"`+address+`"}`))
		a.want(200, a.call("POST", "/api/v1/registration/code", `{"flow":"`+begun.Flow+`","code":"`+n.Code(address)+`"}`))
		done := a.want(201, a.call("POST", "/api/v1/registration/finish", `{"flow":"`+begun.Flow+`","password":"walrus kettle umbrella 9"}`))
		a.assured(done.Session.Token, want)
	}
}

// A node of a release that knows more writes words that this one does not know, and this one goes on answering.
func TestAWordOfAnotherReleaseRaisesNothing(t *testing.T) {
	n := servertest.Start(t, servertest.Options{})
	id := n.Account("ada@example.org")
	start := func(methods ...assurance.Method) (token secret.Token) {
		t.Helper()
		err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			st, err := n.Core().Sessions.Start(t.Context(), tx, session.New{Account: id, Methods: methods})
			token = st.Token
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	a := &app{t: t, node: n}
	a.assured(start("passkey_of_tomorrow").Reveal(), "passkey_of_tomorrow aal0 ")
	a.assured(start(assurance.Password, "passkey_of_tomorrow").Reveal(), "password+passkey_of_tomorrow aal1 pwd")
	a.assured(start(assurance.PasskeyVerified, "passkey_of_tomorrow").Reveal(), "passkey_verified+passkey_of_tomorrow aal2 swk,user,mfa")
}
