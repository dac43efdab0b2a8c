//go:build demo

package browser_test

import (
	"flag"
	"testing"
)

var demo = flag.String("demo", "", "try the running demo at this URL")

// The demo as its first page tells it. It is for whoever wants to see it happen:
//
//	countersign demo &
//	go test -tags demo ./test/browser -run TestDemo -demo http://localhost:8080 -gallery /tmp/demo
func TestDemo(t *testing.T) {
	p := visit(t, *demo)
	phone := p.anotherTab()
	shot := func(b *tab, name string) {
		if *every != "" {
			b.capture(*every, name, 1000)
		}
	}
	p.open("/demo")
	who, secret := ask[string](p.tab, `document.querySelectorAll(".rows code")[0].textContent`), ask[string](p.tab, `document.querySelectorAll(".rows code")[1].textContent`)
	shot(p.tab, "1-demo")
	phone.open("/demo/inbox")
	p.open("/signin")
	p.signIn(who, secret)
	p.see("Enter the code")
	shot(p.tab, "2-asked")
	phone.see("Copy code") // it came by itself
	shot(phone, "3-phone")
	p.write(code, ask[string](phone, `document.querySelector(".phone .grab code").textContent`))
	p.tick(rememberMe)
	p.press("Continue")
	p.see("This device")
	shot(p.tab, "4-home")
	stolen := p.cookies()
	p.press("Sign out")
	p.signIn(who, secret)
	p.see("password, remembered device")
	shot(p.tab, "5-password-alone")

	thief := visit(t, *demo)
	thief.open("/signin")
	thief.steal(stolen)
	thief.open("/signin")
	thief.at("/signin") // the session was stolen too, but ended when its owner signed out
	thief.signIn(who, secret)
	thief.see("Enter the code")
	shot(thief.tab, "6-copied-cookie")
}
