package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
)

// A Fault is a kind of fault.
type Fault uint8

// The kinds of faults that the nemesis can begin and end.
const (
	CutOneWay  Fault = iota // one direction of one path
	CutPath                 // both directions of one path; both ends see the others
	Isolate                 // one node from all others
	Split                   // two halves
	Bridge                  // two halves that share one node
	Ring                    // every node sees only a majority, each another one
	Deaf                    // a node can send but not receive
	Mute                    // a node can receive but not send
	Flap                    // a path that goes up and down
	Loss                    // much loss everywhere
	SlowLinks               // much delay everywhere
	HeavyTail               // some packets are late by anything up to seconds
	Duplicates              // packets come twice, some of them seconds later
	Reorder                 // packets overtake one another
	Clog                    // a node's packets queue for a few kilobytes a second
	Swizzle                 // connections of some nodes stall one after the other, and go on in another order; nothing is lost
	Corrupt                 // bytes change on their way
	Broken                  // a connection breaks, with what is on its way

	PaxosCut  // a path loses all but heartbeats, claims and grants
	BeatsCut  // a path loses heartbeats, claims and grants alone
	GossipCut // gossip takes a node for dead, and the node the others; everything else reaches it
	ClientCut // clients cannot reach one node

	Crash     // at a random step of a turn
	SaveCrash // between a write and what it allows to be sent
	CrashAll  // power loss
	Storm     // one node crashes again and again
	Pause     // no steps while time runs
	SlowCPU   // each turn of a node takes long
	Suspend   // a machine sleeps: no steps, nothing is heard, connections are gone

	ClockRate   // a clock goes at another rate, within what is promised
	WildRate    // at a rate beyond that
	ClockJump   // a clock is minutes ahead
	ClockStrobe // a clock goes to and fro

	SlowDisk      // writes take long
	WriteError    // a write fails; the process must end
	SyncError     // a sync fails, and nobody knows what is there; the process must end
	NoSpace       // a disk is full for a while
	LostSectors   // power fails in the midst of a write; any of its sectors are there
	TornWrite     // power fails in the midst of a write; its first pages are there
	BitFlip       // a bit of what was written turns while the process is down
	SnapshotCrash // a process ends while it writes a snapshot
	LoseDisk      // a disk is lost for good, and its identity with it
	Rollback      // a disk is put back to what it was a while ago

	Gossip      // gossip lies about a peer once
	Reset       // a connection is reported gone though the process lives
	Suspicion   // gossip takes a node for dead that lives
	MissedDeath // a node dies unheard, and gossip takes it for alive
	Views       // gossip tells every node something else about every other
	GossipFlap  // gossip cannot make up its mind about a node

	Remove   // a voter is removed, and comes back
	Replace  // a voter is removed, and another takes its place
	Transfer // the leader hands over
	Lag      // a node is cut off until others have dropped what it needs

	ClientPause   // a worker stands still, often between check and act
	ClientCrash   // a worker ends, with what it holds
	HolderCrash   // a worker ends that holds a lock
	ClientTwice   // requests go to two nodes at once
	ClientLate    // requests arrive once more, seconds later
	ClientAbandon // a client gives up what it asked for, and goes on

	// NumFaults is how many there are.
	NumFaults = int(ClientAbandon) + 1
)

var faultNames = [NumFaults]string{
	"cut-one-way", "cut-path", "isolate", "split", "bridge", "ring", "deaf", "mute", "flap", "loss", "slow-links",
	"heavy-tail", "duplicates", "reorder", "clog", "swizzle", "corrupt", "broken-connection",
	"paxos-cut", "beats-cut", "gossip-cut", "client-cut",
	"crash", "save-crash", "crash-all", "crash-storm", "pause", "slow-cpu", "suspend",
	"clock-rate", "wild-rate", "clock-jump", "clock-strobe",
	"slow-disk", "write-error", "sync-error", "no-space", "lost-sectors", "torn-write", "bit-flip", "snapshot-crash", "lose-disk", "rollback",
	"false-gossip", "false-reset", "suspicion", "missed-death", "views", "gossip-flap",
	"remove", "replace", "transfer", "lag",
	"client-pause", "client-crash", "holder-crash", "client-twice", "client-late", "client-abandon",
}

func (f Fault) String() string { return faultNames[f] }

// MarshalText implements [encoding.TextMarshaler].
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (f *Fault) UnmarshalText(b []byte) error {
	i := slices.Index(faultNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("no kind of fault is called %q", b)
	}
	*f = Fault(i)
	return nil
}

// Wild reports whether clocks break their promise under f. In a run with such a fault
// leases may be wrong, and with them exclusion; agreement and fences may not.
func (f Fault) Wild() bool { return f == WildRate || f == ClockJump || f == ClockStrobe }

// Works reports whether f strikes workers, of which there must be some.
func (f Fault) Works() bool { return f == ClientPause || f == ClientCrash || f == HolderCrash }

// Moves reports whether voters change under f.
func (f Fault) Moves() bool {
	return f == LoseDisk || f == Rollback || f == BitFlip || f == Remove || f == Replace
}

// Lead in the place of a node stands for the one that leads when the fault begins.
const Lead = -1

// A Strike is one fault of a run: when it begins, how long it lasts, whom it strikes.
// What else it needs it draws from dice of its own.
type Strike struct {
	At, Last time.Duration
	Fault    Fault
	A, B     int // indices of nodes, or Lead
	Seed     uint64
}

// Script returns the faults of a run in the order in which they begin: those that it
// names, or else what its seed draws.
func (o *Options) Script() []Strike {
	if o.Strikes != nil || len(o.Faults) == 0 {
		return o.Strikes
	}
	var out []Strike
	r := rand.New(rand.NewPCG(o.Seed, 0x737472696b65))
	wait := func(mean time.Duration) time.Duration { return time.Duration(r.ExpFloat64() * float64(mean)) }
	for at := wait(o.FaultEvery); at < o.Chaos; at += wait(o.FaultEvery) {
		s := Strike{At: at, Fault: o.Faults[r.IntN(len(o.Faults))], Last: wait(o.FaultLast), Seed: r.Uint64()}
		s.A = r.IntN(o.Nodes)
		if s.B = s.A; o.Nodes > 1 {
			s.B = (s.A + 1 + r.IntN(o.Nodes-1)) % o.Nodes
		}
		if dice.Chance(r, 0.2) {
			s.A = Lead
		}
		out = append(out, s)
	}
	return out
}

// Wild reports whether clocks may break their promise in a run.
func (o *Options) Wild() bool {
	return slices.ContainsFunc(o.Faults, Fault.Wild) || slices.ContainsFunc(o.Strikes, func(s Strike) bool { return s.Fault.Wild() })
}

// Moves reports whether voters change in a run, by what strikes or by plan.
func (o *Options) Moves() bool {
	return o.Churn || o.Voters < o.Nodes || slices.ContainsFunc(o.Faults, Fault.Moves) ||
		slices.ContainsFunc(o.Strikes, func(s Strike) bool { return s.Fault.Moves() })
}
