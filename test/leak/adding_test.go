package leak_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"countersign/internal/account"
	"countersign/internal/assurance"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/session"
	"countersign/internal/testkit/servertest"
)

// open signs an account in, just now.
func open(t testing.TB, n *servertest.Node, id account.ID) (token secret.Token) {
	t.Helper()
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		started, err := n.Core().Sessions.Start(t.Context(), tx, session.New{Account: id, Methods: []assurance.Method{assurance.Password, assurance.Email}})
		token = started.Token
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// P2: whoever has an account adds to it what somebody else may have, or asks whether: the answers and the rows are the
// same, as they are for strangers who register.
func TestNobodyCanTellWhoHasAnAddressTheyAdd(t *testing.T) {
	for door, script := range map[string][]step{"API": appAdds(), "pages": personAdds()} {
		t.Run(door, func(t *testing.T) {
			each(t, func(t *testing.T, url string) {
				n, all := newcomers(t, url)
				all = slices.Insert(all, 0, firstOfAll(t, n))
				for i, s := range all {
					// As many people as there are addresses: limits count by who adds.
					token := open(t, n, n.Account(fmt.Sprintf("adding%03d@maildomain.example", i)))
					s.visitor.header.Set("Authorization", "Bearer "+token.Reveal())
					s.visitor.cookies["__Host-cs_session"] = token.Reveal()
				}
				run(t, n, all, script, byWaysOffered)
			})
		})
	}
}

func appAdds() []step {
	begin := func(v *visitor, s *subject) answer { return v.call("/account/addresses", "address", s.name) }
	send := func(v *visitor, _ *subject) answer { return v.call("/account/addresses/send", "flow", v.flow) }
	prove := func(v *visitor, _ *subject) answer {
		return v.call("/account/addresses/prove", "flow", v.flow, "code", "000000")
	}
	return slices.Concat([]step{
		{label: "begin", do: begin},
		{label: "letters leave", work: true},
		{label: "send too soon", do: send},
		{label: "send again", wait: 31 * time.Second, do: send},
		{label: "those letters leave", work: true},
	}, times(6, step{label: "wrong code", do: prove}), []step{
		{label: "begin again", do: begin},
		{label: "code at a limit", do: prove},
	}, times(3, step{label: "begin", do: begin}), []step{
		{label: "too long after signing in", wait: 10 * time.Minute, do: begin},
		{label: "expired", wait: 6 * time.Minute, do: send},
	})
}

func personAdds() []step {
	begin := func(v *visitor, s *subject) answer { return v.form("/security/addresses", "address", s.name) }
	follow := func(v *visitor, _ *subject) answer { return v.get(v.path) }
	at := func(rest string, pairs ...string) func(*visitor, *subject) answer {
		return func(v *visitor, _ *subject) answer { return v.form("/security/addresses/"+v.flow+rest, pairs...) }
	}
	return slices.Concat([]step{
		{label: "the form", do: func(v *visitor, _ *subject) answer { return v.get("/security/addresses/new") }},
		{label: "begin", do: begin},
		{label: "the code page", do: follow},
		{label: "send too soon", do: at("/send")},
		{label: "the page that says so", do: follow},
		{label: "send again", wait: 31 * time.Second, do: at("/send")},
		{label: "the page after it", do: follow},
		{label: "letters leave", work: true},
	}, times(6, step{label: "wrong code", do: at("/code", "code", "000000")}), []step{
		{label: "begin again", do: begin},
		{label: "the code page again", do: follow},
	})
}
