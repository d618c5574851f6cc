package plan

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/workload"
)

// Swarm returns the run of a seed. Each seed turns on its own few kinds of
// faults and sets the constants of the code under test to its own, often
// extreme, values, so that rare paths become common in some runs ("Swarm
// Testing", Groce et al., 2012).
func Swarm(seed uint64) Options {
	r := rand.New(rand.NewPCG(seed, 0x737761726d))
	o := Options{Seed: seed}
	switch n := r.IntN(20); {
	case n == 0:
		o.Mode = Quiet
	case n < 5:
		o.Mode = Liveness
	}
	o.Nodes = dice.Pick(r, 1, 3, 3, 3, 3, 3, 5, 5, 5, 7)
	if o.Mode == Liveness {
		o.Nodes = dice.Pick(r, 3, 3, 5)
	}
	o.Voters = o.Nodes
	if o.Nodes == 3 && dice.Chance(r, 0.2) {
		o.Voters = 1
	} else if o.Nodes > 3 && dice.Chance(r, 0.2) {
		o.Voters = 3
	}
	o.Clients = 3 + r.IntN(6)
	o.Chaos = time.Duration(8+r.IntN(20)) * time.Second
	o.Settle = 6 * time.Second
	o.Finish = 20 * time.Second
	o.timing(r)
	o.network(r)
	o.workload(r)
	if o.Mode != Quiet {
		o.faults(r)
	}
	if o.SnapshotSlots >= 50 && dice.Chance(r, 0.08) {
		o.Bulk = dice.Pick(r, 5_000, 40_000)
	}
	o.Churn = o.Mode == Safety && o.Nodes > 1 && dice.Chance(r, 0.2)
	o.features(rand.New(rand.NewPCG(seed, 0x6b696e6473)))
	o.work(rand.New(rand.NewPCG(seed, 0x776f726b)))
	o.leases(rand.New(rand.NewPCG(seed, 0x6c65617365)))
	o.disks(rand.New(rand.NewPCG(seed, 0x6469736b73)))
	o.sides(rand.New(rand.NewPCG(seed, 0x7369646573)))
	return o
}

// timing picks the constants of the code under test.
func (o *Options) timing(r *rand.Rand) {
	o.Heartbeat = dice.Pick[time.Duration](r, 25, 50, 50, 100) * time.Millisecond
	o.Silence = dice.Pick[time.Duration](r, 6, 8, 8) * o.Heartbeat
	o.Lease = dice.Pick[time.Duration](r, 2, 3, 4) * o.Heartbeat
	o.Tick = dice.Pick[time.Duration](r, 50, 50, 100) * time.Millisecond
	o.RetryAfter = dice.Pick[time.Duration](r, 1, 2, 5) * time.Second
	o.MaxBatch = dice.Pick(r, 1, 2, 16, 512)
	o.MaxPending = dice.Pick(r, 16, 1024, 16384)
	o.SnapshotSlots = dice.Pick(r, 1, 10, 50, 100, 200, 300, 500, 1000, 1000, 10000)
	o.TailSlots = dice.Pick(r, 1, 3, 20, 200, 10000)
	o.Revive = dice.Chance(r, 0.5)
	o.MaxDrift = dice.Pick(r, 0, 0, 100, 5000)
}

// network picks how packets and writes usually fare.
func (o *Options) network(r *rand.Rand) {
	o.Codec = dice.Chance(r, 0.25)
	o.Ordered = dice.Chance(r, 0.5)
	o.Loop = dice.Delay{Max: dice.Pick(r, 0, 20*time.Microsecond, 200*time.Microsecond)}
	o.Delay = dice.Delay{Min: 100 * time.Microsecond, Max: dice.Pick[time.Duration](r, 200, 1000, 4000) * time.Microsecond}
	o.Sync = dice.Delay{Max: dice.Pick[time.Duration](r, 0, 500, 2000) * time.Microsecond}
	o.Refused = dice.Pick(r, 0.0, 0.5, 1)
	if o.Mode == Quiet {
		return
	}
	if dice.Chance(r, 0.4) {
		o.Delay.Tail, o.Delay.Mean = dice.Pick(r, 0.001, 0.01, 0.05), dice.Pick[time.Duration](r, 5, 20, 100)*time.Millisecond
	}
	if dice.Chance(r, 0.3) {
		o.Sync.Tail, o.Sync.Mean = 0.01, dice.Pick[time.Duration](r, 5, 50)*time.Millisecond
	}
	if dice.Chance(r, 0.4) {
		o.Drop = dice.Pick(r, 0.001, 0.01, 0.05)
	}
	if dice.Chance(r, 0.3) {
		o.Dup = dice.Pick(r, 0.01, 0.1)
	}
}

// workload picks what clients do.
func (o *Options) workload(r *rand.Rand) {
	o.Think = dice.Delay{Max: dice.Pick[time.Duration](r, 20, 50, 200) * time.Millisecond}
	if o.SnapshotSlots <= 10 { // the whole state is written again and again
		o.Clients, o.Think.Max = 3, 300*time.Millisecond
	}
	o.Timeout = dice.Pick[time.Duration](r, 300, 1000, 3000) * time.Millisecond
	o.Locks = dice.Pick(r, 1, 2, 4)
	o.Keys = dice.Pick(r, 1, 3, 8)
	o.TTL = dice.Pick[time.Duration](r, 2, 3, 10) * time.Second
	o.Waiting = dice.Chance(r, 0.6)
	o.KeyShare = dice.Pick(r, 0.2, 0.5, 0.8)
	if o.Mode == Quiet {
		o.Timeout = 5 * time.Second
		o.RetryAfter = 5 * time.Second
		o.MaxPending = 16384
	}
}

