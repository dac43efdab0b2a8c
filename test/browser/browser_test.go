// Package browser_test is people at their browsers: real headless Chromium against a whole
// node. A story reads like what a person does: open, type, press, see.
//
// Everything waits for a state and nothing for a time. Whatever a page complains about in the
// console, a policy that stopped something included, fails the test that opened it.
package browser_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// patience is how long a state may take to come; a busy machine needs most of it.
const patience = 30 * time.Second

// person is somebody's browser with a profile of its own and one tab open.
type person struct {
	*tab

	process context.Context
	profile cdp.BrowserContextID // empty: the one the process started with
	folder  string
	flags   []chromedp.ExecAllocatorOption
	quit    func()
}

// tab is one page of a browser.
type tab struct {
	t    testing.TB
	site string
	ctx  context.Context

	mu         sync.Mutex
	complaints []string
}

// TestMain closes the browser that the tests share.
func TestMain(m *testing.M) {
	status := m.Run()
	if quit != nil {
		quit()
	}
	os.Exit(status)
}

// One process serves all tests: a profile off the record costs a hundredth of a process.
var (
	shared = sync.OnceValues(func() (context.Context, error) {
		ctx, stop, err := launch("", nil, []chromedp.ExecAllocatorOption{chromedp.ExecPath(shell())})
		quit = stop
		return ctx, err
	})
	quit func()
)

// launch starts a browser on a profile in a folder, a passing one if that is empty.
func launch(folder string, listen func(any), flags []chromedp.ExecAllocatorOption) (ctx context.Context, quit func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], //nolint:gocritic // a copy: the array is the library's
		chromedp.ExecPath(chromium()), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("accept-lang", "en-GB,en"), chromedp.Flag("hide-scrollbars", false))
	options = append(options, flags...)
	if folder != "" {
		options = append(options, chromedp.UserDataDir(folder))
	}
	// Not a test's context: it ends before the clean-up, and Chromium would be killed while it writes its profile.
	allocator, forget := chromedp.NewExecAllocator(context.Background(), options...)
	var more []chromedp.ContextOption
	if listen != nil {
		more = append(more, chromedp.WithListener(listen))
	}
	ctx, cancel := chromedp.NewContext(allocator, more...)
	quit = sync.OnceFunc(func() {
		closing, late := context.WithTimeout(ctx, patience)
		defer late()
		_ = chromedp.Cancel(closing) // a browser that crashed has failed a test already
		cancel()
		forget()
	})
	if err := chromedp.Do(ctx); err != nil {
		quit()
		return nil, nil, err
	}
	return ctx, quit, nil
}

// visit opens a new profile, for the site whose public URL is given. It is forgotten with the test.
func visit(t testing.TB, site string) *person {
	t.Helper()
	need(t)
	process, err := shared()
	if err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	p := &person{process: process}
	p.tab = openTab(t, site, process, chromedp.WithNewBrowserContext())
	p.profile = chromedp.FromContext(p.ctx).BrowserContextID
	return p
}

// settle opens a browser of its own with a profile on disk, which stays when the browser is closed.
func settle(t testing.TB, site string, flags ...chromedp.ExecAllocatorOption) *person {
	t.Helper()
	need(t)
	p := &person{folder: t.TempDir(), flags: flags}
	p.start(t, site)
	return p
}

func (p *person) start(t testing.TB, site string) {
	t.Helper()
	b := &tab{t: t, site: site}
	flags := p.flags
	if len(flags) == 0 {
		flags = []chromedp.ExecAllocatorOption{chromedp.ExecPath(shell())}
	}
	ctx, quit, err := launch(p.folder, b.listen, flags)
	if err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	t.Cleanup(quit)
	b.ctx = ctx
	p.tab, p.process, p.quit = b, ctx, quit
	b.begin()
}

// restart closes the browser, as people do at night, and opens it again with the same profile.
func (p *person) restart() {
	p.t.Helper()
	p.quit()
	p.start(p.t, p.site)
}

