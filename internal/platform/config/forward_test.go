package config_test

import (
	"strings"
	"testing"

	"countersign/internal/platform/config"
)

// A rule that cannot count, and rules that nobody asks about, are no settings: who wrote them believes in them.
func TestRulesOfSites(t *testing.T) {
	const wiki = "https://wiki.example.org"
	for want, rules := range map[string][]string{
		"":                        {wiki + "/admin/ group:admins aal2 within:15m", "GET,HEAD " + wiki + "/public/ anyone", "POST " + wiki + "/public/ signed-in", wiki + "/ signed-in", "https://*.example.org/ nobody"},
		"never counts":            {wiki + "/ signed-in", wiki + "/admin/ group:admins"},
		"want one each of anyone": {wiki + "/ signedin"},
		"goes with no group":      {wiki + "/ anyone group:admins"},
		"want scheme and host":    {"wiki.example.org/ signed-in"},
		"want https":              {"http://wiki.example.org/ signed-in"},
		"begins with / and has":   {wiki + "/a/../b signed-in"},
		"want 1m to 24h":          {wiki + "/ within:5s"},
		"where people sign in":    {"https://id.example.org/ signed-in"},
	} {
		c := config.Default()
		c.Site.PublicURL = "https://id.example.org"
		c.Forward.Listen, c.Forward.Rules = "127.0.0.1:9091", rules
		err := c.Validate()
		if said := problems(err, "forward_auth"); (want == "") != (said == "") || !strings.Contains(said, want) {
			t.Errorf("%q: %q, want %q", rules, said, want)
		}
	}
	c := config.Default()
	c.Forward.Rules = []string{wiki + "/ signed-in"}
	if said := problems(c.Validate(), "forward_auth"); !strings.Contains(said, "no proxy can ask") {
		t.Errorf("rules and no listener: %q", said)
	}
}

// problems are those of a section.
func problems(err error, section string) string {
	var all []string
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), section) {
				all = append(all, line)
			}
		}
	}
	return strings.Join(all, "\n")
}
