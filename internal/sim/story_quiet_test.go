package sim

import (
	"flag"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/plan"
	"github.com/prytany/prytany/internal/sim/workload"
)

var quietFor = flag.Duration("sim.quiet", 0, "how long nothing happens; 0 means a day, or five minutes with -short")

// quiet returns a cluster that nothing happens to for so long: three nodes whose
// network, disks and loops are now and then slow, clocks that drift, and two
// clients that rarely want anything.
func quiet(long time.Duration, seed uint64) Options {
	o := storyOptions(3, seed)
	o.Mode, o.Chaos, o.Settle = plan.Quiet, long, 6*time.Second
	o.Delay.Tail, o.Delay.Mean = 0.0005, 10*time.Millisecond
	o.Sync.Tail, o.Sync.Mean = 0.001, 20*time.Millisecond
	o.Loop.Tail, o.Loop.Mean = 0.0005, 10*time.Millisecond
	o.Think = dice.Delay{Min: 5 * time.Second, Max: 15 * time.Second}
	o.Timeout, o.Features, o.Events = 5*time.Second, 0, 0
	o.Options = workload.Options{Locks: 2, Keys: 3, TTL: time.Minute, Waiting: true, KeyShare: 0.5}
	return o
}

// TestQuiet has one election in a whole day on which nothing is wrong. [Run] fails
// if there is another one, or an unknown outcome.
func TestQuiet(t *testing.T) {
	long := *quietFor
	if long == 0 {
		long = 24 * time.Hour
		if testing.Short() {
			long = 5 * time.Minute
		}
	}
	start := processTime()
	r, err := Run(quiet(long, 1))
	if err == nil {
		err = checkHistory(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	cpu := processTime() - start
	t.Logf("%v simulated, %.0f simulated seconds per second of processor time: %d elections, %d operations, %d packets",
		r.Time.Round(time.Second), r.Time.Seconds()/cpu.Seconds(), r.Stats.Elections, r.Stats.Done, r.Stats.Packets)
}

// TestQuietNotices shows that TestQuiet can fail.
func TestQuietNotices(t *testing.T) {
	o := quiet(10*time.Minute, 1)
	o.Silence, o.Lease = 51*time.Millisecond, 50*time.Millisecond
	if _, err := Run(o); err == nil {
		t.Error("links that count as down after 51 ms cost nothing")
	} else {
		t.Logf("%.200s", err)
	}
}
