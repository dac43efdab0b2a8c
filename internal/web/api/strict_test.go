package api

import (
	"strings"
	"testing"
)

// a body that two readers could read differently is refused.
func TestOnlyOneReadingOfABody(t *testing.T) {
	for body, want := range map[string]bool{
		`{"flow":"x"}`:                        true,
		" \r\n\t{ } \n":                       true,
		`{"a":{"b":[1,true,null,"é\u00e9"]}}`: true,
		`{"a":"\ud83d\ude00"}`:                true,
		`{"a":{"x":1},"b":{"x":1}}`:           true,

		``:                             false,
		`null`:                         false,
		`"text"`:                       false,
		`[{"flow":"x"}]`:               false,
		`{"flow":"x"`:                  false,
		`{"flow":"x"}}`:                false,
		`{"flow":"x"} {"flow":"y"}`:    false,
		`{"flow":"x"} x`:               false,
		`{"flow":"x",}`:                false,
		`{'flow':'x'}`:                 false,
		`{"flow":"x","flow":"y"}`:      false,
		`{"flow":"x","fl\u006fw":"y"}`: false,
		`{"a":{"x":1,"x":2}}`:          false,
		`{"a":[{"x":1,"x":2}]}`:        false,
		`{"Flow":"x"}`:                 false,
		`{"FLOW":"x","flow":"y"}`:      false,
		`{"flo\u017f":"x"}`:            false, // ſ folds to s
		`{"":1}`:                       false,
		`{"a":"x\u0000y"}`:             false,
		"{\"a\":\"x\x00y\"}":           false,
		"{\"a\":\"\xff\"}":             false,
		"\xef\xbb\xbf{}":               false,
		`{"a":"\ud83d"}`:               false,
		`{"a":01}`:                     false,
		`{"a":NaN}`:                    false,
		`{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`: false,
		strings.Repeat(`{"a":`, 20) + `1` + strings.Repeat(`}`, 20):               false,
	} {
		if got := strict([]byte(body)); got != want {
			t.Errorf("strict(%.60q) = %t", body, got)
		}
	}
}

func FuzzStrict(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"c"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		strict(body) // does not panic or hang
	})
}
