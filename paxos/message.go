package paxos

import "github.com/prytany/prytany/synod"

// A GroupID names one replicated log. Main exists on every cluster from the
// start; 0 is no group.
type GroupID uint64

// Main is the group every cluster begins with.
const Main GroupID = 1

// A Slot is a position in a group's log, from 1, across all configurations.
type Slot uint64

// A Message goes from one node's member of a group to another's. Messages may
// be lost, late, repeated and reordered.
//
// All but [CatchUp], [Learned], [Sealed] and [SnapshotChunk] belong to one
// configuration of the group, and are refused in any other: ballots of
// different configurations must never be compared.
type Message interface{ message() }

// Prepare is phase 1a for every slot >= First at once.
type Prepare struct {
	Config ConfigID
	Ballot synod.Ballot
	First  Slot
}

// Promise is phase 1b. The sender has promised Ballot; everything up to and
// including Decided is chosen, and the proposer must learn it as such before it
// proposes anything above. Votes is every vote the sender has cast above
// Decided, in slot order, also above a stop-sign; before them come the chosen
// values from Prepare.First on, marked Chosen, as far as one message may carry
// them. CatchUp fetches the rest.
//
// Nobody votes further above its watermark than four times MaxWindow, which
// bounds Votes.
type Promise struct {
	Config  ConfigID
	Ballot  synod.Ballot
	Decided Slot
	Votes   []SlotVote
}

// Accept is phase 2a for the consecutive slots First, First+1, ...
//
// Base is the last slot the proposer knew to be chosen when its ballot began;
// everything above it is proposed anew under Ballot. Decided is the
// proposer's watermark: every slot up to it is chosen. An Accept without
// Values only carries the watermark; First is then the next slot that will be
// proposed, or 0 to ask for an answer in any case (a probe).
type Accept struct {
	Config  ConfigID
	Ballot  synod.Ballot
	Base    Slot
	First   Slot
	Values  []synod.Value
	Decided Slot
}

// Accepted is phase 2b: the sender has voted under Ballot in every slot up to
// and including UpTo, save those up to Base or Decided of an Accept of that
// ballot, for which the proposer needs no votes. To know the chosen value of a
// slot is not to have voted: the proposer may be an old one that proposes
// another. It is sent in answer to every Accept that carried Values, left a
// hole below First, or was a probe.
type Accepted struct {
	Config ConfigID
	Ballot synod.Ballot
	UpTo   Slot
}

// Nack refuses a Prepare, Accept or Confirm of Ballot because Promised is
// higher. The receiver drops the sender from the quorum of that ballot; it
// does not adopt Promised, raise its own ballot or tell others: two proposers
// that a third node can reach, but not each other, would depose one another
// for ever.
type Nack struct {
	Config   ConfigID
	Ballot   synod.Ballot
	Promised synod.Ballot
}

// Confirm asks whether Ballot still leads, for linearizable reads. Seq grows.
type Confirm struct {
	Config ConfigID
	Ballot synod.Ballot
	Seq    uint64
}

// Confirmed says that the sender, when it received Confirm, had promised
// nothing above Ballot.
type Confirmed struct {
	Config ConfigID
	Ballot synod.Ballot
	Seq    uint64
}

// CatchUp asks any member for chosen values from slot From on. Learner says
// that the sender is no voter of the group's present configuration.
// If a snapshot transfer is under way, SnapshotSlot and SnapshotOffset say
// how far it got.
type CatchUp struct {
	From           Slot
	Learner        bool
	SnapshotSlot   Slot
	SnapshotOffset uint64
}

// Learned answers CatchUp: the chosen values of First, First+1, ... as far as
// one message may carry, and the sender's watermark. Values may be empty. With
// First 0 it is not an answer: it offers what the sender knows, and asks for a
// CatchUp in any case, which tells how far the receiver is.
type Learned struct {
	First   Slot
	Values  []synod.Value
	Decided Slot
}

// Sealed tells a member that works in an old configuration that a stop-sign
// was chosen at slot At and configuration Config began after it. The receiver
// catches up. A driver that hears of a peer's newer configuration in another
// way may hand the group a Sealed without At in that peer's name: a member that
// was removed while it was cut off has no other way of learning it.
type Sealed struct {
	Config ConfigID
	At     Slot
}

// SnapshotChunk answers a CatchUp that asks for slots which are only in a
// snapshot any more: bytes [Offset, Offset+len(Data)) of the snapshot at Slot,
// Size bytes long in all, whose checksum is Sum. Equal snapshots have equal checksums
// on all members. The receiver asks for the next
// chunk by CatchUp.
type SnapshotChunk struct {
	Slot   Slot
	Offset uint64
	Size   uint64
	Sum    uint32
	Data   []byte
}

func (Prepare) message()       {}
func (Promise) message()       {}
func (Accept) message()        {}
func (Accepted) message()      {}
func (Nack) message()          {}
func (Confirm) message()       {}
func (Confirmed) message()     {}
func (CatchUp) message()       {}
func (Learned) message()       {}
func (Sealed) message()        {}
func (SnapshotChunk) message() {}

// An Envelope is a message and where it goes.
type Envelope struct {
	To  synod.NodeID
	Msg Message
}
