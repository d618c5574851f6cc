// Package plan says what runs of the simulator are like: which faults strike, what
// clients do, and the constants of the code under test. [Swarm] draws it all from a
// seed.
package plan

import (
	"fmt"
	"slices"
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

var modeNames = [...]string{"safety", "liveness", "quiet"}

func (m Mode) String() string { return modeNames[m] }

// MarshalText implements [encoding.TextMarshaler].
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *Mode) UnmarshalText(b []byte) error {
	i := slices.Index(modeNames[:], string(b))
	if i < 0 {
		return fmt.Errorf("no mode is called %q", b)
	}
	*m = Mode(i)
	return nil
}

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
	Strikes    []Strike      // what strikes instead of that which Script draws; empty and not nil means nothing
	Slow       int           // what happens at a steady pace, beside the code under test, does so this many times more rarely; 0 means 1

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
	TailBytes                 int           // 0 means as in production
	LeaseReads                bool          // but not in a wild run
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

	Verbose bool  `json:"-"`
	Hooks   Hooks `json:"-"`
}

// Every returns how often something happens that happens every d at the usual pace.
func (o *Options) Every(d time.Duration) time.Duration { return d * time.Duration(max(o.Slow, 1)) }

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
