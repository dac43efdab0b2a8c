package oidc

import (
	"bytes"
	"encoding/json"
	"strings"
)

// wanted is how a claim is asked for (OpenID Connect Core section 5.5.1).
type wanted struct {
	Essential bool     `json:"essential"`
	Value     *string  `json:"value"`
	Values    []string `json:"values"`
}

// all are the values of which one will do; none for any.
func (w wanted) all() []string {
	if w.Value != nil {
		return append([]string{*w.Value}, w.Values...)
	}
	return w.Values
}

// readClaims reads the parameter claims: acr and sub, as far as they say what has to be so. auth_time is always told. Everything else is left out,
// essential or not, as section 5.5.1 has it: what may be told is said by scopes, which people are asked about.
func (q *request) readClaims(text string) error {
	var asked struct {
		ID   map[string]json.RawMessage `json:"id_token"`
		Info map[string]json.RawMessage `json:"userinfo"`
	}
	if !strings.HasPrefix(strings.TrimSpace(text), "{") || json.Unmarshal([]byte(text), &asked) != nil {
		return oauth(invalidRequest, "claims is no JSON object of id_token and userinfo")
	}
	for _, where := range []map[string]json.RawMessage{asked.ID, asked.Info} {
		for name, raw := range where {
			if !bytes.HasPrefix(raw, []byte("{")) && !bytes.Equal(raw, []byte("null")) {
				return oauth(invalidRequest, "in claims each is null or a JSON object")
			}
			if name != "acr" && name != "sub" {
				continue
			}
			var w wanted
			if json.Unmarshal(raw, &w) != nil {
				return oauth(invalidRequest, "in claims acr or sub is not asked for as it can be")
			}
			if err := q.want(name, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// want takes a wish about acr or sub. An essential acr whose values are none of ours is one that nobody can prove (section 5.5.1.1).
func (q *request) want(name string, w wanted) error {
	all := w.all()
	switch {
	case len(all) == 0:
	case name == "acr":
		least := leastOf(strings.Join(all, " "))
		if least == "" && w.Essential {
			return oauth(unmet, "there is no such acr here")
		}
		q.Least = max(q.Least, least)
	case len(all) > 1 || q.Subject != "" && q.Subject != all[0]:
		return oauth(invalidRequest, "more than one person is asked for")
	default:
		q.Subject = all[0]
	}
	return nil
}
