package config_test

import (
	"strings"
	"testing"
)

// An update opens no door: who says nothing of registration gets none.
func TestRegistrationIsClosedUnlessSaid(t *testing.T) {
	c, err := load(t, "", nil, nil)
	if err != nil || c.Registration.Mode != "closed" {
		t.Errorf("%q, %v", c.Registration.Mode, err)
	}
}

func TestSettingsOfRegistrationThatMakeNoSense(t *testing.T) {
	for label, c := range map[string]struct{ toml, want string }{
		"no mode":             {`mode = "public"`, "registration.mode: want one of open, invitation, closed"},
		"terms of no version": {`terms_url = "https://example.org/terms"`, "go together"},
		"terms on no page":    {"terms_url = \"javascript:alert(1)\"\nterms_version = \"1\"", "want an https address"},
		"a version of lines":  {"terms_url = \"https://example.org/terms\"\nterms_version = \"1\\n2\"", "without line breaks"},
	} {
		t.Run(label, func(t *testing.T) {
			_, err := load(t, "[registration]\n"+c.toml+"\n", nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
