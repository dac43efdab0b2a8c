package web_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/client"
	"countersign/internal/testkit"
	"countersign/internal/testkit/dbtest"
	"countersign/internal/web"
)

// appDoor is a door that asks what version calls: ios is refused below 3 and warned below 4.
func appDoor(t *testing.T, more string) (*door, *client.Service) {
	t.Helper()
	s := &client.Service{DB: dbtest.SQLite(t), Audit: &audit.Log{Ring: testkit.Ring(t)}}
	d := newDoor(t, "https://id.example.org")
	d.Apps = &web.Apps{Clients: s, More: more, Say: func(*http.Request) (string, string) { return "de", "Zu alt." }}
	d.Mux.HandleFunc("POST /api/v1/things/{id}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	warn, err1 := client.ParseBound("4")
	refuse, err2 := client.ParseBound("3")
	sunset := s.DB.Now().Add(24 * time.Hour)
	_, err3 := s.Set(t.Context(), "ios", client.Change{WarnBelow: &warn, RefuseBelow: &refuse, Sunset: &sunset})
	if err1 != nil || err2 != nil || err3 != nil || s.Poll(t.Context()) != nil {
		t.Fatal(err1, err2, err3)
	}
	now := s.DB.Now()
	d.Now = func() time.Time { return now }
	return d, s
}

func TestAnAppThatIsTooOldIsToldSo(t *testing.T) {
	d, s := appDoor(t, "")
	res := d.do("POST", "https://id.example.org/api/v1/things/7", "", "Countersign-Client", "ios/2.9")
	for name, want := range map[string]string{
		"Upgrade": "ios/3", "Connection": "Upgrade", "Content-Language": "de", "Vary": "Accept-Language", "Content-Type": "application/problem+json; charset=utf-8",
		"Deprecation": "", "Sunset": "", "Link": "",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	body := text(t, res)
	want := `{"type":"urn:countersign:error:client_outdated","title":"This version of the application is not accepted any more","status":426,"code":"client_outdated","detail":"Zu alt.","request_id":"`
	if res.StatusCode != http.StatusUpgradeRequired || !strings.HasPrefix(body, want) {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	// It is counted under the call it would have been.
	d.do("POST", "https://id.example.org/api/v1/nothing", "", "Countersign-Client", "ios/2.9")
	d.do("POST", "https://id.example.org/api/v1/nothing", "", "Countersign-Client", "ios/4")
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	used, err := s.Usage(t.Context(), "ios")
	if err != nil || len(used) != 3 || used[0].Version != "4" || used[1].Route != "POST /api/v1/things/{id}" || used[1].Refused != 1 || used[2].Route != "POST unmatched" {
		t.Errorf("%+v %v", used, err)
	}
}

// RFC 9113, 8.2.2: no such header in HTTP/2, where some clients take the answer for a fault. HTTP/1.0 has no upgrade.
func TestTheUpgradeHeaderIsOfHTTP11(t *testing.T) {
	d, _ := appDoor(t, "")
	for _, version := range [][2]int{{1, 0}, {1, 1}, {2, 0}, {3, 0}} {
		r := httptest.NewRequest("POST", "https://id.example.org/api/v1/things/7", nil)
		r.ProtoMajor, r.ProtoMinor = version[0], version[1]
		r.Header.Set("Countersign-Client", "ios/1")
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		if has := w.Header().Get("Upgrade") != "" || w.Header().Get("Connection") != ""; has != (version == [2]int{1, 1}) || w.Code != http.StatusUpgradeRequired {
			t.Errorf("HTTP/%v: %d %v", version, w.Code, w.Header())
		}
	}
}

// RFC 9745, RFC 8594: whoever will be refused is told since when, from when, and where to read more.
func TestAnAppThatWillBeTooOldIsWarned(t *testing.T) {
	d, s := appDoor(t, "https://example.org/old%20apps")
	res := d.do("POST", "https://id.example.org/api/v1/things/7", "", "Countersign-Client", "ios/3.1")
	since := s.DB.Now()
	if got := res.Header.Get("Deprecation"); res.StatusCode != http.StatusNoContent || got != "@"+strconv.FormatInt(since.Unix(), 10) {
		t.Errorf("%d Deprecation %q", res.StatusCode, got)
	}
	if got := res.Header.Get("Sunset"); got != since.Add(24*time.Hour).Format(http.TimeFormat) {
		t.Errorf("Sunset %q", got)
	}
	if got := strings.Join(res.Header["Link"], ", "); got != `<https://example.org/old%20apps>; rel="deprecation", <https://example.org/old%20apps>; rel="sunset"` {
		t.Errorf("Link %q", got)
	}
	for _, fine := range []string{"ios/4", "android/1"} {
		res := d.do("POST", "https://id.example.org/api/v1/things/7", "", "Countersign-Client", fine)
		if res.StatusCode != http.StatusNoContent || res.Header.Get("Deprecation")+res.Header.Get("Sunset")+res.Header.Get("Link") != "" {
			t.Errorf("%s: %d %v", fine, res.StatusCode, res.Header)
		}
	}
	// A page is for whoever comes.
	if res := d.do("GET", "https://id.example.org/fine", "", "Countersign-Client", "ios/1"); res.StatusCode != http.StatusOK || res.Header.Get("Deprecation") != "" {
		t.Errorf("a page: %d", res.StatusCode)
	}
}
