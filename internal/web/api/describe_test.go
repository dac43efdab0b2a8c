package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign/internal/signin"
	"countersign/internal/web"
)

// described returns the description as it is served, and the routes that are mounted.
func described(t *testing.T) (doc map[string]any, served http.Handler) {
	t.Helper()
	h := &API{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Public: "https://id.example.org",
		Client: func(*http.Request) signin.Client { return signin.Client{} },
	}
	mux := http.NewServeMux()
	h.Mount(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/openapi.json", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc, mux
}

// P-9.3: the rules of OpenAPI 3.1 that this description could break.
func TestTheDescriptionIsValid(t *testing.T) {
	doc, _ := described(t)
	if v, _ := doc["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi %q", v)
	}
	components := doc["components"].(map[string]any)
	schemes := components["securitySchemes"].(map[string]any)
	ids := map[string]bool{}
	for path, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			op := op.(map[string]any)
			name := strings.ToUpper(method) + " " + path
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s: operationId %q is missing or not unique", name, id)
			}
			ids[id] = true
			for _, key := range []string{"summary", "description", "responses", "tags"} {
				if op[key] == nil {
					t.Errorf("%s has no %s", name, key)
				}
			}
			responses, _ := op["responses"].(map[string]any)
			for status, r := range responses {
				if d, _ := r.(map[string]any)["description"].(string); d == "" {
					t.Errorf("%s: answer %s has no description", name, status)
				}
			}
			var declared []string
			params, _ := op["parameters"].([]any)
			for _, p := range params {
				if p := p.(map[string]any); p["in"] == "path" && p["required"] == true {
					declared = append(declared, "{"+p["name"].(string)+"}")
				}
			}
			if want := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1); !slices.Equal(declared, want) {
				t.Errorf("%s: path parameters %v, declared %v", name, want, declared)
			}
			security, _ := op["security"].([]any)
			for _, s := range security {
				for scheme := range s.(map[string]any) {
					if schemes[scheme] == nil {
						t.Errorf("%s: there is no security scheme %s", name, scheme)
					}
				}
			}
		}
	}
	references(t, doc, doc)
}

// references checks that every $ref leads somewhere.
func references(t *testing.T, doc map[string]any, at any) {
	switch v := at.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			var to any = doc
			for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ := to.(map[string]any)
				to = m[part]
			}
			if to == nil {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, sub := range v {
			references(t, doc, sub)
		}
	case []any:
		for _, sub := range v {
			references(t, doc, sub)
		}
	}
}

