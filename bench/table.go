package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

var errMissed = errors.New("a target was missed")

var errDisturbed = errors.New("others had too much of the processors: measure again on a quiet machine")

// row is a line of the table.
type row struct {
	what, ours, ceiling, ratio, target, verdict string

	rate bool
}

// table gathers rows.
type table struct {
	rows []row
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// judged adds a row that meets its target or misses it.
func (t *table) judged(met bool, r row) {
	r.verdict = "met"
	if !met {
		r.verdict = "missed"
	}
	t.add(r)
}

// disturbed takes the verdicts on rates back: neighbours cost the contenders differently.
func (t *table) disturbed() {
	for i := range t.rows {
		if r := &t.rows[i]; r.rate && r.verdict != "" {
			r.verdict = "disturbed"
		}
	}
}

func (t *table) missed() bool {
	return slices.ContainsFunc(t.rows, func(r row) bool { return r.verdict == "missed" })
}

// rate adds a row of rates. A least of 0 is no target.
func (t *table) rate(what, unit string, c compared, least float64) {
	digits := "%.0f%s"
	if c.ceiling < 1000 {
		digits = "%.1f%s"
	}
	r := row{
		rate: true, what: what, ours: fmt.Sprintf(digits, c.ours, unit), ceiling: fmt.Sprintf(digits, c.ceiling, unit),
		ratio: fmt.Sprintf("%.0f %% (%.0f–%.0f)", 100*c.ratio, 100*c.least, 100*c.top),
	}
	if least == 0 {
		t.add(r)
		return
	}
	r.target = fmt.Sprintf("≥ %.0f %%", 100*least)
	t.judged(c.ratio >= least, r)
}

// cost adds a row of what one costs; the less, the better, and so the ratio is the other way round.
func (t *table) cost(what, unit string, scale float64, c compared) {
	t.add(row{
		what: what, ours: fmt.Sprintf("%.1f %s", c.ceiling*scale, unit), ceiling: fmt.Sprintf("%.1f %s", c.ours*scale, unit),
		ratio: fmt.Sprintf("%.0f %% (%.0f–%.0f)", 100*c.ratio, 100*c.least, 100*c.top),
	})
}

// above adds a row of something that must be at least so much.
func (t *table) above(what, unit string, value, least float64) {
	t.judged(value >= least, row{
		what: what, ours: fmt.Sprintf("%.0f%s", value, unit), target: fmt.Sprintf("≥ %.0f%s", least, unit), ratio: fmt.Sprintf("%.0f %%", 100*value/least),
	})
}

// below adds a row of something that must be less than a limit.
func (t *table) below(what, unit string, value, limit float64) {
	t.judged(value < limit, row{
		what: what, ours: fmt.Sprintf("%.0f %s", value, unit), target: fmt.Sprintf("< %.0f %s", limit, unit),
		ratio: fmt.Sprintf("%.0f %%", 100*value/limit),
	})
}

// write writes the table, as text that is Markdown too.
func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	line := func(r row) {
		fmt.Fprintf(tw, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.what, r.ours, r.ceiling, r.ratio, r.target, r.verdict)
	}
	line(row{what: "what", ours: "ours", ceiling: "ceiling", ratio: "ratio", target: "target", verdict: "verdict"})
	line(row{what: "---", ours: "---", ceiling: "---", ratio: "---", target: "---", verdict: "---"})
	for _, r := range t.rows {
		line(r)
	}
	return tw.Flush()
}
