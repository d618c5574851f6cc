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
	o.wild(rand.New(rand.NewPCG(seed, 0x77696c64)))
	o.sides(rand.New(rand.NewPCG(seed, 0x7369646573)))
	o.TailBytes = dice.Pick(rand.New(rand.NewPCG(seed, 0x7461696c)), 0, 1, 1000, 20_000)
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

// faults turns on some kinds of faults: those that need nothing of the run but nodes.
func (o *Options) faults(r *rand.Rand) {
	var all []Fault
	for f := range Fault(NumFaults) {
		if !f.Works() && !f.Wild() && !f.Moves() && (f != ClockRate || o.MaxDrift > 0) {
			all = append(all, f)
		}
	}
	p := dice.Pick(r, 0.06, 0.15, 0.5)
	for _, f := range all {
		if dice.Chance(r, p) {
			o.Faults = append(o.Faults, f)
		}
	}
	if len(o.Faults) == 0 {
		o.Faults = []Fault{dice.Pick(r, all...)}
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
	o.SideMoves = o.Mode == Safety && (slices.ContainsFunc(o.Faults, Fault.Moves) || dice.Chance(r, 0.7))
	if o.Mode == Liveness && o.Nodes > 3 {
		o.Sides = 0 // the graph that stays may cut some of their members off from one another
	}
	if o.SnapshotSlots >= 50 && dice.Chance(r, 0.3) {
		o.SideFiller = dice.Pick(r, 300<<10, 1<<20)
	}
}

// disks has disks lost for good, damaged, or put back to an older state, and voters
// removed and replaced, in some runs.
func (o *Options) disks(r *rand.Rand) {
	if o.Mode != Safety || o.Voters < 3 {
		return
	}
	for _, k := range []struct {
		fault  Fault
		chance float64
	}{{LoseDisk, 0.2}, {Rollback, 0.2}, {BitFlip, 0.1}, {Remove, 0.15}, {Replace, 0.1}} {
		if dice.Chance(r, k.chance) {
			o.Faults = append(o.Faults, slices.Repeat([]Fault{k.fault}, 1+len(o.Faults)/4)...)
		}
	}
}

// wild has clocks break their promise in a few runs. Nobody may rest on a lease there;
// reads are not answered by one.
func (o *Options) wild(r *rand.Rand) {
	if o.Mode != Safety || !dice.Chance(r, 0.08) {
		return
	}
	for _, f := range []Fault{WildRate, ClockJump, ClockStrobe} {
		if dice.Chance(r, 0.6) {
			o.Faults = append(o.Faults, f, f)
		}
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
	if dice.Chance(r, 0.3) {
		o.Faults = append(o.Faults, HolderCrash)
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

// Long returns the long run of a seed: ten simulated minutes in which little happens at
// a time. Faults are rare and some of them last for minutes, clients ask for something
// now and then, sessions live for a minute; leaders come and go, groups fall asleep, and
// nodes are away for longer than all that anybody keeps for them. What a run costs is
// mostly heartbeats, which are as rare as leases and the silence after them allow.
func Long(seed uint64) Options {
	o := Swarm(seed)
	r := rand.New(rand.NewPCG(seed, 0x6c6f6e67))
	o.Chaos, o.Settle, o.Finish = 9*time.Minute+30*time.Second, 30*time.Second, time.Minute
	o.Slow = 20
	o.Nodes = min(o.Nodes, 5)
	o.Voters = min(o.Voters, o.Nodes)
	o.Heartbeat = dice.Pick[time.Duration](r, 100, 200, 250) * time.Millisecond
	o.Silence = dice.Pick[time.Duration](r, 6, 8, 8) * o.Heartbeat
	o.Lease = dice.Pick[time.Duration](r, 2, 3, 4) * o.Heartbeat
	o.Tick = o.Heartbeat
	o.Clients = 1 + r.IntN(3)
	o.Think = dice.Delay{Max: dice.Pick[time.Duration](r, 2, 5, 15) * time.Second}
	o.Timeout = dice.Pick[time.Duration](r, 3, 5, 10) * time.Second // a search among many unknown outcomes of one key does not end
	o.Keys = max(o.Keys, 3)
	o.TTL = dice.Pick[time.Duration](r, 10, 30, 60) * time.Second
	o.SnapshotSlots = dice.Pick(r, 5, 20, 100, 1000)
	o.TailSlots = dice.Pick(r, 1, 3, 20, 200)
	o.Bulk, o.SideFiller = 0, 0
	o.Sides = min(o.Sides, 2)
	if o.Work.Workers > 0 {
		o.Work.Workers = 2
		o.Work.TTL = dice.Pick[time.Duration](r, 5, 10, 30) * time.Second
		o.Work.Think = dice.Delay{Max: 5 * time.Second}
		o.Work.Reach.Mean = o.Work.TTL / 2
	}
	o.FaultEvery = dice.Pick[time.Duration](r, 3, 10, 30) * time.Second
	o.FaultLast = dice.Pick[time.Duration](r, 1, 5, 20, 60) * time.Second
	if o.HandOverEvery > 0 {
		o.HandOverEvery = dice.Pick[time.Duration](r, 10, 60) * time.Second
	}
	return o
}
