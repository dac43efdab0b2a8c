package bounce_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/courier"
	"countersign/internal/courier/bounce"
	"countersign/internal/courier/couriertest"
	"countersign/internal/courier/smtp"
	"countersign/internal/message"
)

// postfix starts a Postfix that takes mail with TLS alone, keeps that for example.org, and can deliver nothing else.
func postfix(t *testing.T) (c smtp.Config, box func(name string) []string) {
	t.Helper()
	if _, err := exec.LookPath("postfix"); err != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Postfix, and root, are needed: scripts/install-test-tools (%v)", err)
		}
		t.Skip("Postfix is not there, or this is not root")
	}
	dir := t.TempDir()
	cert, roots := couriertest.Certificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	var chain []byte
	for _, der := range cert.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	for name, text := range map[string]string{
		"conf/tls.pem":   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})) + string(chain),
		"conf/boxes":     "ada@example.org ada/\nzoë@example.org zoe/\nno-reply@example.org bounces/\n",
		"conf/main.cf":   strings.ReplaceAll(mainCf, "DIR", dir),
		"conf/master.cf": strings.ReplaceAll(masterCf, "PORT", strconv.Itoa(port)),
		"queue/x":        "", "data/x": "", "mail/x": "",
	} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range []string{"chmod 755 DIR DIR/..", "chown -R postfix DIR/data", "chmod 777 DIR/mail", "postfix -c DIR/conf start"} {
		run(t, strings.ReplaceAll(cmd, "DIR", dir))
	}
	t.Cleanup(func() { run(t, "postfix -c "+dir+"/conf stop") })
	t.Cleanup(func() {
		if log, err := os.ReadFile(dir + "/mail/log"); err == nil && t.Failed() {
			t.Logf("Postfix says:\n%s", log)
		}
	})
	return smtp.Config{Host: "localhost", Port: port, Security: smtp.StartTLS, Roots: roots, Now: time.Now}, func(name string) (mail []string) {
		files, _ := filepath.Glob(dir + "/mail/" + name + "/new/*")
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Error(err)
			}
			mail = append(mail, string(text))
		}
		return mail
	}
}

func run(t *testing.T, command string) {
	t.Helper()
	words := strings.Fields(command)
	if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
}

const mainCf = `compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = DIR/mail/log
maillog_file_prefixes = DIR
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.org
mydestination =
virtual_mailbox_domains = example.org
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = texthash:DIR/conf/boxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
transport_maps = inline:{ {gone.example = error:5.1.1 no such mailbox} }
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_reject_unlisted_recipient = no
smtpd_recipient_restrictions = check_recipient_access inline:{ {nobody@example.org = 550 5.1.1 User unknown} }
smtpd_tls_chain_files = DIR/conf/tls.pem
smtpd_tls_security_level = encrypt
smtputf8_enable = yes
`

const masterCf = `127.0.0.1:PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
`

// A mail server that we have not written takes our letters, and says of one that it could not deliver which it was.
func TestPostfixTakesLettersAndReturnsThem(t *testing.T) {
	c, box := postfix(t)
	p, err := smtp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	send := func(id, to string) (courier.Receipt, error) {
		return p.Send(t.Context(), courier.Message{
			ID: id, Channel: message.Email, To: to, From: "Fotoalbum <no-reply@example.org>", Subject: "Ihr Code: Müller", Text: "482913\n", HTML: "<p>482913</p>",
		})
	}
	const many = 200
	var all sync.WaitGroup
	for node := range 4 {
		all.Go(func() {
			for i := range many / 4 {
				if _, err := send(fmt.Sprintf("%d-%d", node, i), "ada@example.org"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if _, err := send("zoe", "zoë@example.org"); err != nil {
		t.Error(err)
	}
	if _, err := send("nobody", "nobody@example.org"); err == nil || err.Error() != "smtp_550_5.1.1" {
		t.Errorf("no such mailbox: %v", err)
	}
	_, err = send(letter, "bob@gone.example")
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); len(box("ada")) < many || len(box("zoe")) < 1 || len(box("bounces")) < 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d letters arrived, %d beyond ASCII, %d came back", len(box("ada")), len(box("zoe")), len(box("bounces")))
		}
	}
	for _, mail := range slices.Concat(box("ada"), box("zoe")) {
		if !strings.Contains(mail, "with ESMTPS") && !strings.Contains(mail, "with UTF8SMTPS") || !strings.Contains(mail, "Auto-Submitted: auto-generated") {
			t.Errorf("not by TLS, or without a header:\n%s", mail)
		}
	}
	got, err := bounce.Parse(strings.NewReader(box("bounces")[0]))
	if want := (courier.Report{Provider: "smtp", Letter: letter, State: courier.NotDelivered, Code: "5.1.1"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v\n%s", got, err, want, box("bounces")[0])
	}
}
