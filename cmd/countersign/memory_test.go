package main

import "testing"

func TestAllowanceGrowsWithWhatIsInUse(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct{ inUse, hashing, want int64 }{
		{0, 38 * mib, 144 * mib},
		{90 * mib, 38 * mib, 144 * mib}, // below the floor the floor holds
		{200 * mib, 38 * mib, 304 * mib},
		{0, 8 * 64 * mib, 1088 * mib},
	} {
		if got := allowance(c.inUse, c.hashing); got != c.want {
			t.Errorf("allowance(%d MiB, %d MiB) = %d MiB, want %d", c.inUse/mib, c.hashing/mib, got/mib, c.want/mib)
		}
	}
}

func TestTheCollectorWaitsLongerWhileLittleIsInUse(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		inUse int64
		want  int
	}{{0, 1600}, {3 * mib, 1600}, {5 * mib, 800}, {10 * mib, 400}, {500 * mib, 400}} {
		if got := pace(c.inUse); got != c.want {
			t.Errorf("pace(%d MiB) = %d %%, want %d", c.inUse/mib, got, c.want)
		}
	}
}
