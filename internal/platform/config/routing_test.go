package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"countersign/internal/platform/config"
)

func several() config.Config {
	c := config.Default()
	c.SMS.Provider, c.SMS.Then, c.SMS.From = "twilio", []string{"webhook"}, "+15005550006"
	c.SMS.TwilioAccount, c.SMS.TwilioPassword = "AC1", config.NewSecret("x")
	c.SMS.WebhookURL, c.SMS.WebhookSecret = "https://sms.example.org", config.NewSecret("whsec_"+strings.Repeat("QUFB", 10))
	return c
}

func TestRoutesAreRead(t *testing.T) {
	c := several()
	c.Guard.Prices = "/etc/countersign/prices"
	c.SMS.Order = "fastest"
	c.SMS.Routes = []string{"+49=webhook,twilio", "DE/code=cheapest:twilio,webhook", "*/notice=weighted:webhook", "FR=twilio"}
	c.SMS.Weights, c.SMS.Rates = []string{"twilio=3", "webhook=0"}, []string{"twilio=30/s", "webhook=600/m:60"}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	routes := "[{Prefix:+49 Country: What: Order: Providers:[webhook twilio]} {Prefix: Country:DE What:code Order:cheapest Providers:[twilio webhook]} " +
		"{Prefix: Country: What:notice Order:weighted Providers:[webhook]} {Prefix: Country:FR What: Order: Providers:[twilio]}]"
	if got := fmt.Sprintf("%+v", c.SMS.Rules()); got != routes {
		t.Error(got)
	}
	if d := cmp.Diff(map[string]int{"twilio": 3, "webhook": 0}, c.SMS.Shares()); d != "" {
		t.Error(d)
	}
	if got := fmt.Sprintf("%+v", c.SMS.Paces()); got != "map[twilio:{Every:33.333334ms Burst:0} webhook:{Every:100ms Burst:60}]" { // rounded up
		t.Error(got)
	}
}

func TestRoutesThatAreWrongSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"an order":              {func(c *config.Config) { c.SMS.Order = "best" }, "sms.order: want one of listed, weighted, cheapest, fastest"},
		"cheapest by no prices": {func(c *config.Config) { c.SMS.Order = "cheapest" }, "sms.order: to know the cheapest takes prices: name a file as guard.prices"},
		"a route's, too":        {func(c *config.Config) { c.SMS.Routes = []string{"DE=cheapest:twilio"} }, "name a file as guard.prices"},
		"a route's order":       {func(c *config.Config) { c.SMS.Routes = []string{"DE=best:twilio"} }, `"DE=best:twilio": want the beginning of a number, a country or *`},
		"no country":            {func(c *config.Config) { c.SMS.Routes = []string{"XX=twilio"} }, `"XX=twilio": want`},
		"a country in words":    {func(c *config.Config) { c.SMS.Routes = []string{"de=twilio"} }, `"de=twilio": want`},
		"no such letters":       {func(c *config.Config) { c.SMS.Routes = []string{"*/voice=twilio"} }, `"*/voice=twilio": want`},
		"a provider":            {func(c *config.Config) { c.SMS.Routes = []string{"*/code=vonage"} }, `"vonage" is not among sms.provider and sms.then: name it there first`},
		"a provider twice":      {func(c *config.Config) { c.SMS.Routes = []string{"*/code=twilio,twilio"} }, "twilio stands there twice"},
		"a route twice":         {func(c *config.Config) { c.SMS.Routes = []string{"DE=twilio", "DE=webhook"} }, "sms.routes: DE stands there twice"},
		"the share of nobody":   {func(c *config.Config) { c.SMS.Weights = []string{"sns=3"} }, `sms.weights: "sns=3": "sns" is not among`},
		"a share below nothing": {func(c *config.Config) { c.SMS.Weights = []string{"twilio=-1"} }, "want a provider and its share, 0 to 1000, such as twilio=3"},
		"two shares of one":     {func(c *config.Config) { c.SMS.Weights = []string{"twilio=1", "twilio=2"} }, "sms.weights: a provider stands there twice"},
		"a rate of nobody":      {func(c *config.Config) { c.SMS.Rates = []string{"sns=3/s"} }, `sms.rates: "sns=3/s": "sns" is not among`},
		"a rate without a time": {func(c *config.Config) { c.SMS.Rates = []string{"twilio=30"} }, "want a provider and what it takes, such as smpp=30/s"},
		"a rate of none":        {func(c *config.Config) { c.SMS.Rates = []string{"twilio=0/s"} }, "want a provider and what it takes"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := several()
			c.change(&bad)
			if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
