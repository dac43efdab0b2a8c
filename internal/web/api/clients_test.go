package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the description that clients/js has its types from")

// The types of clients/js are of the API as it is: its description is kept beside them, and they say which they were made of. Nothing but Go is needed to
// see that, and npm to make them anew.
//
//	go test ./internal/web/api -run TestTheClientsTypes -update && (cd clients/js && npm ci && npm run types)
func TestTheClientsTypesAreOfThisAPI(t *testing.T) {
	const dir = "../../../clients/js/"
	doc, _ := described(t)
	want, err := json.MarshalIndent(forClients(doc), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(dir+"openapi.json", want, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	kept, err := os.ReadFile(dir + "openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, want) {
		t.Fatal("clients/js/openapi.json is stale: see above how it is written anew, and the types from it")
	}
	types, err := os.ReadFile(dir + "api.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := strings.Cut(string(types), "\n"); first != fmt.Sprintf("// Generated from openapi.json, %x.", sha256.Sum256(kept)) {
		t.Error("clients/js/api.d.ts is of another openapi.json: cd clients/js && npm ci && npm run types")
	}
}

// forClients is what an application's server calls: the second door and the session's, and what they refer to.
func forClients(doc map[string]any) map[string]any {
	paths := map[string]any{}
	for path, item := range doc["paths"].(map[string]any) {
		if strings.HasPrefix(path, "/api/v1/door/") || path == "/api/v1/session" {
			paths[path] = item
		}
	}
	components, parts := map[string]any{}, doc["components"].(map[string]any)
	var look func(any)
	look = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				look(one)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				words := strings.Split(strings.TrimPrefix(ref, "#/components/"), "/")
				kind, name := words[0], words[1]
				if components[kind] == nil {
					components[kind] = map[string]any{}
				}
				if into := components[kind].(map[string]any); into[name] == nil {
					into[name] = parts[kind].(map[string]any)[name]
					look(into[name])
				}
			}
			for _, one := range v {
				look(one)
			}
		}
	}
	look(paths)
	components["securitySchemes"] = parts["securitySchemes"]
	// The list of all codes is docs/errors.md's: it grows with calls that these applications do not make.
	delete(parts["schemas"].(map[string]any)["Problem"].(map[string]any)["properties"].(map[string]any)["code"].(map[string]any), "enum")
	return map[string]any{"openapi": doc["openapi"], "info": doc["info"], "paths": paths, "components": components}
}
