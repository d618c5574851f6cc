// Package plan says what runs of the simulator are like: which faults strike, what
// clients do, and the constants of the code under test. [Swarm] draws it all from a
// seed.
package plan

import (
	"time"

	"github.com/prytany/prytany/internal/sim/dice"
	"github.com/prytany/prytany/internal/sim/work"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos/replica"
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
	CutOneWay   Fault = iota // one direction of one path
	CutPath                  // both directions of one path
	Isolate                  // one node from all others
	Split                    // two halves
	Bridge                   // two halves that share one node
	Ring                     // every node sees only a majority, each another one
	Deaf                     // a node can send but not receive
	Mute                     // a node can receive but not send
	Flap                     // a path that goes up and down
	Loss                     // much loss everywhere
	SlowLinks                // much delay everywhere
	Crash                    // at a random step of a turn
	CrashAll                 // power loss
	Storm                    // one node crashes again and again
	Pause                    // no steps while time runs
	SlowDisk                 // writes take long
	BadDisk                  // a write fails; the process must end
	Gossip                   // gossip lies about a peer
	Reset                    // a connection is reported gone though the process lives
	ClientCut                // clients cannot reach one node
	ClientPause              // a worker stands still, often between check and act
	ClientCrash              // a worker ends, with what it holds

	LoseDisk // a disk is lost for good, and its identity with it

	Rollback // a disk is put back to what it was a while ago

	// NumFaults is how many there are.
	NumFaults = int(Rollback) + 1

	// Those that happen to the cluster; the dice of old are over these.
	numClusterFaults = int(ClientCut) + 1
)

var faultNames = [NumFaults]string{
	"cut-one-way", "cut-path", "isolate", "split", "bridge", "ring", "deaf", "mute", "flap", "loss", "slow-links",
	"crash", "crash-all", "crash-storm", "pause", "slow-disk", "bad-disk", "false-gossip", "false-reset", "client-cut",
	"client-pause", "client-crash", "lose-disk", "rollback",
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
	Delay     dice.Delay
	Ordered   bool       // links keep order, as connections do
	Codec     bool       // packets pass through their bytes
	Loop      dice.Delay // from the arrival of a packet to the turn that takes it
	Sync      dice.Delay // what a write takes
	Refused   float64
	Revive    bool // trimmed votes may come back in a crash
	MaxDrift  int  // clocks run this many parts per million fast or slow, at most

	Heartbeat, Silence, Lease time.Duration
	MoveAfter                 time.Duration // 0 means as in production
	Tick, RetryAfter          time.Duration
	MaxBatch, MaxPending      int
	SnapshotSlots, TailSlots  int
	LeaseReads                bool
	HandOverEvery             time.Duration // mean time between two hand-overs; 0 means none

	workload.Options
	Think   dice.Delay // between two operations of a client
	Timeout time.Duration
	Events  int // revisions of which the machine keeps the events; 0 means as many as in production
	Work    work.Plan

	Sides      int  // groups beside main
	SideMoves  bool // their members change
	SideBytes  int  // of filler in each of their commands
	SideFiller int  // bytes of filler in their snapshots

	Verbose bool
	Hooks   Hooks
}

// A Hooks changes what the world is made of, so that tests can show that a
// broken part is noticed. A nil field changes nothing.
type Hooks struct {
	Storage  func(replica.Storage) replica.Storage
	Send     func(replica.Packet) replica.Packet
	Machine  func(replica.Machine) replica.Machine
	Changes  func([]*locks.Change) []*locks.Change // as those who watch are told of them
	Read     bool                                  // reads are served by whoever is asked, without asking the leader
	Leads    bool                                  // reads are served by whoever believes that it leads, without asking anybody
	Releases bool                                  // leaders release their acceptors and go on
	Gullible bool                                  // nobody looks whether a process has been rolled back
	Amnesia  bool                                  // who has lost its disk comes back under its old identity
	Talks    bool                                  // acceptors do not keep silent after a restart
	Work     work.Hooks
	Trust    bool // the account does not look at answers
}
