package sim

import (
	"math/rand/v2"
	"time"
)

// A Mode says what a run is for.
type Mode uint8

// The modes.
const (
	Safety   Mode = iota // any fault at any time, then everything heals
	Liveness             // as Safety, but one fault that must be survived stays to the end
	Quiet                // no faults at all: one election, no unknown outcome
)

func (m Mode) String() string { return [...]string{"safety", "liveness", "quiet"}[m] }

// A Fault is a kind of fault.
type Fault uint8

// The kinds of faults that the nemesis can begin and end.
const (
	FaultCutOneWay Fault = iota // one direction of one path
	FaultCutPath                // both directions of one path
	FaultIsolate                // one node from all others
	FaultSplit                  // two halves
	FaultBridge                 // two halves that share one node
	FaultRing                   // every node sees only a majority, each another one
	FaultDeaf                   // a node can send but not receive
	FaultMute                   // a node can receive but not send
	FaultFlap                   // a path that goes up and down
	FaultLoss                   // much loss everywhere
	FaultSlowLinks              // much delay everywhere
	FaultCrash                  // at a random step of a turn
	FaultCrashAll               // power loss
	FaultStorm                  // one node crashes again and again
	FaultPause                  // no steps while time runs
	FaultSlowDisk               // writes take long
	FaultBadDisk                // a write fails; the process must end
	FaultGossip                 // gossip lies about a peer
	FaultReset                  // a connection is reported gone though the process lives
	FaultClientCut              // clients cannot reach one node

	numFaults = int(FaultClientCut) + 1
)

var faultNames = [numFaults]string{
	"cut-one-way", "cut-path", "isolate", "split", "bridge", "ring", "deaf", "mute", "flap", "loss", "slow-links",
	"crash", "crash-all", "crash-storm", "pause", "slow-disk", "bad-disk", "false-gossip", "false-reset", "client-cut",
}

func (f Fault) String() string { return faultNames[f] }

// Options describe one run completely: the same Options give the same run.
type Options struct {
	Seed    uint64
	Mode    Mode
	Nodes   int // servers, 1 to 7
	Voters  int // servers in the first configuration; the others join later
	Clients int
	Churn   bool          // voters are removed and come back
	Chaos   time.Duration // how long faults come and go
	Settle  time.Duration // how long clients go on after everything has healed
	Finish  time.Duration // how long the cluster may take to become quiet after that

	Faults     []Fault
	FaultEvery time.Duration // mean time between faults
	FaultLast  time.Duration // mean length of one

	Drop, Dup float64 // of all packets, always
	Delay     delay
	Ordered   bool  // links keep order, as connections do
	Codec     bool  // packets pass through their bytes
	Loop      delay // from the arrival of a packet to the turn that takes it
	Sync      delay // what a write takes
	Refused   float64
	Revive    bool // trimmed votes may come back in a crash
	MaxDrift  int  // clocks run this many parts per million fast or slow, at most

	Heartbeat, Silence, Lease time.Duration
	Tick, RetryAfter          time.Duration
	MaxBatch, MaxPending      int
	SnapshotSlots, TailSlots  int

	Think    delay // between two operations of a client
	Timeout  time.Duration
	Locks    int
	Keys     int
	TTL      time.Duration
	Waiting  bool // clients also queue for locks
	Bulk     int  // bytes added to values, so that snapshots travel in pieces
	KeyShare float64

	Verbose bool
	Hooks   Hooks
}

// pick returns one of the choices.
func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// chance reports true with probability p.
func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

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
	o.Nodes = pick(r, 1, 3, 3, 3, 3, 3, 5, 5, 5, 7)
	if o.Mode == Liveness {
		o.Nodes = pick(r, 3, 3, 5)
	}
	o.Voters = o.Nodes
	if o.Nodes == 3 && chance(r, 0.2) {
		o.Voters = 1
	} else if o.Nodes > 3 && chance(r, 0.2) {
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
	if o.SnapshotSlots >= 50 && chance(r, 0.08) {
		o.Bulk = pick(r, 5_000, 40_000)
	}
	o.Churn = o.Mode == Safety && o.Nodes > 1 && chance(r, 0.2)
	return o
}

