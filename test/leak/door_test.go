package leak_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// door is a call of the second door.
func (v *visitor) door(method, path, body string) answer {
	v.t.Helper()
	body = strings.ReplaceAll(body, "PERSON", `"person":{"address":"`+v.from+`","user_agent":"leak-test"}`)
	kind := "application/json"
	if body == "" {
		kind = ""
	}
	return v.exchange(v.request(method, "/api/v1/door"+path, kind, body))
}

// twoDoors are two applications of the second door, each at a network of its own.
func twoDoors(t *testing.T, url string) (n *servertest.Node, photos, videos *visitor) {
	t.Helper()
	n = servertest.Start(t, servertest.Options{Database: url, Idle: true, Config: func(c *config.Config) {
		c.HTTP.TrustedProxies = []string{"127.0.0.0/8"}
	}})
	n.Core().SignIn.Limits.All.Every, n.Core().SignIn.Limits.SendAll.Every = 0, 0 // as in world
	photos, videos = newVisitor(t, n, "10.181.100.101"), newVisitor(t, n, "10.182.100.101")
	for id, v := range map[string]*visitor{"photos": photos, "videos": videos} {
		_, basic := application(t, n, oidc.Client{ID: id, SecondDoor: []string{"https://" + id + ".example.net"}})
		v.header.Set("Authorization", basic)
	}
	return n, photos, videos
}

// open has an application open an account.
func (v *visitor) open(reference string) {
	v.t.Helper()
	if a := v.door(http.MethodPut, "/accounts/"+reference, `{"email":"`+reference+`@maildomain.example","language":"en"}`); a.status != http.StatusOK {
		v.t.Fatalf("%d %s", a.status, a.body)
	}
}

// begun has an application begin a flow.
func (v *visitor) begun(reference string) (flow string) {
	v.t.Helper()
	a := v.door(http.MethodPost, "/begin", `{"reference":"`+reference+`",PERSON}`)
	if flow, _ = a.fields["flow"].(string); flow == "" {
		v.t.Fatalf("%d %s", a.status, a.body)
	}
	return flow
}

// I-01: what another application calls its accounts is to an application as what nobody has. So is what people sign in with here.
func TestAnApplicationCannotTellWhomAnotherKnows(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, photos, videos := twoDoors(t, url)
		videos.open("user-1001")
		videos.open("user-1002")
		n.Account("somebody1")
		err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
			ident, err := account.NewReference("videos", "user-1002")
			if err != nil {
				return err
			}
			who, err := n.Core().Accounts.ByIdentifier(t.Context(), tx, ident)
			if err != nil {
				return err
			}
			return n.Core().Accounts.Lock(t.Context(), tx, who.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
		all := []*subject{
			{label: "first of all", name: "user-9000", first: true},
			{label: "nobody's", name: "user-9001"},
			{label: "nobody's either", name: "user-9002"},
			{label: "another application's", name: "user-1001", known: true},
			{label: "another's, locked", name: "user-1002", known: true},
			{label: "who signs in here", name: "somebody1", known: true},
		}
		for i, s := range all {
			s.visitor = newVisitor(t, n, fmt.Sprintf("10.180.1%02d.101", i))
			s.visitor.header = photos.header
		}
		at := func(method, path, body string) func(*visitor, *subject) answer {
			return func(v *visitor, s *subject) answer {
				return v.door(method, strings.ReplaceAll(path, "REF", s.name), strings.ReplaceAll(body, "REF", s.name))
			}
		}
		inFlow := func(path, more string) func(*visitor, *subject) answer {
			return func(v *visitor, s *subject) answer {
				return v.door(http.MethodPost, path, `{"flow":"`+v.flow+`",`+more+`PERSON}`)
			}
		}
		run(t, n, all, []step{
			{label: "begin", do: at("POST", "/begin", `{"reference":"REF",PERSON}`)},
			{label: "begin with a device", do: at("POST", "/begin", `{"reference":"REF","devices":["`+secret.NewToken("csd").Reveal()+`"],PERSON}`)},
			{label: "devices", do: at("GET", "/accounts/REF/devices", "")},
			{label: "forget a device", do: at("DELETE", "/accounts/REF/devices/0198c0de-0000-7000-8000-000000000000", "")},
			{label: "forget all", do: at("DELETE", "/accounts/REF/devices", "")},
			{label: "erase", do: at("DELETE", "/accounts/REF", "")},
			// From here on each has an account of this application's, whoever has one elsewhere.
			{label: "open", do: at("PUT", "/accounts/REF", `{"email":"REF.here@elsewhere.example","language":"de"}`)},
			{label: "move without a proof", do: at("PUT", "/accounts/REF", `{"email":"REF.away@elsewhere.example"}`)},
			{label: "begin with an account", do: at("POST", "/begin", `{"reference":"REF",PERSON}`)},
			{label: "send", do: inFlow("/code/send", `"way":"email",`)},
			{label: "wrong code", do: inFlow("/code", `"code":"000000",`)},
			{label: "letters leave", work: true},
		}, together)
	})
}

// I-01, P3: a flow of another application's, of a sign-in here, and one that is over are to an application as one that it has made up.
func TestAnApplicationCannotTellWhoseAFlowIs(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, photos, videos := twoDoors(t, url)
		videos.open("user-1001")
		photos.open("user-1001")
		n.Account("ada@maildomain.example")
		over := photos.begun("user-1001")
		n.Clock.Advance(time.Hour)
		person := newVisitor(t, n, "10.191.100.101")
		person.call("/signin", "identifier", "ada@maildomain.example")
		person.call("/signin/password", "flow", person.flow, "password", servertest.Password)
		all := []*subject{
			{label: "first of all", name: secret.NewToken("csf").Reveal(), first: true},
			{label: "made up", name: secret.NewToken("csf").Reveal()},
			{label: "another application's", name: videos.begun("user-1001"), known: true},
			{label: "a sign-in here", name: person.flow, known: true},
			{label: "its own, over", name: over, known: true},
		}
		for i, s := range all {
			s.visitor = newVisitor(t, n, fmt.Sprintf("10.190.1%02d.101", i))
			s.visitor.header = photos.header
		}
		at := func(path, more string) step {
			return step{label: path + more, do: func(v *visitor, s *subject) answer {
				return v.door(http.MethodPost, path, `{"flow":"`+s.name+`",`+more+`PERSON}`)
			}}
		}
		run(t, n, all, []step{
			at("/device", ""),
			at("/device", `"device":{"handle":"`+secret.NewToken("csd").Reveal()+`","signature":"`+strings.Repeat("A", 86)+`"},`),
			at("/code/send", `"way":"email",`),
			at("/code/send", `"way":"sms",`),
			at("/code", `"code":"000000",`),
			at("/code", `"code":"000000","way":"otp",`),
			at("/code", `"code":"AAAA-BBBB-CCCC-DDDD-EEEE-FFFF","way":"backup",`),
			{label: "move codes by it", do: func(v *visitor, s *subject) answer {
				return v.door(http.MethodPut, "/accounts/user-1001", `{"email":"eve@elsewhere.example","flow":"`+s.name+`"}`)
			}},
		}, together)
	})
}
