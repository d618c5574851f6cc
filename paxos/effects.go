package paxos

import (
	"math"

	"github.com/prytany/prytany/synod"
)

// Effects is what the world must do for a Group. A driver carries them out in
// field order and may batch many steps into one Effects before doing so. The
// order of the fields is the safety rule: persist, then send, then apply.
type Effects struct {
	Early []Envelope     // 0. may leave at once: Accepts of a ballot whose promise is durable already
	Save  Update         // 1. make durable in one atomic write, if it is Dirty
	Send  []Envelope     // 2. only after 1; may be lost, late or repeated
	Apply []Entry        // 3. in slot order, without gaps; the first Settled of them may be applied before 1
	Reads []Read         // 4. linearizable reads that may be served once Index is applied
	Chunk []ChunkRequest // 5. snapshot bytes that peers ask for
	Trace []Event        // 6. for logs, metrics and model checking; never acted on

	Settled int // entries of Apply that were chosen by votes which are durable already
}

// Reset empties e and keeps its memory.
func (e *Effects) Reset() {
	*e = Effects{Early: e.Early[:0], Save: Update{Votes: e.Save.Votes[:0]}, Send: e.Send[:0], Apply: e.Apply[:0],
		Reads: e.Reads[:0], Chunk: e.Chunk[:0], Trace: e.Trace[:0]}
}

// Empty reports whether e asks for nothing.
func (e *Effects) Empty() bool {
	return !e.Save.Dirty && len(e.Early)+len(e.Send)+len(e.Apply)+len(e.Reads)+len(e.Chunk)+len(e.Trace) == 0
}

// A SlotVote is what an acceptor remembers of one slot. Chosen says that
// Vote.Value is known to be the chosen value; Vote.Ballot may then be zero
// (learned without having voted). Config is the configuration that the ballot
// belongs to.
type SlotVote struct {
	Slot   Slot
	Config ConfigID
	Chosen bool
	Vote   synod.Vote
}

// A Header is the part of a group's durable state that is not a vote.
//
// Headers are ordered by (Membership.ID, Promised); a later one never goes
// back. Decided is a hint that may lag: every slot up to it, above Snapshot,
// has a durable SlotVote whose value is the chosen one. Everything up to
// Snapshot is in the snapshot; votes below Trimmed are gone.
type Header struct {
	Membership Membership
	Promised   synod.Ballot // in configuration Membership.ID
	Decided    Slot
	Snapshot   Slot
	Trimmed    Slot // the first slot whose vote may still be there

	// Floor is not 0 if this node had a part in the group before and has given it up:
	// the last configuration that it knew of then. It has forgotten what it voted for
	// in the configurations up to Floor, and is no voter there whatever their
	// Membership says.
	Floor ConfigID
}

// Forever is the floor of a node that may never vote in a group again.
const Forever ConfigID = math.MaxUint32

// An Update is one atomic change of a group's durable state. Header, if
// Dirty, replaces the old one; Votes overwrite those of the same slots.
type Update struct {
	Group  GroupID
	Dirty  bool // there is anything to make durable
	Header Header
	Votes  []SlotVote
}

// Durable is what a group finds when it starts: the last saved Header and all
// votes in slot order, gaps allowed. The zero Durable is a fresh member.
type Durable struct {
	Header Header
	Votes  []SlotVote
}

// An Entry is a chosen value that is applied. A value may be a no-op, a
// stop-sign, or a batch of commands (see [Decode]).
type Entry struct {
	Slot  Slot
	Value synod.Value
}

// A Read is the answer to [Group.Read]: it may be served, and is linearizable,
// once everything up to and including Index is applied.
type Read struct {
	Seq   uint64
	Index Slot
	Err   error // *NotLeaderError: leadership was lost before it was confirmed
}

// A ChunkRequest is a peer's wish for a piece of the latest snapshot: the one
// at Slot from Offset on, or from its start if another one is the latest now.
type ChunkRequest struct {
	To     synod.NodeID
	Slot   Slot
	Offset uint64
}

// A Snapshot is the state of a group's machine after slot Slot, and the
// configuration in force after it.
type Snapshot struct {
	Slot       Slot
	Membership Membership
	Data       []byte
}

// An EventKind says what happened in a Group. Kinds are part of the metrics:
// never renumber.
type EventKind uint8

// The kinds of events.
const (
	EvCampaign     EventKind = 1 // phase 1 begun with Ballot
	EvLeading      EventKind = 2 // phase 1 complete: leads with Ballot; Slot is the last recovered slot
	EvStepDown     EventKind = 3 // no longer leads or campaigns; Ballot is the one given up
	EvPromised     EventKind = 4 // promised Ballot of another node
	EvDecided      EventKind = 5 // watermark reached Slot
	EvReconfigured EventKind = 6 // the stop-sign at Slot was applied
	EvInstalled    EventKind = 7 // a snapshot at Slot was installed
	EvCatchUp      EventKind = 8 // asked Node for values from Slot on
)

// An Event is a fact about a Group, for logs, metrics and checkers.
type Event struct {
	Kind   EventKind
	Ballot synod.Ballot
	Slot   Slot
	Node   synod.NodeID
}