// I-05, P-9.1: what is served is described, and what is described is served, and nothing more.
func TestTheContractIsWhatIsServed(t *testing.T) {
	want := []string{
		"DELETE /api/v1/devices",
		"DELETE /api/v1/devices/{id}",
		"DELETE /api/v1/session",
		"DELETE /api/v1/sessions/{id}",
		"GET /api/v1/account/activity",
		"GET /api/v1/devices",
		"GET /api/v1/session",
		"GET /api/v1/sessions",
		"PATCH /api/v1/devices/{id}",
		"GET /api/v1/account",
		"GET /api/v1/account/addresses",
		"POST /api/v1/account/addresses",
		"POST /api/v1/account/addresses/send",
		"POST /api/v1/account/addresses/prove",
		"DELETE /api/v1/account/addresses/{id}",
		"PATCH /api/v1/account/addresses/{id}",
		"GET /api/v1/account/contacts",
		"POST /api/v1/account/contacts",
		"DELETE /api/v1/account/contacts/{id}",
		"POST /api/v1/account/saved-code",
		"DELETE /api/v1/account/saved-code",
		"POST /api/v1/account/review",
		"PATCH /api/v1/account",
		"POST /api/v1/account/data",
		"POST /api/v1/account/erase",
		"DELETE /api/v1/account/erase",
		"POST /api/v1/account/activity/{id}/notme",
		"POST /api/v1/account/password",
		"GET /api/v1/account/factors",
		"POST /api/v1/account/apps",
		"POST /api/v1/account/apps/{id}/confirm",
		"PATCH /api/v1/account/apps/{id}",
		"DELETE /api/v1/account/apps/{id}",
		"POST /api/v1/account/backup-codes",
		"POST /api/v1/sessions/end",
		"POST /api/v1/notme",
		"POST /api/v1/signin",
		"POST /api/v1/signin/again",
		"POST /api/v1/signin/approval",
		"POST /api/v1/signin/approval/enter",
		"GET /api/v1/account/approvals",
		"POST /api/v1/account/approvals/{id}",
		"POST /api/v1/account/approvals/{id}/refuse",
		"POST /api/v1/signin/code",
		"POST /api/v1/signin/code/send",
		"POST /api/v1/signin/code/sent",
		"POST /api/v1/signin/password",
		"POST /api/v1/recovery",
		"POST /api/v1/recovery/code",
		"POST /api/v1/recovery/contacts",
		"POST /api/v1/recovery/contacts/code",
		"POST /api/v1/recovery/old-password",
		"POST /api/v1/recovery/own-code",
		"POST /api/v1/recovery/password",
		"POST /api/v1/recovery/saved-code",
		"POST /api/v1/recovery/send",
		"POST /api/v1/recovery/state",
		"POST /api/v1/recovery/wait",
		"GET /api/v1/registration",
		"POST /api/v1/registration",
		"POST /api/v1/registration/code",
		"POST /api/v1/registration/finish",
		"POST /api/v1/registration/send",
		"POST /api/v1/stop",
		"DELETE /api/v1/account/passkeys/{id}",
		"PATCH /api/v1/account/passkeys/{id}",
		"POST /api/v1/account/passkeys",
		"PUT /api/v1/account/second-proof",
		"POST /api/v1/account/passkeys/options",
		"POST /api/v1/signin/again/passkey",
		"POST /api/v1/signin/again/passkey/options",
		"POST /api/v1/signin/passkey",
		"POST /api/v1/signin/passkey/options",
		"PUT /api/v1/door/accounts/{reference}",
		"DELETE /api/v1/door/accounts/{reference}",
		"GET /api/v1/door/accounts/{reference}/devices",
		"DELETE /api/v1/door/accounts/{reference}/devices",
		"DELETE /api/v1/door/accounts/{reference}/devices/{id}",
		"GET /api/v1/door/accounts/{reference}/factors",
		"POST /api/v1/door/accounts/{reference}/apps",
		"POST /api/v1/door/accounts/{reference}/apps/{id}/confirm",
		"POST /api/v1/door/accounts/{reference}/apps/{id}/remove",
		"POST /api/v1/door/accounts/{reference}/backup-codes",
		"POST /api/v1/door/begin",
		"POST /api/v1/door/device",
		"POST /api/v1/door/code/send",
		"POST /api/v1/door/code",
	}
	slices.Sort(want)
	doc, served := described(t)
	var got []string
	for path, item := range doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			got = append(got, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("described: %v", got)
	}
	mux := served.(*http.ServeMux)
	for _, name := range want {
		method, path, _ := strings.Cut(name, " ")
		r := httptest.NewRequest(method, strings.ReplaceAll(path, "{id}", "x"), nil)
		if _, pattern := mux.Handler(r); pattern != name {
			t.Errorf("%s is served by %q", name, pattern)
		}
	}
	for _, path := range []string{"/api/v1/docs", "/api/v1/schemas/Problem", "/api/v1/openapi", "/docs", "/openapi.json", "/schemas/Problem.json"} {
		if _, pattern := mux.Handler(httptest.NewRequest("GET", path, nil)); pattern != "" {
			t.Errorf("%s is served by %q", path, pattern)
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	doc, _ := described(t)
	for name, schema := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		properties, _ := schema.(map[string]any)["properties"].(map[string]any)
		for field, p := range properties {
			if p := p.(map[string]any); p["description"] == nil && p["$ref"] == nil {
				t.Errorf("%s.%s says nothing", name, field)
			}
		}
	}
}

func TestEveryCodeOfACallIsDescribed(t *testing.T) {
	doc, _ := described(t)
	text, _ := json.Marshal(doc)
	known := map[string]bool{}
	for _, c := range web.Codes() {
		known[c.Code] = true
	}
	for path, item := range doc["paths"].(map[string]any) {
		for method, op := range item.(map[string]any) {
			codes, _ := op.(map[string]any)["x-error-codes"].([]any)
			if len(codes) == 0 {
				t.Errorf("%s %s names no codes", method, path)
			}
			for _, code := range codes {
				if !known[code.(string)] {
					t.Errorf("%s %s: unknown code %s", method, path, code)
				}
			}
		}
	}
	if strings.Contains(string(text), "$schema") {
		t.Error("an answer carries $schema, which huma would build from the Host header")
	}
}

// What is said of a field names it: entries that whoever calls has named stand nowhere but in one field, which that knows (openField). AsksClaim is answered.
func TestWhereCallersNameEntries(t *testing.T) {
	doc, _ := described(t)
	for name, schema := range doc["components"].(map[string]any)["schemas"].(map[string]any) {
		properties, _ := schema.(map[string]any)["properties"].(map[string]any)
		for field, p := range properties {
			if _, open := p.(map[string]any)["additionalProperties"].(map[string]any); open && name+"."+field != "RegisterFinishInputBody.claims" && name != "AsksClaim" {
				t.Errorf("%s.%s", name, field)
			}
		}
	}
}