// anotherTab opens a second tab on the same profile.
func (p *person) anotherTab() *tab {
	p.t.Helper()
	if p.profile == "" {
		return openTab(p.t, p.site, p.process)
	}
	return openTab(p.t, p.site, p.process, chromedp.WithExistingBrowserContext(p.profile))
}

func openTab(t testing.TB, site string, process context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t, site: site}
	ctx, cancel := chromedp.NewContext(process, append(options, chromedp.WithListener(b.listen))...)
	b.ctx = ctx
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	b.begin()
	return b
}

// begin makes the tab one that somebody sits before, and has it fail the test at the end if it complained.
func (b *tab) begin() {
	b.t.Helper()
	call(b, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	b.screen(1000, 800)
	b.check()
}

// screen gives the tab a size.
func (b *tab) screen(width, height int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
}

func chromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// shell is Chromium without its own windows and menus, which take half of the time that a page does and that no page sees; or all of it.
func shell() string {
	path, err := exec.LookPath("chromium-headless-shell")
	if err != nil {
		return chromium()
	}
	return path
}

// need skips the test without a browser, but fails it in CI: there, a skip would hide all of these tests.
func need(t testing.TB) {
	t.Helper()
	if chromium() == "" {
		missing(t, "Chromium")
	}
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("no %s: run scripts/install-test-tools", what)
	}
	t.Skipf("no %s: scripts/install-test-tools installs it", what)
}

// check fails the test when it ends if the tab had reason to complain.
func (b *tab) check() {
	b.t.Cleanup(func() {
		for _, c := range b.complained() {
			b.t.Errorf("the browser complained: %s", c)
		}
	})
}

func (b *tab) complained() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.complaints
}

// listen runs between the tab's messages: it must be quick and call nothing.
func (b *tab) listen(event any) {
	var said string
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning || b.refused(e.Entry) {
			return
		}
		said = fmt.Sprintf("%s (%s) at %s", e.Entry.Text, e.Entry.Source, e.Entry.URL)
	case *runtime.EventExceptionThrown:
		said = "uncaught: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			said += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type != runtime.ConsoleAPICalledTypeError && e.Type != runtime.ConsoleAPICalledTypeWarning {
			return
		}
		said = "console." + string(e.Type)
		for _, a := range e.Args {
			said += " " + string(a.Value) + a.Description
		}
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, said)
}

// refused says that an entry only notes that a page of ours had a status of 4xx, as it is to have
// when a form is refused. A file that a page needs must never have one.
func (b *tab) refused(e *log.Entry) bool {
	return e.Source == log.EntrySourceNetwork && strings.Contains(e.Text, "status of 4") && !strings.HasPrefix(e.URL, b.site+"/assets/")
}

// library is what the driver knows about pages: names of things as people read them.
const library = `
	const tidy = (s) => s.replace(/\s+/g, " ").trim();
	const shown = (e) => e.checkVisibility({ visibilityProperty: true });
	const name = (e) => {
		const copy = e.cloneNode(true);
		copy.querySelectorAll("[aria-hidden=true], input").forEach((x) => x.remove());
		return tidy(copy.textContent);
	};
	const one = (what, all) => {
		if (all.length !== 1) throw new Error(all.length + " of " + what);
		return all[0];
	};
	const button = (n) => one("button " + n, [...document.querySelectorAll("button, a, summary")].filter((e) => shown(e) && name(e) === n));
	const field = (n) => one("field " + n, [...document.querySelectorAll("label")].filter((e) => shown(e) && name(e) === n)).control;
	const hit = (e) => {
		e.scrollIntoView({ block: "center", behavior: "instant" });
		const box = e.getBoundingClientRect();
		const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
		const top = document.elementFromPoint(at.x, at.y);
		if (e.disabled) throw new Error("switched off: " + name(e));
		if (!e.contains(top)) throw new Error("covered by " + top?.outerHTML.slice(0, 80));
		return at;
	};
	const text = () => tidy(document.body.innerText);
`

