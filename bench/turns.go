package main

import (
	"slices"
	"time"
)

// contender is one of those measured in turns.
type contender struct {
	name string
	pid  int // whose processor time counts
	run  func(time.Duration) (outcome, error)
}

// series is what a contender did, turn by turn.
type series struct {
	rates []float64 // a second
	cost  []float64 // processor seconds of the process for one
}

// turns runs the contenders one after the other, round after round, each round in the other
// direction: what slows the machine for a while slows them all alike.
func (b *bench) turns(rounds int, d time.Duration, all []contender) ([]series, error) {
	out := make([]series, len(all))
	began := b.now()
	others, err := strangers()
	if err != nil {
		return nil, err
	}
	for round := range rounds {
		for k := range all {
			i := k
			if round%2 == 1 {
				i = len(all) - 1 - k
			}
			c := all[i]
			before, err := processor(c.pid)
			if err != nil {
				return nil, err
			}
			got, err := c.run(d)
			if err != nil {
				return nil, err
			}
			after, err := processor(c.pid)
			if err != nil {
				return nil, err
			}
			out[i].rates = append(out[i].rates, got.rate())
			out[i].cost = append(out[i].cost, (after-before).Seconds()/float64(got.Done))
			b.note("round %d of %d: %-34s %9.1f/s", round+1, rounds, c.name, got.rate())
		}
	}
	after, err := strangers()
	b.disturbed += after - others
	b.measured += b.now().Sub(began)
	return out, err
}

// compared is ours over the ceiling, turn for turn.
type compared struct {
	ours, ceiling     float64 // medians
	ratio, least, top float64 // the ratios' median and their middle half
}

func compare(ours, ceiling []float64) compared {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / ceiling[i]
	}
	return compared{quantile(ours, .5), quantile(ceiling, .5), quantile(ratios, .5), quantile(ratios, .25), quantile(ratios, .75)}
}

// quantile interpolates, so that the median of an even number is between the middle two.
func quantile(of []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(of))
	at := q * float64(len(s)-1)
	low := int(at)
	if low+1 == len(s) {
		return s[low]
	}
	return s[low] + (s[low+1]-s[low])*(at-float64(low))
}
