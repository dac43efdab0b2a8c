package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a body may nest; the deepest of ours has two levels.
const maxDepth = 8

// strict reports whether body is one JSON object that every reader understands alike (A-1.5.3,
// UTF-8, no name twice, names in lower case only (encoding/json ignores case, others do
// not), no NUL, no half of a surrogate pair, nothing after it, not nested deeply.
func strict(body []byte) bool {
	if !utf8.Valid(body) || !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if !value(d, 0) {
		return false
	}
	_, err := d.Token()
	return errors.Is(err, io.EOF)
}

// value reads one value.
func value(d *json.Decoder, depth int) bool {
	t, err := d.Token()
	if err != nil || depth > maxDepth {
		return false
	}
	switch v := t.(type) {
	case string:
		return clean(v)
	case json.Delim:
		if v == '{' {
			return object(d, depth)
		}
		for d.More() {
			if !value(d, depth+1) {
				return false
			}
		}
		_, err := d.Token()
		return err == nil
	}
	return true
}

// object reads the rest of an object.
func object(d *json.Decoder, depth int) bool {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok || seen[name] || !lower(name) || !value(d, depth+1) {
			return false
		}
		seen[name] = true
	}
	_, err := d.Token()
	return err == nil
}

// clean refuses NUL, and the replacement character that half a surrogate pair turns into.
func clean(s string) bool { return !strings.ContainsAny(s, "\x00\uFFFD") }

func lower(name string) bool {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return name != ""
}
