package pages

import (
	"net/http"
	"strings"
	"testing"
)

// Every page of the signed-in leads to the others and says which one it is; nobody else sees where they could go.
func TestTheNavigationIsForTheSignedIn(t *testing.T) {
	for name, page := range shots(t, testPages(t)) {
		signedIn := strings.Contains(page, `action="/signout"`) && strings.Contains(page, `class="wide"`)
		if got := strings.Count(page, `<nav class="places"`); (got == 1) != signedIn {
			t.Errorf("%s: %d navigations", name, got)
		}
		if got := strings.Count(page, `aria-current="page"`); (got == 1) != signedIn {
			t.Errorf("%s: %d places are this one", name, got)
		}
	}
}

func TestTheNavigationLeadsToPagesThatExist(t *testing.T) {
	for _, p := range places {
		res, body := answer(door(t, &desk{}), get(p.Path))
		if res.StatusCode != http.StatusOK || !strings.Contains(body, `<a href="`+p.Path+`" aria-current="page">`) {
			t.Errorf("%s: %s, and the page must say that it is this one", p.Path, res.Status)
		}
	}
}
