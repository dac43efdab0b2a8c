package api

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"countersign/internal/subscriber"
)

// Every type of event is in the description, with the fields that it may have and no other, and nothing else is.
func TestEveryEventIsDescribed(t *testing.T) {
	doc, _ := described(t)
	hooks, _ := doc["webhooks"].(map[string]any)
	in := func(v any, path ...string) any {
		for _, step := range path {
			at, _ := v.(map[string]any)
			v = at[step]
		}
		return v
	}
	for _, want := range subscriber.Types() {
		kind := string(want.Kind)
		post := in(hooks, kind, "post")
		if in(post, "summary") != want.Says {
			t.Errorf("%s: %v", kind, in(post, "summary"))
		}
		body := in(post, "requestBody", "content", "application/json", "schema", "properties")
		if in(body, "type", "const") != kind {
			t.Errorf("%s says it is %v", kind, in(body, "type"))
		}
		detail, _ := in(body, "data", "properties", "detail", "properties").(map[string]any)
		if fields := strings.Fields(want.Fields); !slices.Equal(slices.Sorted(maps.Keys(detail)), slices.Sorted(slices.Values(fields))) {
			t.Errorf("%s has %v, want %v", kind, detail, fields)
		}
		delete(hooks, kind)
	}
	if len(hooks) > 0 {
		t.Errorf("there are no such types: %v", slices.Collect(maps.Keys(hooks)))
	}
}
