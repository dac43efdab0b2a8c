package leak_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/account"
	"countersign/internal/factor"
	"countersign/internal/platform/config"
	"countersign/internal/platform/secret"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit/servertest"
)

// subject is a name that somebody tries.
type subject struct {
	label, name, password string

	first   bool // goes first, and is compared with nobody
	known   bool
	right   bool   // the password opens the account: only what the answers say is compared, and most rows
	to      string // where a recovery's code should go; empty: to the name
	ways    string
	visitor *visitor
	letters []string // primary keys of the letters its steps wrote
}

// world is a node with everybody on it whose answers must be alike.
func world(t *testing.T, url string, hidden bool) (*servertest.Node, []*subject) {
	t.Helper()
	return worldWith(t, url, hidden, func(*config.Config) {})
}

func worldWith(t *testing.T, url string, hidden bool, change func(*config.Config)) (*servertest.Node, []*subject) {
	t.Helper()
	n := servertest.Start(t, servertest.Options{Database: url, Idle: true, Config: func(c *config.Config) {
		c.HTTP.TrustedProxies = []string{"127.0.0.0/8"} // so that every subject has a network, and limits, of its own
		c.SignIn.HidePasswordResult = hidden
		change(c)
	}})
	told(t, n)
	// The limits over all count everybody's steps in one row; here each step must leave the same value.
	n.Core().SignIn.Limits.All.Every, n.Core().SignIn.Limits.SendAll.Every = 0, 0
	all := slices.Concat(known(t, n, hidden), unknown(t, n, hidden))
	for i, s := range all {
		if s.name == "" {
			t.Fatalf("%s: no name", s.label)
		}
		s.ways = waysOf(t, n, s.name)
		s.visitor = newVisitor(t, n, fmt.Sprintf("10.1%02d.1%02d.101", i/100, i%100))
	}
	return n, all
}