// evaluate runs an expression in whatever page the tab shows now, waits for it if it is a
// promise, and decodes its value.
func evaluate[T any](b *tab, expression string) (value T, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	res, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{
		Expression: "(() => {" + library + "return (" + expression + ")})()", ReturnByValue: new(true), AwaitPromise: new(true), UserGesture: new(true),
	})
	if err != nil {
		return value, err
	}
	if e := res.ExceptionDetails; e != nil {
		if e.Exception == nil {
			return value, errors.New(e.Text)
		}
		return value, errors.New(e.Exception.Description)
	}
	if len(res.Result.Value) == 0 {
		return value, nil // undefined
	}
	return value, json.Unmarshal(res.Result.Value, &value)
}

// ask evaluates an expression that must succeed.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	value, err := evaluate[T](b, expression)
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// await looks again and again until the expression is neither false nor an error. Pages come and go
// meanwhile, so an error only means "not yet".
func await[T comparable](b *tab, what, expression string) T {
	b.t.Helper()
	var no T
	var last error
	pause := 10 * time.Millisecond // between two looks, and longer each time: a look costs the browser work
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(pause) {
		pause = min(pause*3/2, 100*time.Millisecond)
		value, err := evaluate[T](b, expression)
		if err == nil && value != no {
			return value
		}
		last = err
	}
	page, _ := evaluate[string](b, `location.href + "\n" + document.title + "\n" + document.body.innerText`)
	b.t.Fatalf("%s: it never came (%v). The page:\n%s", what, last, page)
	return no
}

func quote(s string) string {
	raw, _ := json.Marshal(s) //nolint:errchkjson // a string
	return string(raw)
}

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

func call[P, R any](b *tab, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	res, err := chromedp.Call(ctx, command, params)
	if err != nil {
		b.t.Fatalf("%s: %v", command.Method, err)
	}
	return res
}

// open goes to a path of the site.
func (b *tab) open(path string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	err := chromedp.Do(ctx, chromedp.Navigate(b.site+path))
	for try := 0; try < 10 && err != nil && strings.Contains(err.Error(), "net::ERR_ABORTED"); try++ {
		time.Sleep(100 * time.Millisecond) // a form that sends itself is under way
		err = chromedp.Do(ctx, chromedp.Navigate(b.site+path))
	}
	if err != nil {
		b.t.Fatalf("open %s: %v", path, err)
	}
}

func (b *tab) reload() {
	b.t.Helper()
	b.turnPage("reload", func() { b.do("reload", chromedp.Reload()) })
}

// back presses the browser's back button.
func (b *tab) back() {
	b.t.Helper()
	b.turnPage("back", func() { b.do("go back", chromedp.NavigateBack()) })
}

// see waits until the page shows the words.
func (b *tab) see(words string) {
	b.t.Helper()
	await[bool](b, "see "+quote(words), `text().includes(`+quote(words)+`)`)
}

// lack makes sure that the page, which must be there already, does not show the words.
func (b *tab) lack(words string) {
	b.t.Helper()
	if text := ask[string](b, `text()`); strings.Contains(text, words) {
		b.t.Errorf("the page shows %q:\n%s", words, text)
	}
}

// at waits until the tab is at a path.
func (b *tab) at(path string) {
	b.t.Helper()
	await[bool](b, "be at "+path, `location.pathname === `+quote(path)+` && document.readyState === "complete"`)
}

// click clicks what bears the name: a button, a link, or what opens a question.
func (b *tab) click(name string) {
	b.t.Helper()
	b.clickOn(`button(` + quote(name) + `)`)
}

func (b *tab) clickOn(element string) {
	b.t.Helper()
	type point struct{ X, Y float64 }
	at := await[point](b, "click", `hit(`+element+`)`)
	b.do("click", chromedp.MouseClickXY(at.X, at.Y))
}

// press clicks a button that leads on, and waits for what it leads to.
func (b *tab) press(name string) {
	b.t.Helper()
	b.turnPage("press "+name, func() { b.click(name) })
}

