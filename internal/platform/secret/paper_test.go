package secret_test

import (
	"regexp"
	"testing"

	"countersign/internal/platform/secret"
)

func TestACodeOnPaperIsWhatItIsHoweverItIsTyped(t *testing.T) {
	shape := regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$`)
	if a, b := secret.NewPaper(), secret.NewPaper(); !shape.MatchString(a.Reveal()) || a.Equal(b) {
		t.Error("the code is not six groups of four of its own")
	}
	const meant = "K0QM11RD9HTV4WPAB6ZNE3JC"
	for _, typed := range []string{"K0QM-11RD-9HTV-4WPA-B6ZN-E3JC", " kOqm iLrd\u20139htv 4wpa b6zn e3jc\n"} {
		if got := secret.ReadPaper(secret.Of(typed)).Reveal(); got != meant {
			t.Errorf("%q is read as %q", typed, got)
		}
	}
	if !secret.ReadPaper(secret.Of("–?ü")).Empty() {
		t.Error("what is no code is read as one")
	}
}