// told has a webhook listen to everything: what it is to be told must not tell who exists either.
func told(t *testing.T, n *servertest.Node) {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(app.Close)
	_, _, err := n.Core().Subscribers.Add(t.Context(), app.URL, nil)
	if err == nil {
		err = n.Core().Subscribers.Poll(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func known(t *testing.T, n *servertest.Node, hidden bool) []*subject {
	t.Helper()
	n.Account("adalovelace@maildomain.example")
	n.Account("gracehopper@maildomain.example", "+4915112345671")
	n.Account("radiaperlman@maildomain.example", "radiap")
	n.Account("onlyaname")
	n.Account("+4915112345672")
	n.Bare("nopassword@maildomain.example")
	unverified(t, n, "unverified@maildomain.example", "")
	unverified(t, n, "+4915112345673", "behindphone@maildomain.example")
	locked, closed := n.Account("lockedout@maildomain.example"), n.Account("closeddown@maildomain.example", "+4915112345674")
	err := n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) error {
		if err := n.Core().Accounts.Lock(t.Context(), tx, locked); err != nil {
			return err
		}
		return n.Core().Accounts.Close(t.Context(), tx, closed)
	})
	if err != nil {
		t.Fatal(err)
	}
	withApp(t, n, n.Account("withanapp@maildomain.example"))
	atHome(t, n, n.Account("athome@maildomain.example"))
	foreign := foreignHashes(t, n)
	imported(t, n, "frombcrypt@maildomain.example", foreign["bcrypt"])
	imported(t, n, "frommd5@maildomain.example", foreign["md5"])
	all := []*subject{
		{label: "imported with bcrypt", name: "frombcrypt@maildomain.example", password: wrong},
		{label: "imported with MD5", name: "frommd5@maildomain.example", password: wrong},
		{label: "e-mail of one with an app and backup codes", name: "withanapp@maildomain.example", password: wrong},
		{label: "e-mail of one who is signed in on a recognised device", name: "athome@maildomain.example", password: wrong},
		{label: "e-mail", name: "adalovelace@maildomain.example", password: wrong},
		{label: "e-mail of one with a phone", name: "gracehopper@maildomain.example", password: wrong},
		{label: "user name with an e-mail address", name: "radiap", password: wrong},
		{label: "user name only", name: "onlyaname", password: wrong},
		{label: "phone only", name: "+4915112345672", password: wrong},
		{label: "no password", name: "nopassword@maildomain.example", password: servertest.Password},
		{label: "unverified e-mail", name: "unverified@maildomain.example", password: wrong},
		{label: "unverified phone", name: "+4915112345673", password: wrong},
		{label: "locked, right password", name: "lockedout@maildomain.example", password: servertest.Password},
		{label: "closed, right password", name: "closeddown@maildomain.example", password: servertest.Password},
	}
	if hidden {
		// Not even somebody with the right password may see that it is.
		n.Account("rightpassword@maildomain.example")
		n.Account("rightagain@maildomain.example", "+4915112345675")
		withApp(t, n, n.Account("rightwithanapp@maildomain.example"))
		atHome(t, n, n.Account("rightathome@maildomain.example"))
		imported(t, n, "rightbcrypt@maildomain.example", foreign["bcrypt"])
		all = append(
			all,
			&subject{label: "right imported password", name: "rightbcrypt@maildomain.example", password: servertest.Password, right: true},
			&subject{label: "right password", name: "rightpassword@maildomain.example", password: servertest.Password, right: true},
			&subject{label: "right password, with an app and backup codes", name: "rightwithanapp@maildomain.example", password: servertest.Password, right: true},
			&subject{label: "right password, and signed in on a recognised device", name: "rightathome@maildomain.example", password: servertest.Password, right: true},
			&subject{label: "right password, by phone", name: "+4915112345675", password: servertest.Password, right: true},
		)
	}
	for _, s := range all {
		s.known = true
	}
	return all
}

// unverified makes an account that signs in with an address that was never proved.
func unverified(t *testing.T, n *servertest.Node, name, proved string) {
	t.Helper()
	ident, err := account.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	n.Guard.Add(ident.Normal())
	a := account.New{Language: "en", Identifiers: []account.NewIdentifier{{Identifier: ident, SignsIn: true}}}
	if proved != "" {
		other, err := account.Parse(proved)
		if err != nil {
			t.Fatal(err)
		}
		n.Guard.Add(other.Normal())
		a.Identifiers = append(a.Identifiers, account.NewIdentifier{Identifier: other, Verified: true, SignsIn: true, Notices: true})
	}
	var id account.ID
	err = n.Core().DB.Write(t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = n.Core().Accounts.Create(t.Context(), tx, a)
		return err
	})
	if err == nil {
		err = n.Core().Passwords.Set(t.Context(), id, servertest.Password, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// unknown are names that nobody has: two of each kind and, at the second door, two for each set of
// ways that is offered there.
func unknown(t *testing.T, n *servertest.Node, hidden bool) (all []*subject) {
	t.Helper()
	kinds, ways := map[int]int{}, map[string]int{}
	for i := range 1000 {
		name := [...]string{"nobody%02d@elsewhere.example", "+49151987654%02d", "ghost%02d"}[i%3]
		s := &subject{name: fmt.Sprintf(name, i/3), password: wrong}
		s.label, s.ways = "unknown "+s.name, waysOf(t, n, s.name)
		if kinds[i%3] < 2 || hidden && ways[s.ways] < 2 {
			all = append(all, s)
			kinds[i%3]++
			ways[s.ways]++
		}
		if len(kinds) == 3 && (!hidden || len(ways) == 3) && i > 60 {
			break
		}
	}
	for _, name := range []string{"erasedsince@maildomain.example", "+4915112345699"} { // nobody's any more
		if err := n.Core().Owner.Erase(t.Context(), n.Account(name), 0); err != nil {
			t.Fatal(err)
		}
		all = append(all, &subject{label: "erased " + name, name: name, password: servertest.Password})
	}
	return all
}

// waysOf says what the second door offers for a name.
func waysOf(t *testing.T, n *servertest.Node, name string) string {
	t.Helper()
	ident, err := account.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	var ways []factor.Way
	err = n.Core().DB.Read(t.Context(), func(tx *sqldb.Tx) error {
		who, err := n.Core().Accounts.Find(t.Context(), tx, ident)
		if err != nil {
			return err
		}
		addresses, err := n.Core().Accounts.Addresses(t.Context(), tx, who.ID)
		ways = factor.Ways(addresses)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(ways) == 0 {
		ways = []factor.Way{factor.Email}
	}
	return fmt.Sprint(ways)
}

// step is one request, made by every subject's visitor before anybody makes the next: so the
// clock shows the same to all, and times are compared as they are.
type step struct {
	label string
	wait  time.Duration // first the clock moves on
	do    func(v *visitor, s *subject) answer
	work  bool // no request: the courier empties the outbox
	brief bool // only answers are compared: the same step comes again, and reading all rows takes long
}

// outcome is what one step did for one subject.
type outcome struct{ answer, rows string }

// run takes all subjects through a script. group says who is compared with whom.
func run(t *testing.T, n *servertest.Node, all []*subject, script []step, group func(*subject) string) {
	t.Helper()
	rows := newReader(t, n.Core().DB)
	// A stranger of no interest goes first: what only the first request of all does is done then.
	first := firstOfAll(t, n)
	if all[0].first {
		first, all = all[0], all[1:]
	}
	for _, st := range script {
		n.Clock.Advance(st.wait)
		if st.work {
			courierWorks(t, n)
			compareLetters(t, rows, all, group)
			continue
		}
		st.do(first.visitor, first)
		var before snapshot
		if !st.brief {
			before = rows.take(t)
		}
		seen, statuses := map[string]map[string]outcome{}, map[int]bool{}
		for _, s := range all {
			a := st.do(s.visitor, s)
			statuses[a.status] = true
			if seen[group(s)] == nil {
				seen[group(s)] = map[string]outcome{}
			}
			if st.brief {
				seen[group(s)][s.label] = outcome{answer: a.masked()}
				continue
			}
			after := rows.take(t)
			for key := range after["outbox_letter"] {
				if _, old := before["outbox_letter"][key]; !old {
					s.letters = append(s.letters, key)
				}
			}
			changed := changes(before, after, rows.columns)
			if s.right { // told apart in the record of events, which nobody but the operator reads
				changed = strings.ReplaceAll(changed, "kind=authn_password_success", "kind=authn_login_fail")
			}
			seen[group(s)][s.label] = outcome{a.masked(), changed}
			before = after
		}
		compare(t, st.label, all, seen, group)
		if testing.Verbose() {
			t.Logf("%-45s %v %d subjects in %d groups", st.label, statuses, len(all), len(seen))
		}
	}
}

func firstOfAll(t *testing.T, n *servertest.Node) *subject {
	t.Helper()
	s := &subject{label: "first", first: true, name: "firstofall@elsewhere.example", password: wrong, visitor: newVisitor(t, n, "10.199.199.101")}
	s.ways = waysOf(t, n, s.name)
	return s
}

// compare compares everybody with the first unknown name of their group.
func compare(t *testing.T, label string, all []*subject, seen map[string]map[string]outcome, group func(*subject) string) {
	t.Helper()
	model := map[string]*subject{}
	for _, s := range all {
		if !s.known && model[group(s)] == nil {
			model[group(s)] = s
		}
	}
	for _, s := range all {
		m := model[group(s)]
		if m == nil {
			t.Errorf("%s is alone: no unknown name is offered %s", s.label, s.ways)
			continue
		}
		want, got := seen[group(s)][m.label], seen[group(s)][s.label]
		if want.answer != got.answer {
			t.Errorf("%s: the answers for %q and %q differ:\n%s", label, m.label, s.label, cmp.Diff(want.answer, got.answer))
		}
		if want.rows != got.rows {
			t.Errorf("%s: the rows written for %q and %q differ:\n%s", label, m.label, s.label, cmp.Diff(want.rows, got.rows))
		}
	}
}

// compareLetters compares the rows of done letters. What differs by then is documented
// (outbox: "its row looks the same until it is done"): the state and the provider's id.
func compareLetters(t *testing.T, r *reader, all []*subject, group func(*subject) string) {
	t.Helper()
	now := r.take(t)["outbox_letter"]
	model := map[string]string{}
	sent := 0
	for _, s := range all {
		var out []string
		for _, key := range s.letters {
			for i, column := range r.columns["outbox_letter"] {
				if column == "state" && now[key][i] == "sent" {
					sent++
				}
				if column != "state" && column != "provider_id" {
					out = append(out, column+"="+shape(column, now[key][i]))
				}
			}
		}
		rows := strings.Join(out, "\n")
		if want, ok := model[group(s)]; !ok {
			model[group(s)] = rows
		} else if want != rows {
			t.Errorf("%s: done letters differ from those of its group:\n%s", s.label, cmp.Diff(want, rows))
		}
	}
	for _, s := range all {
		if s.right && sent == 0 {
			t.Error("no letter was sent, so nothing was compared")
		}
	}
}

func together(*subject) string        { return "" }
func byWaysOffered(s *subject) string { return s.ways }

// begin, password and the rest are an app's calls.
func begin(v *visitor, s *subject) answer { return v.call("/signin", "identifier", s.name) }

func password(v *visitor, s *subject) answer {
	return v.call("/signin/password", "flow", v.flow, "password", s.password)
}

func send(v *visitor, s *subject) answer {
	way := "email"
	if strings.Contains(s.ways, "sms") {
		way = "sms"
	}
	return v.call("/signin/code/send", "flow", v.flow, "way", way)
}

func code(v *visitor, _ *subject) answer {
	return v.call("/signin/code", "flow", v.flow, "code", "000000")
}

// own is a code that the person has, of an app or a list.
func own(way, typed string) func(*visitor, *subject) answer {
	return func(v *visitor, _ *subject) answer {
		return v.call("/signin/code", "flow", v.flow, "way", way, "code", typed)
	}
}

// askApproval and enterApproved are of a sign-in that another device lets in, or not.
func askApproval(v *visitor, _ *subject) answer { return v.call("/signin/approval", "flow", v.flow) }

func enterApproved(v *visitor, _ *subject) answer {
	return v.call("/signin/approval/enter", "flow", v.flow)
}

func times(n int, st step) (out []step) {
	for i := range n {
		again := st
		again.label, again.brief = fmt.Sprintf("%s, time %d", st.label, i+1), i < n-1
		out = append(out, again)
	}
	return out
}

// P2, A-6.3.8, C-AU-12, I-01: at the API, wrong passwords; ten of them, then the limit; wrong
// order; expired.
func TestAppsCannotTellWhoExists(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := world(t, url, false)
		device := map[string]any{"handle": secret.NewToken("csd").Reveal(), "signature": strings.Repeat("A", 86)}
		run(t, n, all, slices.Concat([]step{
			{label: "begin", do: begin},
			{label: "code too early", do: code},
			{label: "send too early", do: send},
			{label: "another device asked too early", do: askApproval},
			{label: "in by another device too early", do: enterApproved},
			{label: "wrong password", do: password},
			{label: "another device asked after a wrong password", do: askApproval},
			{label: "wrong password with a device's proof", do: func(v *visitor, s *subject) answer {
				return v.call("/signin/password", "flow", v.flow, "password", s.password, "device", device)
			}},
			{label: "send after a wrong password", do: send},
			{label: "begin with a device's handle", do: func(v *visitor, s *subject) answer {
				return v.call("/signin", "identifier", s.name, "devices", []string{secret.NewToken("csd").Reveal()})
			}},
		}, times(9, step{label: "wrong password", do: password}), []step{
			{label: "a minute later", wait: time.Minute, do: password},
			{label: "expired", wait: time.Hour, do: password},
			{label: "another flow", do: begin},
			{label: "long afterwards", do: password},
		}), together)
	})
}

// P2 with signin.hide_password_result: strangers reach the second door, and it is the same.
func TestAppsCannotTellAtTheSecondDoor(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := world(t, url, true)
		run(t, n, all, slices.Concat([]step{
			{label: "begin", do: begin},
			{label: "password", do: password},
			{label: "password again", do: password},
			{label: "code before one was sent", do: code},
			{label: "wrong code of an app", do: own("otp", "000000")},
			{label: "two codes of a token that has strayed", do: own("otp", "000000000000")},
			{label: "another device asked", do: askApproval},
			{label: "in by another device", do: enterApproved},
			{label: "send", do: send},
			{label: "send too soon", do: send},
			{label: "send by a way that is not offered", do: func(v *visitor, s *subject) answer {
				way := "sms"
				if strings.Contains(s.ways, "sms") {
					way = "email"
				}
				return v.call("/signin/code/send", "flow", v.flow, "way", way)
			}},
			{label: "send again", wait: 2 * time.Minute, do: send},
			{label: "letters leave", work: true},
			{label: "wrong backup code", do: own("backup", "AAAA-BBBB-CCCC-DDDD-EEEE-FFFF")},
		}, times(6, step{label: "wrong code", do: code}), []step{
			{label: "backup code at a limit", do: own("backup", "AAAA-BBBB-CCCC-DDDD-EEEE-FFFF")},
			{label: "third", wait: 2 * time.Minute, do: send},
			{label: "begin anew", do: begin},
			{label: "password anew", do: password},
			{label: "code at a limit", do: code},
			{label: "send anew", do: send},
		}, repeat(4, begin, password, send), times(9, step{label: "begin, then", do: func(v *visitor, s *subject) answer {
			begin(v, s)
			return password(v, s)
		}}), []step{
			{label: "expired", wait: 16 * time.Minute, do: send},
			{label: "expired code", do: code},
		}), byWaysOffered)
	})
}

func repeat(n int, do ...func(*visitor, *subject) answer) (out []step) {
	for i := range n {
		for j, f := range do {
			out = append(out, step{label: fmt.Sprintf("round %d, call %d", i+1, j+1), do: f, brief: i < n-1})
		}
	}
	return out
}

// P2: the pages, wrong passwords.
func TestPeopleCannotTellWhoExists(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := world(t, url, false)
		post := func(v *visitor, s *subject) answer {
			return v.form("/signin", "username", s.name, "password", s.password)
		}
		run(t, n, all, slices.Concat([]step{
			{label: "the form", do: func(v *visitor, _ *subject) answer { return v.get("/signin") }},
			{label: "wrong password", do: post},
			{label: "wrong password with a device cookie", do: func(v *visitor, s *subject) answer {
				v.cookies["__Host-cs_device"] = secret.NewToken("csd").Reveal()
				return post(v, s)
			}},
			{label: "wrong password in German", do: func(v *visitor, s *subject) answer {
				v.header.Set("Accept-Language", "de")
				return post(v, s)
			}},
			{label: "no password", do: func(v *visitor, s *subject) answer { return v.form("/signin", "username", s.name) }},
			{label: "home", do: func(v *visitor, _ *subject) answer { return v.get("/") }},
		}, times(9, step{label: "wrong password", do: post}), []step{
			{label: "an hour later", wait: time.Hour, do: post},
		}), together)
	})
}

