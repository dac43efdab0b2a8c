package browser_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"countersign/internal/testkit/servertest"
)

// focused waits until the focus is on what bears the name, and seen to be there.
func (b *tab) focused(name string) {
	b.t.Helper()
	got := focus{}
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) { // between two looks
		if got = b.focus(); got == (focus{Name: name, Visible: true}) {
			return
		}
	}
	b.t.Errorf("the focus is on %+v, not seen to be on %q", got, name)
}

// focus is where the keyboard is.
type focus struct {
	Name    string
	Visible bool // as an outline that is seen
}

func (b *tab) focus() focus {
	b.t.Helper()
	return ask[focus](b, `(() => {
		const e = document.activeElement, style = getComputedStyle(e);
		return {
			Name: e.labels?.length ? name(e.labels[0]) : e.id || name(e),
			Visible: e.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && shown(e),
		};
	})()`)
}

// tabTo presses Tab until the focus is on what bears the name; what it passes must show the focus too.
func (b *tab) tabTo(name string) {
	b.t.Helper()
	for range 30 {
		b.keys(kb.Tab)
		f := b.focus()
		if !f.Visible {
			b.t.Errorf("the focus on %q cannot be seen", f.Name)
		}
		if f.Name == name {
			return
		}
	}
	b.t.Fatalf("Tab never comes to %q", name)
}

// WCAG 2.1.1, 2.4.3, 2.4.7: nobody needs a mouse.
func TestSignInByKeyboardAlone(t *testing.T) {
	t.Parallel()
	n := site(t)
	p := visit(t, n.URL)
	p.open("/signin")
	p.keys(kb.Tab)
	p.focused("Skip to the main part")
	p.keys(kb.Enter)
	p.tabTo(name)
	p.keys(ada)
	p.tabTo(password)
	p.keys("not the password")
	p.turnPage("Enter", func() { p.keys(kb.Enter) })
	p.see("There is a problem")
	p.focused("problem")
	p.tabTo(password)
	p.keys(servertest.Password)
	p.tabTo("Show password")
	p.keys(" ")
	p.see("Hide password")
	p.tabTo("Sign in")
	p.turnPage("Enter", func() { p.keys(kb.Enter) })

	p.see("Enter the code")
	p.focused(code)
	p.keys("12")
	p.turnPage("Enter", func() { p.keys(kb.Enter) })
	p.see("That code is not right")
	p.focused("problem")
	p.tabTo(code)
	p.keys(codeFor(n, ada))
	p.tabTo(rememberMe)
	p.keys(" ")
	p.turnPage("Enter", func() { p.keys(kb.Enter) })
	p.see("Where you are signed in")

	p.tabTo("End all, this one too") // and away from it again
	p.tabTo("Forget " + deviceName(p))
	p.keys(kb.Enter)
	p.tabTo("Yes, forget it")
	p.turnPage("Enter", func() { p.keys(kb.Enter) })
	p.see("The device is forgotten.")
	p.tabTo("Sign out")
	p.turnPage("Enter", func() { p.keys(kb.Enter) })
	p.see("You are signed out.")
	if title := ask[string](p.tab, `document.title`); !strings.HasPrefix(title, "Sign in") {
		t.Errorf("the title is %q", title)
	}
}