// features picks the kinds of things that clients do.
func (o *Options) features(r *rand.Rand) {
	p := dice.Pick(r, 0, 0.3, 0.6, 1)
	for i := range workload.NumFeatures {
		if dice.Chance(r, p) {
			o.Features |= 1 << i
		}
	}
	if o.Features.Has(workload.WithWatch) {
		o.Events = dice.Pick(r, 20, 200, 0)
	}
	if o.Bulk > 0 && o.Events == 0 {
		o.Events = 200 // they hold the values, and are in each snapshot
	}
}

// faults turns on some kinds of faults.
func (o *Options) faults(r *rand.Rand) {
	p := dice.Pick(r, 0.15, 0.3, 0.6)
	for f := range numClusterFaults {
		if dice.Chance(r, p) {
			o.Faults = append(o.Faults, Fault(f))
		}
	}
	if len(o.Faults) == 0 {
		o.Faults = []Fault{Fault(r.IntN(numClusterFaults))}
	}
	o.FaultEvery = dice.Pick[time.Duration](r, 200, 500, 1000, 3000) * time.Millisecond
	o.FaultLast = dice.Pick[time.Duration](r, 100, 500, 2000) * time.Millisecond
}

// sides adds groups beside main in some runs.
func (o *Options) sides(r *rand.Rand) {
	if o.Nodes < 3 || !dice.Chance(r, 0.3) {
		return
	}
	o.Sides = dice.Pick(r, 1, 2, 2, 5, 10)
	o.SideMoves = o.Mode == Safety && (slices.Contains(o.Faults, LoseDisk) || slices.Contains(o.Faults, Rollback) || dice.Chance(r, 0.7))
	if o.Mode == Liveness && o.Nodes > 3 {
		o.Sides = 0 // the graph that stays may cut some of their members off from one another
	}
	if o.SnapshotSlots >= 50 && dice.Chance(r, 0.3) {
		o.SideFiller = dice.Pick(r, 300<<10, 1<<20)
	}
}

// disks has disks lost for good, or put back to an older state, in some runs.
func (o *Options) disks(r *rand.Rand) {
	if o.Mode == Safety && o.Voters >= 3 && dice.Chance(r, 0.25) {
		o.Faults = append(o.Faults, slices.Repeat([]Fault{LoseDisk}, 1+len(o.Faults)/4)...)
	}
	if o.Mode == Safety && o.Voters >= 3 && dice.Chance(r, 0.2) {
		o.Faults = append(o.Faults, slices.Repeat([]Fault{Rollback}, 1+len(o.Faults)/4)...)
	}
}

// work picks what workers do, if there are any.
func (o *Options) work(r *rand.Rand) {
	if !dice.Chance(r, 0.6) {
		return
	}
	p := &o.Work
	p.Workers = 2 + r.IntN(4)
	if o.SnapshotSlots <= 10 {
		p.Workers = 2
	}
	p.TTL = dice.Pick[time.Duration](r, 1, 1, 1, 2, 2, 5, 10) * time.Second
	p.LockDelay = dice.Pick[time.Duration](r, 0, 0, 0, 500) * time.Millisecond
	p.Think = dice.Delay{Max: dice.Pick[time.Duration](r, 20, 100) * time.Millisecond}
	p.Delay = dice.Delay{Min: 100 * time.Microsecond, Max: dice.Pick[time.Duration](r, 1, 20) * time.Millisecond}
	p.Delay.Tail, p.Delay.Mean = dice.Pick(r, 0, 0.02, 0.1), dice.Pick[time.Duration](r, 50, 300)*time.Millisecond
	p.Reach = dice.Delay{Min: 100 * time.Microsecond, Max: 5 * time.Millisecond, Tail: dice.Pick(r, 0.01, 0.05), Mean: p.TTL / 2}
	p.Waiting = dice.Chance(r, 0.7)
	p.Hold = dice.Chance(r, 0.6)
	p.Breaks = dice.Chance(r, 0.4)
	if o.Mode == Quiet {
		return
	}
	if dice.Chance(r, 0.7) { // it strikes only one of many, so it must come often
		o.Faults = append(o.Faults, slices.Repeat([]Fault{ClientPause}, 1+len(o.Faults)/2)...)
	}
	if dice.Chance(r, 0.4) {
		o.Faults = append(o.Faults, ClientCrash)
	}
}

// leases picks whether reads are answered by leases, and how often leaders hand
// over.
func (o *Options) leases(r *rand.Rand) {
	o.LeaseReads = dice.Chance(r, 0.5)
	if dice.Chance(r, 0.5) && o.Mode != Quiet && o.Nodes > 1 {
		o.HandOverEvery = dice.Pick[time.Duration](r, 200, 1000, 4000) * time.Millisecond
	}
}
