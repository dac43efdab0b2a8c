package server_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/couriertest"
	"countersign/internal/message"
	"countersign/internal/outbox"
	"countersign/internal/platform/config"
	"countersign/internal/platform/sqldb"
	"countersign/internal/testkit"
	"countersign/internal/testkit/servertest"
)

// throughKannel is what docs/operating.md has an operator write: our settings, and Kannel's.
func throughKannel(t *testing.T) (ours, its string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### Text messages through Kannel\n")
	blocks := strings.Split(section, "\n```")
	if len(blocks) < 4 {
		t.Fatal("the settings are gone from docs/operating.md")
	}
	return strings.TrimPrefix(blocks[1], "toml\n"), blocks[3]
}

// kannel runs Debian's Kannel between a centre and the reports' door, and returns our settings for it. Kannel's own test centre (drive_smpp) answers no
// bind_transceiver, so it is Kannel that calls our centre.
func kannel(t *testing.T, centre string, door http.Handler) func(*config.Config) {
	t.Helper()
	programs := map[string]string{}
	for _, name := range []string{"bearerbox", "smsbox"} {
		path, err := exec.LookPath(name)
		if err != nil {
			path, err = exec.LookPath("/usr/sbin/" + name) // not everybody's PATH has it
		}
		switch {
		case err != nil && os.Getenv("CI") == "true":
			t.Fatalf("%v: run scripts/install-test-tools", err)
		case err != nil:
			t.Skipf("%v: scripts/install-test-tools installs it", err)
		}
		programs[name] = path
	}
	// Kannel reports to wherever we are, which in a test is nowhere that it could reach.
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		door.ServeHTTP(w, httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.RawQuery, r.Body))
	}))
	t.Cleanup(relay.Close)
	dir, ports := t.TempDir(), map[string]string{}
	for _, name := range []string{"13000", "13001", "13013"} {
		_, ports[name], _ = net.SplitHostPort(testkit.FreeAddress(t))
	}
	ours, its := throughKannel(t)
	_, port, _ := net.SplitHostPort(centre)
	its = strings.NewReplacer(
		"13000", ports["13000"], "13001", ports["13001"], "13013", ports["13013"], "smsc.example.net", "127.0.0.1", "3550", port, "/var/spool/kannel", dir,
		"smsc-username = example", "smsc-username = "+couriertest.SystemID, "smsc-password = CHANGE", "smsc-password = "+couriertest.CentrePassword,
	).Replace(its)
	file := filepath.Join(dir, "kannel.conf")
	if err := os.WriteFile(file, []byte(its), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bearerbox", "smsbox"} {
		out, err := os.Create(filepath.Join(dir, name+".log"))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(programs[name], file)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if said, err := os.ReadFile(out.Name()); err == nil && t.Failed() {
				t.Logf("%s says:\n%s", name, said)
			}
		})
		listens := map[string]string{"bearerbox": ports["13001"], "smsbox": ports["13013"]}[name]
		eventually(t, func() bool {
			c, err := net.Dial("tcp", "127.0.0.1:"+listens)
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
	}
	ours = strings.Replace(ours, "127.0.0.1:13013", "127.0.0.1:"+ports["13013"], 1)
	ours = strings.Replace(ours, "{report}", strings.ReplaceAll(relay.URL, ":", "%3A")+"/%3F{report}", 1)
	parsed, err := config.Load(config.Source{File: "x.toml", ReadFile: func(string) ([]byte, error) { return []byte(ours), nil }})
	if parsed.SMS.HTTPURL == "" {
		t.Fatalf("%v\n%s", err, ours)
	}
	return func(c *config.Config) {
		c.Site.PublicURL, c.Email.Provider = "https://id.example.org", "none"
		c.SMS = parsed.SMS
		c.SMS.HTTPSecret = config.NewSecret("CHANGE")
	}
}

