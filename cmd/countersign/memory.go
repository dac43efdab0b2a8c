package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"countersign/internal/platform/config"
)

// paceCollector has the garbage collector run when memory gets scarce, and not after every other
// password: a hash's blocks are all that this program throws away in quantity, and by default they
// would set the pace. An operator who sets GOGC or GOMEMLIMIT knows better.
func paceCollector(ctx context.Context, c config.Password) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	hashing := int64(c.Hashers()) * int64(c.MemoryKiB) << 10
	limit := allowance(0, hashing)
	percent := pace(0)
	debug.SetMemoryLimit(limit)
	debug.SetGCPercent(percent)
	use := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(use)
		live := int64(use[0].Value.Uint64())         //nolint:gosec // bytes of memory
		inUse := live + int64(use[1].Value.Uint64()) //nolint:gosec // bytes of memory
		if p := pace(live); p != percent {
			percent = p
			debug.SetGCPercent(percent)
		}
		if l := allowance(inUse, hashing); l != limit {
			limit = l
			debug.SetMemoryLimit(limit)
		}
	}
}

// pace is how much may be allocated until the collector runs, in percent of what is in use: 400, and up to 1600 while both
// together are below 64 MiB. Each run takes one of few processors for some milliseconds from whoever comes meanwhile.
func pace(inUse int64) int {
	const little, most = 64 << 20, 1600
	percent := most
	for percent > 400 && inUse*int64(100+percent) > 100*little {
		percent /= 2
	}
	return percent
}

// allowance is how much memory there may be before the collector runs whatever its pace: room for the
// program and for each hash twice, and half as much again as is in use. A fixed limit would make the
// collector take half of the processor from the day on which sessions and connections alone exceed it.
func allowance(inUse, hashing int64) int64 {
	const step = 16 << 20 // each change of the limit stops everybody for a moment
	return (max(64<<20+2*hashing, inUse+inUse/2) + step - 1) / step * step
}