// timing picks the constants of the code under test.
func (o *Options) timing(r *rand.Rand) {
	o.Heartbeat = pick[time.Duration](r, 25, 50, 50, 100) * time.Millisecond
	o.Silence = pick[time.Duration](r, 6, 8, 8) * o.Heartbeat
	o.Lease = pick[time.Duration](r, 3, 3, 4) * o.Heartbeat
	o.Tick = pick[time.Duration](r, 50, 50, 100) * time.Millisecond
	o.RetryAfter = pick[time.Duration](r, 1, 2, 5) * time.Second
	o.MaxBatch = pick(r, 1, 2, 16, 512)
	o.MaxPending = pick(r, 16, 1024, 16384)
	o.SnapshotSlots = pick(r, 1, 10, 50, 100, 200, 300, 500, 1000, 1000, 10000)
	o.TailSlots = pick(r, 1, 3, 20, 200, 10000)
	o.Revive = chance(r, 0.5)
	o.MaxDrift = pick(r, 0, 0, 100, 5000)
}

// network picks how packets and writes usually fare.
func (o *Options) network(r *rand.Rand) {
	o.Codec = chance(r, 0.25)
	o.Ordered = chance(r, 0.5)
	o.Loop = delay{max: pick(r, 0, 20*time.Microsecond, 200*time.Microsecond)}
	o.Delay = delay{min: 100 * time.Microsecond, max: pick[time.Duration](r, 200, 1000, 4000) * time.Microsecond}
	o.Sync = delay{max: pick[time.Duration](r, 0, 500, 2000) * time.Microsecond}
	o.Refused = pick(r, 0.0, 0.5, 1)
	if o.Mode == Quiet {
		return
	}
	if chance(r, 0.4) {
		o.Delay.tail, o.Delay.mean = pick(r, 0.001, 0.01, 0.05), pick[time.Duration](r, 5, 20, 100)*time.Millisecond
	}
	if chance(r, 0.3) {
		o.Sync.tail, o.Sync.mean = 0.01, pick[time.Duration](r, 5, 50)*time.Millisecond
	}
	if chance(r, 0.4) {
		o.Drop = pick(r, 0.001, 0.01, 0.05)
	}
	if chance(r, 0.3) {
		o.Dup = pick(r, 0.01, 0.1)
	}
}

// workload picks what clients do.
func (o *Options) workload(r *rand.Rand) {
	o.Think = delay{max: pick[time.Duration](r, 20, 50, 200) * time.Millisecond}
	if o.SnapshotSlots <= 10 { // the whole state is written again and again
		o.Clients, o.Think.max = 3, 300*time.Millisecond
	}
	o.Timeout = pick[time.Duration](r, 300, 1000, 3000) * time.Millisecond
	o.Locks = pick(r, 1, 2, 4)
	o.Keys = pick(r, 1, 3, 8)
	o.TTL = pick[time.Duration](r, 2, 3, 10) * time.Second
	o.Waiting = chance(r, 0.6)
	o.KeyShare = pick(r, 0.2, 0.5, 0.8)
	if o.Mode == Quiet {
		o.Timeout = 5 * time.Second
		o.RetryAfter = 5 * time.Second
		o.MaxPending = 16384
	}
}

// faults turns on some kinds of faults.
func (o *Options) faults(r *rand.Rand) {
	p := pick(r, 0.15, 0.3, 0.6)
	for f := range numFaults {
		if chance(r, p) {
			o.Faults = append(o.Faults, Fault(f))
		}
	}
	if len(o.Faults) == 0 {
		o.Faults = []Fault{Fault(r.IntN(numFaults))}
	}
	o.FaultEvery = pick[time.Duration](r, 200, 500, 1000, 3000) * time.Millisecond
	o.FaultLast = pick[time.Duration](r, 100, 500, 2000) * time.Millisecond
}