// A gateway that we have not written takes our messages to a centre and tells what became of them.
func TestThroughKannel(t *testing.T) {
	t.Parallel() // most of the time is Kannel's pauses
	centre := &couriertest.Centre{}
	centre.Serve(t, false)
	var n *servertest.Node
	settings := kannel(t, centre.Address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.Handler().ServeHTTP(w, r) }))
	n = servertest.Start(t, servertest.Options{Config: settings})
	words, err := message.New("id.example.org")
	if err != nil {
		t.Fatal(err)
	}
	k := kannelled{t, n, words}
	// sent is one message that goes out, and its parts as they arrive.
	sent := func(kind message.Kind, language string) (id string, parts []couriertest.Part) {
		t.Helper()
		parts, letters := centre.Parts(), len(centre.Got())
		before := len(parts)
		id, text := k.send(kind, language)
		eventually(t, func() bool { return len(centre.Got()) > letters })
		got := centre.Got()[letters]
		if len(centre.Got()) != letters+1 || got.To != "+4915112345678" || got.From != "Example" || got.Text != text {
			t.Errorf("%s %s: %d arrived, to %s from %s: %q, want %q", kind, language, len(centre.Got())-letters, got.To, got.From, got.Text, text)
		}
		return id, centre.Parts()[before:]
	}
	// told has the centre tell what became of a message, until Kannel knows which: it may hear that before it has noted the centre's answer.
	told := func(id, state string, want outbox.Fate) {
		t.Helper()
		n := 0 // of the newest part of which a receipt is wanted: of several, Kannel asks for one's
		for i, p := range centre.Parts() {
			if p.Receipt == 1 {
				n = i + 1
			}
		}
		tries := 0
		eventually(t, func() bool {
			if tries++; tries%50 == 1 {
				centre.Receipt(fmt.Sprintf("id:m_%04x sub:001 dlvrd:001 submit date:2611290541 done date:2611290541 stat:%s err:000 text:", n, state), "", 0)
			}
			return k.fate(id) == want
		})
	}

	id, parts := sent(message.SigninCode, "de")
	if len(parts) != 1 || parts[0].Coding != 0 || parts[0].Validity == "" || parts[0].Receipt != 1 {
		t.Errorf("in GSM 03.38: %+v", parts)
	}
	told(id, "DELIVRD", outbox.Delivered)
	id, parts = sent(message.SigninCode, "ar")
	if len(parts) != 1 || parts[0].Coding != 8 {
		t.Errorf("in UCS-2: %+v", parts)
	}
	told(id, "UNDELIV", outbox.NotDelivered)
	id, parts = sent(message.RecoveryWaiting, "de")
	if len(parts) != 2 || parts[0].Coding != 0 || parts[0].Concat[1] != 2 || parts[1].Concat[2] != 2 {
		t.Errorf("in two parts: %+v", parts)
	}
	told(id, "DELIVRD", outbox.Delivered)
	if _, parts = sent(message.NewDevice, "ar"); len(parts) < 2 || parts[0].Coding != 8 {
		t.Errorf("in UCS-2 and parts: %+v", parts)
	}

	centre.Set(couriertest.RefuseForNow) // throttled
	time.AfterFunc(time.Second, func() { centre.Set(couriertest.Accept) })
	sent(message.SigninCode, "fr")
	// arrives is one that goes out over a link that is cut: Kannel sends again what the centre had taken and not answered yet.
	arrives := func(language string) {
		t.Helper()
		_, text := k.send(message.SigninCode, language)
		eventually(t, func() bool {
			return slices.ContainsFunc(centre.Got(), func(got courier.Message) bool { return got.Text == text && got.To == "+4915112345678" })
		})
	}
	centre.Cut()
	arrives("en")                  // when the link is there again
	centre.Set(couriertest.CutOff) // while it is being sent
	time.AfterFunc(time.Second, func() { centre.Set(couriertest.Accept) })
	arrives("es")
	centre.Set(couriertest.RefuseForGood)
	id, _ = k.send(message.SigninCode, "de")
	eventually(t, func() bool { return k.fate(id) == outbox.NotDelivered })
	for _, private := range []string{"15112345678", "482913", "CHANGE"} {
		if strings.Contains(n.Log.String(), private) {
			t.Errorf("the log has %q:\n%s", private, n.Log)
		}
	}
}

type kannelled struct {
	t     *testing.T
	node  *servertest.Node
	words *message.Catalog
}

func (k kannelled) send(kind message.Kind, language string) (id, text string) {
	k.t.Helper()
	l := message.Sample(kind, message.SMS, language, message.Site{Name: "Fotoalbum", Base: "https://id.example.org"})
	said, err := k.words.Render(l)
	if err != nil {
		k.t.Fatal(err)
	}
	core := k.node.Core()
	err = core.DB.Write(k.t.Context(), func(tx *sqldb.Tx) (err error) {
		id, err = core.Outbox.Put(k.t.Context(), tx, outbox.Letter{Letter: l, ExpiresAt: tx.Now().Add(10 * time.Minute)})
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return id, said.Text
}

func (k kannelled) fate(id string) (f outbox.Fate) {
	k.t.Helper()
	core := k.node.Core()
	err := core.DB.Read(k.t.Context(), func(tx *sqldb.Tx) (err error) {
		f, err = core.Outbox.Fate(k.t.Context(), tx, id)
		return err
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return f
}