// turnPage waits until the main part of the page, or the page, is another than before.
func (b *tab) turnPage(what string, act func()) {
	b.t.Helper()
	await[bool](b, what, `document.readyState === "complete" && (document.querySelector("main").old = true)`)
	act()
	await[bool](b, what+": a new page", `document.readyState === "complete" && !document.querySelector("main")?.old`) // an application's own page may have none
}

// write replaces what the field of that label holds.
func (b *tab) write(label, text string) {
	b.t.Helper()
	b.clickOn(`field(` + quote(label) + `)`)
	ask[any](b, `field(`+quote(label)+`).select()`)
	call(b, input.InsertText, input.InsertTextParams{Text: text})
}

// tick ticks a box.
func (b *tab) tick(label string) {
	b.t.Helper()
	b.clickOn(`field(` + quote(label) + `)`)
	await[bool](b, label+" is ticked", `field(`+quote(label)+`).checked`)
}

// holds returns what a field holds.
func (b *tab) holds(label string) string {
	b.t.Helper()
	return ask[string](b, `field(`+quote(label)+`).value`)
}

// attribute returns an attribute of a field, empty if it has none.
func (b *tab) attribute(label, attribute string) string {
	b.t.Helper()
	return ask[string](b, `field(`+quote(label)+`).getAttribute(`+quote(attribute)+`) ?? ""`)
}

// keys presses keys, one after the other.
func (b *tab) keys(keys string) { b.t.Helper(); b.do("press keys", chromedp.KeyEvent(keys)) }

// noScript is a browser in which JavaScript is switched off. The driver still looks at its pages.
func (b *tab) noScript() {
	b.t.Helper()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// paste puts text on the clipboard and into the field by the keyboard.
func (p *person) paste(label, text string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for _, name := range []string{"clipboard-write", "clipboard-read"} {
		_, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: name}, Setting: browser.PermissionSettingGranted, Origin: p.site, BrowserContextID: p.profile,
		})
		if err != nil {
			p.t.Fatalf("allow the clipboard: %v", err)
		}
	}
	ask[any](p.tab, `navigator.clipboard.writeText(`+quote(text)+`)`)
	p.clickOn(`field(` + quote(label) + `)`)
	ask[any](p.tab, `field(`+quote(label)+`).select()`)
	call(p.tab, input.DispatchKeyEvent, input.DispatchKeyEventParams{
		Type: input.DispatchKeyEventTypeRawKeyDown, Key: "v", Code: "KeyV", WindowsVirtualKeyCode: 'V', Modifiers: 2, Commands: []string{"paste"},
	})
	call(p.tab, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyUp, Key: "v", Code: "KeyV", WindowsVirtualKeyCode: 'V'})
}

// cookies returns all cookies of the profile.
func (p *person) cookies() []*network.Cookie {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	got, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: p.profile})
	if err != nil {
		p.t.Fatalf("read the cookies: %v", err)
	}
	return got.Cookies
}

// steal puts somebody's cookies into this profile.
func (p *person) steal(cookies []*network.Cookie) {
	p.t.Helper()
	p.plant(cookies)
	if got := p.cookies(); len(got) < len(cookies) {
		p.t.Fatalf("planted %d cookies, the browser took %d", len(cookies), len(got))
	}
}

// plant puts cookies into this profile, beside those that it has.
func (p *person) plant(cookies []*network.Cookie) {
	p.t.Helper()
	var all []*network.CookieParam
	for _, c := range cookies {
		all = append(all, &network.CookieParam{
			Name: c.Name, Value: c.Value, URL: p.site, Path: c.Path, Secure: c.Secure, HTTPOnly: c.HTTPOnly, SameSite: c.SameSite,
		})
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.CallBrowser(ctx, storage.SetCookies, storage.SetCookiesParams{Cookies: all, BrowserContextID: p.profile}); err != nil {
		p.t.Fatalf("plant the cookies: %v", err)
	}
}
