package browser_test

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"countersign/internal/oidc"
	"countersign/internal/platform/config"
	"countersign/internal/testkit/servertest"
)

const example = "../../examples/express"

// photos starts the example, an application with a table of users of its own, and returns where it is.
func photos(t *testing.T, n *servertest.Node, more ...string) (at string) {
	t.Helper()
	if _, err := os.Stat(example + "/node_modules/express"); err != nil {
		missing(t, "Express")
	}
	var lc net.ListenConfig
	free, err := lc.Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // we asked for TCP
	at = "http://localhost:" + strconv.Itoa(port)
	token, err := n.Core().Applications.Add(t.Context(), oidc.Client{ID: "photos", Name: "Photos", SecondDoor: []string{at}})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "node", "server.js")
	c.Dir, c.Stderr = example, t.Output()
	c.Env = append(os.Environ(), "PORT="+strconv.Itoa(port), "USERS="+filepath.Join(t.TempDir(), "users.json"), "COUNTERSIGN_URL="+n.URL)
	if !token.Empty() {
		c.Env = append(c.Env, "COUNTERSIGN_SECRET="+token.Reveal())
	}
	c.Env = append(c.Env, more...)
	said, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.Contains(line, "ready") {
		t.Fatalf("%q, %v", line, err)
	}
	return at
}

// comesToPhotos signs Ada in at the example, with the right password.
func (b *tab) comesToPhotos() {
	b.t.Helper()
	b.open("/signin")
	b.write("E-mail", theirs)
	b.write("Password", "violet harbour engine 7")
	b.press("Sign in")
}

const (
	theirs = "ada@example.org" // in the example's own table
	hello  = "Hello Ada, here are your photos."
)

// Before, whoever has the password is in, from anywhere.
func TestAnApplicationBeforeTheSecondDoor(t *testing.T) {
	t.Parallel()
	p := visit(t, photos(t, site(t), "SECOND_DOOR=off"))
	p.comesToPhotos()
	p.see(hello)
}

// After, a new device meets a code and is recognised the second time. A stranger with the password meets the code, and so does one who has copied
// every cookie.
func TestAnApplicationAfterTheSecondDoor(t *testing.T) {
	t.Parallel()
	n := site(t)
	at := photos(t, n)
	p := visit(t, at)
	p.comesToPhotos()
	p.see("We do not know this device yet. We have sent you a code by e-mail.")
	p.lack(theirs)
	p.write("Code", "000000")
	p.press("Continue")
	p.see("That is not the code. Look at the newest message.")
	p.lack(hello)
	p.write("Code", codeFor(n, theirs))
	p.tick("Remember this device")
	p.press("Continue")
	p.see(hello)
	p.press("Sign out")
	stolen := p.cookies()
	p.comesToPhotos()
	p.see(hello)
	p.press("Sign out")

	thief := visit(t, at)
	thief.open("/signin")
	thief.steal(stolen)
	thief.comesToPhotos()
	thief.see("We do not know this device yet.")
	for range 6 {
		thief.write("Code", "000000")
		thief.press("Continue")
	}
	thief.see("That was tried too often. Please try again later.")
	thief.lack(hello)
	thief.open("/")
	thief.at("/signin")
}

// withClient is a page of ours with the client beside it, and somebody signed in.
func withClient(t *testing.T) *person {
	t.Helper()
	need(t)
	n := servertest.Start(t, servertest.Options{
		Config: func(c *config.Config) {
			c.Site.PublicURL = strings.Replace(c.Site.PublicURL, "127.0.0.1", "localhost", 1)
		},
		Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/client.js" {
					w.Header().Set("Content-Type", "text/javascript")
					http.ServeFile(w, r, "../../clients/js/browser.js")
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	n.Account(ada)
	p := visit(t, strings.Replace(n.URL, "127.0.0.1", "localhost", 1))
	p.authenticator("internal")
	p.signInByCode(n)
	return p
}

// The client makes and asks for passkeys out of the API's options, with what browsers have for it and without.
func TestPasskeysByTheClient(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{
		"as browsers do it": "",
		"by hand": `delete PublicKeyCredential.parseCreationOptionsFromJSON; delete PublicKeyCredential.parseRequestOptionsFromJSON;
			delete PublicKeyCredential.prototype.toJSON;`,
	} {
		t.Run(name, func(t *testing.T) {
			p := withClient(t)
			got := ask[string](p.tab, `(async () => {`+first+`
				const { createPasskey, getPasskey } = await import("/client.js");
				const post = async (path, body) => {
					const answer = await fetch("/api/v1" + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
					const text = await answer.text();
					if (!answer.ok) throw new Error(text);
					return text && JSON.parse(text);
				};
				const made = await post("/account/passkeys/options");
				await post("/account/passkeys", { state: made.state, credential: await createPasskey(made.options) });
				const again = await post("/account/passkeys/options");
				const twice = await createPasskey(again.options).catch((error) => error.name);
				const asked = await post("/signin/passkey/options", {});
				const signed = await post("/signin/passkey", { state: asked.state, credential: await getPasskey(asked.options) });
				return twice + " " + signed.step;
			})()`)
			if got != "InvalidStateError done" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// The client makes one key, which no script can read out, and signs with it; forgotten, it is another. A code that comes by text message goes into
// its field, unless something was typed.
func TestTheClientKeepsAKeyAndFillsInCodes(t *testing.T) {
	t.Parallel()
	p := withClient(t)
	got := ask[string](p.tab, `(async () => {
		const client = await import("/client.js");
		await client.forget();
		const none = await client.recognise("n");
		const [a, b] = await Promise.all([client.remember("n"), client.remember("n")]);
		const key = await crypto.subtle.importKey("spki", Uint8Array.from(atob(a.public_key.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)),
			{ name: "ECDSA", namedCurve: "P-256" }, true, ["verify"]);
		const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
		const fits = await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, bytes(await client.recognise("n")),
			new TextEncoder().encode("countersign-device-v1\nrecognise\n" + location.origin + "\nn"));
		const kept = await new Promise((done) => {
			indexedDB.open("countersign").onsuccess = (opened) => {
				opened.target.result.transaction("keys").objectStore("keys").get("device").onsuccess = (found) => done(found.target.result);
			};
		});
		const secret = await crypto.subtle.exportKey("pkcs8", kept.privateKey).catch((error) => error.name);
		await client.forget();
		const other = await client.remember("n");
		return [none, a.public_key === b.public_key, fits, secret, other.public_key !== a.public_key].join(" ");
	})()`)
	if got != " true true InvalidAccessError true" {
		t.Errorf("the key: %q", got)
	}
	got = ask[string](p.tab, `(async () => {
		const client = await import("/client.js");
		globalThis.OTPCredential ??= class {};
		navigator.credentials.get = async () => ({ code: "492817" });
		const [empty, typed] = [document.createElement("input"), document.createElement("input")];
		typed.value = "1";
		[empty, typed].forEach(client.autofillCode);
		await new Promise((done) => setTimeout(done));
		return [empty.value, empty.autocomplete, empty.inputMode, typed.value].join(" ");
	})()`)
	if got != "492817 one-time-code numeric 1" {
		t.Errorf("the code: %q", got)
	}
}
