package paxos

import "github.com/prytany/prytany/synod"

// Config configures a Group. Fields without a stated default are required.
type Config struct {
	Group GroupID
	Self  synod.NodeID

	// MaxWindow bounds the slots proposed and not yet chosen. 0 means 1024.
	MaxWindow int
	// MaxWindowBytes bounds the bytes of those slots. 0 means 16 MiB.
	MaxWindowBytes int
	// MaxMessageBytes bounds the values in one Accept or Learned. 0 means 1 MiB.
	MaxMessageBytes int
}

// A Group is one node's member of one replicated log.
type Group struct{}

// New returns a member with the state it had when d was saved. A Group that is
// not a voter of d.Header.Membership is a learner.
func New(cfg Config, d Durable) (*Group, error) { panic("skeleton") }

// Campaign begins phase 1 with ballot b over all slots above the watermark.
// It does nothing if b is not above the promise or not this member's own.
func (g *Group) Campaign(b synod.Ballot, out *Effects) {}

// StepDown gives up leadership or candidacy, if any.
func (g *Group) StepDown(out *Effects) {}

// Propose puts v in the next slot. Errors: *NotLeaderError, ErrOverloaded
// (window full); both mean that nothing happened.
func (g *Group) Propose(v synod.Value, out *Effects) (Slot, error) { return 0, nil }

// Receive handles one message from a peer.
func (g *Group) Receive(from synod.NodeID, m Message, out *Effects) {}

// Read asks for a linearizable read; see [Read]. Errors: *NotLeaderError.
func (g *Group) Read(out *Effects) (seq uint64, err error) { return 0, nil }

// Tick is called every heartbeat interval: it repeats what may have been lost.
func (g *Group) Tick(out *Effects) {}

// Flush ends a turn: it turns what was proposed and learned in it into as few
// messages as possible. Call it once before carrying out out.
func (g *Group) Flush(out *Effects) {}

// Compact says that a snapshot at slot s is durable and that votes below
// keep may be forgotten. The caller saves the Header that out then holds.
func (g *Group) Compact(s, keep Slot, out *Effects) {}

// Install replaces everything up to s.Slot by the snapshot s, which is durable
// already. The caller restores the machine before it applies anything else.
func (g *Group) Install(s Snapshot, out *Effects) {}

// Status is a copy of what others may know about a Group.
type Status struct {
	Group      GroupID
	Membership Membership
	Promised   synod.Ballot
	Leading    bool         // phase 1 is complete
	Campaign   bool         // phase 1 is under way
	Ballot     synod.Ballot // own ballot while Leading or Campaign
	Decided    Slot
	First      Slot // first slot still in the log (below: snapshot only)
	Last       Slot // highest slot with a vote or proposal
	InFlight   int
	Marks      map[synod.NodeID]Slot // leader: how far each voter has voted
	Learners   map[synod.NodeID]Slot // where each learner asked to catch up from, lately
	Recovered  bool                  // leader: everything inherited is chosen; reads may be served
}

// Status returns the present state.
func (g *Group) Status() Status { return Status{} }

// Noop is the value that fills a hole.
const Noop synod.Value = ""

// A Kind is the kind of a chosen value.
type Kind uint8

// The kinds of values.
const (
	KindNoop  Kind = 0
	KindBatch Kind = 1
	KindStop  Kind = 2
)

// A Decoded value.
type Decoded struct {
	Kind     Kind
	Origin   synod.Ballot // KindBatch: the ballot it was first proposed in
	Commands [][]byte     // KindBatch
	Next     Membership   // KindStop
}

// EncodeBatch returns the value of a batch of commands first proposed in
// ballot origin. With its slot, origin makes every batch distinct.
func EncodeBatch(origin synod.Ballot, cmds [][]byte) synod.Value { return "" }

// EncodeStop returns the stop-sign that seals a configuration; next follows.
func EncodeStop(next Membership) synod.Value { return "" }

// Decode is the inverse of EncodeBatch and EncodeStop. It never panics;
// commands alias v's bytes copied once.
func Decode(v synod.Value) (Decoded, error) { return Decoded{}, nil }
