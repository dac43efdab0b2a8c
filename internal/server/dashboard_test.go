package server

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"countersign/internal/guard"
	"countersign/internal/platform/config"
	"countersign/internal/recovery"
	"countersign/internal/registration"
	"countersign/internal/signin"
	"countersign/internal/subscriber"
	"countersign/internal/web"
)

// described is a registry that keeps what it is given.
type described struct {
	prometheus.Registerer

	all []prometheus.Collector
}

func (d *described) MustRegister(all ...prometheus.Collector) { d.all = append(d.all, all...) }

var (
	describes = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	queries   = regexp.MustCompile(`(countersign_\w+?)(?:_bucket)?\{([^}]*)\}`)
	groups    = regexp.MustCompile(`by \(([^)]*)\)`)
	selects   = regexp.MustCompile(`(\w+)=~?"`)
)

// A dashboard shows nothing where a metric or a label has another name, and nobody notices.
func TestTheDashboardAsksForWhatThereIs(t *testing.T) {
	reg := &described{}
	receipts := newReceipts(nil, newTally(config.Default(), nil), slog.New(slog.DiscardHandler))
	reg.MustRegister(newGauges(nil, nil, nil), receipts, receipts.total, receipts.took, receipts.swaps, receipts.tally.sent, receipts.tally.typed)
	web.NewMetrics(reg)
	count(&signin.Service{}, reg)
	countNewcomers(&registration.Service{}, reg)
	countRecoveries(&recovery.Service{}, reg)
	countRefusals(&guard.Guard{}, reg)
	countTold(&subscriber.Service{}, reg)
	labels := map[string][]string{}
	for _, c := range reg.all {
		ch := make(chan *prometheus.Desc, 100)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			m := describes.FindStringSubmatch(d.String())
			labels[m[1]] = append(strings.Split(m[2], ","), "job", "instance", "le")
		}
	}
	text, err := os.ReadFile("../../docs/grafana/countersign.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			found := queries.FindAllStringSubmatch(target.Expr, -1)
			if len(found) == 0 {
				t.Errorf("%s: %s asks for nothing of ours", p.Title, target.Expr)
			}
			for _, ask := range found {
				known, ok := labels[ask[1]]
				if shown[ask[1]] = true; !ok {
					t.Errorf("%s: there is no %s", p.Title, ask[1])
				}
				var names []string
				for _, label := range selects.FindAllStringSubmatch(ask[2], -1) {
					names = append(names, label[1])
				}
				for _, by := range groups.FindAllStringSubmatch(target.Expr, -1) {
					names = append(names, strings.Split(by[1], ", ")...)
				}
				for _, name := range names {
					if !slices.Contains(known, name) {
						t.Errorf("%s: %s has no label %s", p.Title, ask[1], name)
					}
				}
			}
		}
	}
	for name := range labels {
		if strings.HasPrefix(name, "countersign_letters") && !shown[name] || (strings.HasPrefix(name, "countersign_sms") || strings.HasPrefix(name, "countersign_webhook")) && !shown[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}
