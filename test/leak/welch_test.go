package leak_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// threshold is what |t| must stay under: that two equal distributions are further apart than 4.5
// happens less than once in a hundred thousand times.
const threshold = 4.5

// samples are the times one step took, for names with an account and without.
type samples struct{ known, unknown []float64 } // microseconds

// stats is a distribution in short.
type stats struct{ median, mean, std float64 }

func describe(x []float64) stats {
	s := slices.Sorted(slices.Values(x))
	var sum, squares float64
	for _, v := range x {
		sum += v
	}
	mean := sum / float64(len(x))
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return stats{median: s[len(s)/2], mean: mean, std: math.Sqrt(squares / float64(len(x)-1))}
}

// welch is Welch's t of two samples of unequal variance.
func welch(a, b []float64) float64 {
	x, y := describe(a), describe(b)
	return (x.mean - y.mean) / math.Sqrt(x.std*x.std/float64(len(a))+y.std*y.std/float64(len(b)))
}

// crops are the shares of the times that are compared, the quickest first, as dudect does: what
// is slow was held up by something else, and hides a small difference among the quick ones.
var crops = []int{100, 99, 90, 75, 50}

// crop keeps what is no slower than a share of both samples together. One cut for both, taken
// from both, cannot choose sides.
func (s samples) crop(share int) samples {
	all := slices.Sorted(slices.Values(slices.Concat(s.known, s.unknown)))
	cut := all[(len(all)-1)*share/100]
	keep := func(x []float64) (out []float64) {
		for _, v := range x {
			if v <= cut {
				out = append(out, v)
			}
		}
		return out
	}
	return samples{keep(s.known), keep(s.unknown)}
}

// leastCropped is how many of a sample a crop must leave to be compared: of two that lie apart, the quicker half is the one alone.
const leastCropped = 10

// worst is the t that decides: the largest of all crops.
func (s samples) worst() (worst float64) {
	for _, share := range crops {
		c := s.crop(share)
		if min(len(c.known), len(c.unknown)) < leastCropped {
			continue
		}
		if t := welch(c.known, c.unknown); math.Abs(t) > math.Abs(worst) {
			worst = t
		}
	}
	return worst
}

// line is a row of the table in docs/leak.md; times in microseconds.
func (s samples) line(step string) string {
	k, u, c := describe(s.known), describe(s.unknown), s.crop(99)
	return fmt.Sprintf("| %s | %d | %.0f | %.0f | %.0f | %+.2f | %+.2f | %+.2f |",
		step, len(s.known), k.median, u.median, describe(slices.Concat(c.known, c.unknown)).std,
		welch(s.known, s.unknown), welch(c.known, c.unknown), s.worst())
}

const heading = `| step | pairs | median, known (µs) | median, unknown (µs) | std (µs) | t of all | t of 99 % | largest t |
|---|---|---|---|---|---|---|---|`

// Two samples that lie apart altogether are a leak as any other.
func TestSamplesThatLieApart(t *testing.T) {
	var s samples
	for i := range 100 {
		s.known, s.unknown = append(s.known, float64(300+i%7)), append(s.unknown, float64(100+i%7))
	}
	if s.worst() < threshold {
		t.Errorf("t = %.1f", s.worst())
	}
}

// The formula is checked against a worked example (Welch 1947's statistic, by hand).
func TestWelchIsWelch(t *testing.T) {
	a := []float64{27.5, 21, 19, 23.6, 17, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19, 21.7, 21.4}
	b := []float64{27.1, 22, 20.8, 23.4, 23.4, 23.5, 25.8, 22, 24.8, 20.2, 21.9, 22.1, 22.9, 30, 23.9}
	if got := welch(a, b); math.Abs(got+2.8353) > 0.001 {
		t.Errorf("t = %.4f", got)
	}
}

// spin waits without giving the processor away, as work would.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}