// P2 with signin.hide_password_result: the pages of the second door, the device's page among them.
func TestPeopleCannotTellAtTheSecondDoor(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		n, all := world(t, url, true)
		follow := func(v *visitor, _ *subject) answer { return v.get(v.path) }
		at := func(rest string, pairs ...string) func(v *visitor, s *subject) answer {
			return func(v *visitor, _ *subject) answer { return v.form("/signin/"+v.flow+rest, pairs...) }
		}
		resend := func(v *visitor, s *subject) answer {
			way := "email"
			if strings.Contains(s.ways, "sms") {
				way = "sms"
			}
			return v.form("/signin/"+v.flow+"/send", "way", way)
		}
		post := func(v *visitor, s *subject) answer {
			return v.form("/signin", "username", s.name, "password", s.password)
		}
		run(t, n, all, slices.Concat([]step{
			{label: "name and password", do: post},
			{label: "the code page", do: follow},
			{label: "send again too soon", do: resend},
			{label: "the page that says so", do: follow},
			{label: "device too late", do: at("/device", "signature", "AAAA")},
			{label: "send again", wait: 31 * time.Second, do: resend},
			{label: "the page after it", do: follow},
			{label: "no code", do: at("/code", "code", " ")},
			{label: "the page of an app's code", do: func(v *visitor, _ *subject) answer { return v.get("/signin/" + v.flow + "?way=otp") }},
			{label: "the page of a backup code", do: func(v *visitor, _ *subject) answer { return v.get("/signin/" + v.flow + "?way=backup") }},
			{label: "wrong code of an app", do: at("/code", "way", "otp", "code", "000000")},
			{label: "a way that does not exist", do: at("/send", "way", "pigeon")},
			{label: "another device asked", do: at("/approve")},
			{label: "its page", do: func(v *visitor, _ *subject) answer { return v.get("/signin/" + v.flow + "/approve") }},
			{label: "its state", do: func(v *visitor, _ *subject) answer { return v.get("/signin/" + v.flow + "/approve/state") }},
			{label: "in by another device", do: at("/approve/enter")},
			{label: "letters leave", work: true},
		}, times(6, step{label: "wrong code", do: at("/code", "code", "000000")}), []step{
			{label: "the page of a limited flow", do: func(v *visitor, _ *subject) answer { return v.get("/signin/" + v.flow) }},
			{label: "again, with a device cookie", do: func(v *visitor, s *subject) answer {
				v.cookies["__Host-cs_device"] = secret.NewToken("csd").Reveal() + "." + secret.NewToken("csd").Reveal()
				return post(v, s)
			}},
			{label: "the device's page", do: follow},
			{label: "code too early", do: at("/code", "code", "000000")},
			{label: "send too early", do: resend},
			{label: "a device's proof", do: at("/device", "signature", strings.Repeat("A", 86))},
			{label: "the code page of a new flow", do: follow},
			{label: "expired", wait: time.Hour, do: resend},
			{label: "expired page", do: follow},
		}), byWaysOffered)
	})
}
