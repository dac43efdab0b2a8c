package pages

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/factor"
	"countersign/internal/outbox"
	"countersign/internal/signin"
)

func TestTheCodePageTellsWhatBecameOfTheMessage(t *testing.T) {
	d := &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.SMS, factor.Email}, Sent: factor.SMS}}
	for fate, want := range map[outbox.Fate]string{
		"": "", outbox.Underway: "The message is on its way.<noscript>", outbox.Delivered: "The message has been delivered to your phone.</p>",
		outbox.NotDelivered: "The message could not be delivered. Try another way below.</p>",
	} {
		d.next.Fate = fate
		if _, body := answer(door(t, d), get(flowAt)); strings.Contains(body, "data-sent") != (fate == outbox.Underway) || strings.Contains(body, `role="status"`) != (fate != "") || !strings.Contains(body, want) {
			t.Errorf("%q: %s", fate, body)
		}
		state := string(fate)
		if fate == "" {
			state = "underway"
		}
		if res, body := answer(door(t, d), get(flowAt+"/sent")); res.StatusCode != http.StatusOK || body != `{"state":"`+state+`"}`+"\n" {
			t.Errorf("%q: %s %s", fate, res.Status, body)
		}
	}
}

// Where there are several providers of text messages the page offers another way round, and says the same to everybody.
func TestTheCodePageOffersAnotherWayRound(t *testing.T) {
	for _, c := range []struct {
		around bool
		sent   factor.Way
		want   bool
	}{{true, factor.SMS, true}, {true, factor.Email, false}, {false, factor.SMS, false}} {
		d := &desk{next: signin.Next{Step: signin.StepSecond, Ways: []factor.Way{factor.SMS, factor.Email}, Sent: c.sent, ResendAt: time.Unix(1, 0)}}
		p, mux := testPages(t), http.NewServeMux()
		p.options.Around = c.around
		(&SignIn{Pages: p, Log: quiet(), Flows: d, Sessions: d, Owner: d, Client: func(*http.Request) signin.Client { return signin.Client{} }}).Mount(mux)
		if _, body := answer(mux, get(flowAt)); strings.Contains(body, "Not there yet? Send it another way round") != c.want || strings.Contains(body, ">Send again<") == c.want {
			t.Errorf("%+v: %s", c, body)
		}
	}
}
