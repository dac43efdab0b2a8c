package leak_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/assurance"
	"countersign/internal/device"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/testkit/servertest"
	"countersign/internal/web"
)

// A session that is not good for everything is good for what is listed here, and for nothing else: every route that wants somebody
// signed in is asked, those too that are yet to be written.
func TestHalfASessionOpensNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		session session.New
		page    []string // answers of pages,
		code    string   // and of the API
		open    []string // routes that answer otherwise
	}{
		"must enrol something": {
			session.New{Enrol: true},
			[]string{"303 /enrol"},
			"403 enrolment_required",
			[]string{
				"GET /enrol", "POST /security/passkeys", "POST /security/apps", "POST /security/apps/confirm", "POST /signout", "POST /dbsc/register",
				"GET /api/v1/account/factors", "POST /api/v1/account/passkeys/options", "POST /api/v1/account/passkeys", "POST /api/v1/account/apps",
				"POST /api/v1/account/apps/{id}/confirm", "DELETE /api/v1/session",
			},
		},
		// A copy of the cookie, minutes after the key that it is bound to was proved elsewhere.
		"bound, and its key not proved": {
			session.New{Bound: true},
			[]string{"303 /signin?done=unproved", "403 page"},
			"401 session_unproved",
			[]string{"POST /signout", "POST /dbsc/register"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := dbtest.NewClock()
			n := servertest.Start(t, servertest.Options{Idle: true, Clock: clock})
			who, core := n.Account(ada, adaPhone), n.Core()
			var from device.ID
			start := func() (token secret.Token) {
				err := core.DB.Write(t.Context(), func(tx *sqldb.Tx) error {
					if from == "" {
						kept, err := core.Devices.Remember(t.Context(), tx, who, device.Enrolment{PublicKey: testkit.NewKey(t).Public(), Name: "Phone"}, nil)
						if err != nil {
							return err
						}
						from = kept.ID
					}
					one := c.session
					one.Account, one.Device, one.Methods = who, from, []assurance.Method{assurance.Password, assurance.Email}
					st, err := core.Sessions.Start(t.Context(), tx, one)
					token = st.Token
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				return token
			}
			open := slices.Clone(c.open)
			for route, stranger := range table {
				// Another account is signed in with by signing out first.
				wants := stranger == "303 /signin" && route != "GET /signin/passkey" && route != "POST /authorize/{request}/other" || stranger == "401 session_ended"
				if !wants && route != "POST /dbsc/register" {
					continue
				}
				v := newVisitor(t, n, "198.51.100.101")
				v.cookies[web.SessionCookie] = start().Reveal()
				clock.Advance(device.ProofFor + time.Second)
				got := v.stranger(route, secret.NewToken("csf").Reveal()).short()
				refused := slices.Contains(c.page, got)
				if _, path, _ := strings.Cut(route, " "); strings.HasPrefix(path, "/api/") {
					refused = got == c.code
				}
				if i := slices.Index(open, route); i >= 0 {
					open = slices.Delete(open, i, i+1)
					if refused {
						t.Errorf("%s is refused: %s", route, got)
					}
				} else if !refused {
					t.Errorf("%s answers %s", route, got)
				}
			}
			if len(open) > 0 {
				t.Errorf("no such routes: %v", open)
			}
		})
	}
}
