// Package oracle checks a simulated cluster from above: it sees everything that
// all nodes make durable, send and apply, and panics with a [Violation] as soon
// as any of it cannot be right. It knows more than any node: which values are
// chosen follows from the durable votes alone.
package oracle

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/prytany/prytany/internal/sim/disk"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// maxSpread bounds the slots between the lowest and the highest one in use; a
// slot beyond it can only be a bug.
const maxSpread = 1 << 20

// A Violation is the panic of a broken invariant.
type Violation struct {
	Invariant string // "I1", "panic", "liveness"
	Detail    string
}

func (v Violation) Error() string { return v.Invariant + ": " + v.Detail }

// Fail panics with a Violation.
func Fail(invariant, format string, args ...any) {
	panic(Violation{invariant, fmt.Sprintf(format, args...)})
}

// A Node is how the oracle is told whom something is about.
type Node struct {
	ID    synod.NodeID
	Index int // from 0
	Name  string
}

// An Oracle watches one group. Not safe for concurrent use.
type Oracle struct {
	configs []config    // by ConfigID-1
	slots   []slotFacts // by Slot-1
	chosen  paxos.Slot  // every slot up to it is chosen
	ballots map[ballotKey]*ballotFacts
	nodes   []nodeFacts
	log     []command // the commands of the chosen slots, in order
	hashes  map[paxos.Slot]uint64
	acked   paxos.Slot // the highest slot that any client was told of
}

// A config is a configuration that is known to be chosen.
type config struct {
	paxos.Membership
	stop paxos.Slot // where it was sealed, 0 if it is not
}

// slotFacts is what is known of one slot.
type slotFacts struct {
	isChosen bool
	config   paxos.ConfigID
	vote     synod.Vote // chosen value, and the lowest ballot known to have chosen it
	tallies  []tally    // until it is chosen
	commands int        // len(oracle.log) after this slot
}

// A tally counts the durable votes for one proposal.
type tally struct {
	config paxos.ConfigID
	vote   synod.Vote
	voters synod.Set
}

// nodeFacts is what the oracle remembers of one node.
type nodeFacts struct {
	decided  paxos.Slot // checked on its disk up to here
	accepted acceptedUpTo
	written  []paxos.SlotVote // by its last save, overwritten within it or not
	replaced []paxos.SlotVote // what that save overwrote
}

// had reports whether the node's disk held sv just before its last save, or in
// the course of it: a member that tells of a vote and then, in the same turn,
// learns the chosen value of the slot told the truth.
func (f *nodeFacts) had(sv paxos.SlotVote) bool {
	same := func(v paxos.SlotVote) bool { return v.Slot == sv.Slot && v.Config == sv.Config && v.Vote == sv.Vote }
	return slices.ContainsFunc(f.written, same) || slices.ContainsFunc(f.replaced, same)
}

// wrote reports whether the node's last save held a vote in ballot k at slot s, or
// replaced it: a member that votes in a turn, and then votes in a later ballot or
// learns the chosen value of the slot, has done both. So has one that votes at the
// slot before s, and only then may speak of what it had voted at s.
func (f *nodeFacts) wrote(s paxos.Slot, k ballotKey) bool {
	same := func(v paxos.SlotVote) bool { return v.Slot == s && ballotKey{v.Config, v.Vote.Ballot} == k }
	return slices.ContainsFunc(f.written, same) || slices.ContainsFunc(f.replaced, same)
}

// acceptedUpTo says that a node's votes in one ballot were found on its disk.
type acceptedUpTo struct {
	key  ballotKey
	upTo paxos.Slot
}

// A command of the log that every node must apply alike.
type command struct {
	slot   paxos.Slot
	text   []byte
	result uint64 // hash of what Apply returned
	known  bool   // somebody has applied it
}

// New returns the oracle of a group that begins with configuration first, and
// may come to have members among so many nodes.
func New(first paxos.Membership, nodes int) *Oracle {
	return &Oracle{
		configs: []config{{Membership: first}},
		slots:   []slotFacts{{isChosen: true, config: 1}}, // taken by decree: the empty machine
		chosen:  1,
		ballots: make(map[ballotKey]*ballotFacts),
		nodes:   make([]nodeFacts, nodes),
		hashes:  make(map[paxos.Slot]uint64),
	}
}

// Forget says that the node with that index has lost its disk.
func (o *Oracle) Forget(index int) { o.nodes[index] = nodeFacts{} }

// Chosen returns the slot up to which everything is chosen.
func (o *Oracle) Chosen() paxos.Slot { return o.chosen }

// ChosenBy returns the ballot in which slot s, not above Chosen, was chosen first.
func (o *Oracle) ChosenBy(s paxos.Slot) (paxos.ConfigID, synod.Ballot) {
	f := o.slot(s)
	return f.config, f.vote.Ballot
}

// Acked returns the highest slot that any client was told of.
func (o *Oracle) Acked() paxos.Slot { return o.acked }

// Commands returns the number of commands chosen.
func (o *Oracle) Commands() int { return len(o.log) }

// Config returns the configuration in force after everything chosen.
func (o *Oracle) Config() paxos.Membership { return o.configs[len(o.configs)-1].Membership }

func hashBytes(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// config returns configuration c; it must be chosen.
func (o *Oracle) config(c paxos.ConfigID) *config {
	if c == 0 || int(c) > len(o.configs) {
		Fail("I1", "configuration %d is used, but only %d are chosen", c, len(o.configs))
	}
	return &o.configs[c-1]
}

func (o *Oracle) slot(s paxos.Slot) *slotFacts {
	if s == 0 || s > paxos.Slot(len(o.slots))+maxSpread {
		Fail("I1", "slot %d is far beyond slot %d, the highest in use", s, len(o.slots))
	}
	for paxos.Slot(len(o.slots)) < s {
		o.slots = append(o.slots, slotFacts{})
	}
	return &o.slots[s-1]
}

// isChosen reports whether v is chosen at s.
func (o *Oracle) isChosen(s paxos.Slot, v synod.Value) bool {
	if s <= 0 || s > paxos.Slot(len(o.slots)) {
		return false
	}
	f := &o.slots[s-1]
	return f.isChosen && f.vote.Value == v
}

// Saving checks an update before it reaches n's disk, on which v is what
// there is so far (I2), counts its votes, and learns n's promise to itself.
func (o *Oracle) Saving(n Node, v *disk.Volume, u paxos.Update) {
	if !u.Dirty {
		return
	}
	old, h := v.Header, u.Header
	switch {
	case h.Membership.ID < old.Membership.ID:
		Fail("I2", "%s: configuration falls from %d to %d", n.Name, old.Membership.ID, h.Membership.ID)
	case h.Membership.ID == old.Membership.ID && h.Promised.Less(old.Promised):
		Fail("I2", "%s: promise falls from %v to %v", n.Name, old.Promised, h.Promised)
	case h.Snapshot < old.Snapshot || h.Trimmed < old.Trimmed:
		Fail("I2", "%s: snapshot %d, trimmed %d fall to %d, %d", n.Name, old.Snapshot, old.Trimmed, h.Snapshot, h.Trimmed)
	case h.Snapshot > 0 && (v.Snapshot < h.Snapshot):
		Fail("I5", "%s: header points to snapshot %d, on disk is %d", n.Name, h.Snapshot, v.Snapshot)
	case h.Trimmed > h.Snapshot+1:
		Fail("I5", "%s: trimmed below %d with a snapshot of %d", n.Name, h.Trimmed, h.Snapshot)
	}
	for _, sv := range u.Votes {
		was := v.Vote(sv.Slot)
		switch {
		case sv.Config == h.Membership.ID && h.Promised.Less(sv.Vote.Ballot):
			Fail("I2", "%s: votes in %v at slot %d, above its promise %v", n.Name, sv.Vote.Ballot, sv.Slot, h.Promised)
		case was.Slot == 0 || sv.Chosen:
		case was.Chosen:
			Fail("I2", "%s: slot %d was known to be chosen and is not any more", n.Name, sv.Slot)
		case sv.Config < was.Config, sv.Config == was.Config && sv.Vote.Ballot.Less(was.Vote.Ballot):
			Fail("I2", "%s: vote at slot %d falls from %v to %v", n.Name, sv.Slot, was.Vote.Ballot, sv.Vote.Ballot)
		}
	}
	f := &o.nodes[n.Index]
	f.written, f.replaced = append(f.written[:0], u.Votes...), f.replaced[:0]
	for _, sv := range u.Votes {
		if was := v.Vote(sv.Slot); was.Slot != 0 {
			f.replaced = append(f.replaced, was)
		}
	}
	for _, sv := range u.Votes {
		if !sv.Vote.Ballot.IsZero() && sv.Config != 0 {
			o.voted(n, sv)
		}
	}
	self := h.Membership.Ordinal(n.ID)
	fresh := old.Membership.ID != h.Membership.ID || old.Promised.Less(h.Promised)
	if self != 0 && h.Promised.Member == self && fresh {
		o.promisedItself(n, v, u)
	}
}

// Saved checks what an update that is on n's disk v now says is chosen.
func (o *Oracle) Saved(n Node, v *disk.Volume, u paxos.Update) {
	for _, sv := range u.Votes {
		if sv.Chosen && !o.isChosen(sv.Slot, sv.Vote.Value) {
			Fail("I1", "%s takes a value as chosen at slot %d that no quorum has voted for", n.Name, sv.Slot)
		}
	}
	if !u.Dirty {
		return
	}
	f, h := &o.nodes[n.Index], u.Header
	if h.Decided > o.chosen || h.Snapshot > o.chosen {
		Fail("I7", "%s: watermark %d, snapshot %d; chosen is only up to %d", n.Name, h.Decided, h.Snapshot, o.chosen)
	}
	if h.Membership.ID != 0 {
		o.config(h.Membership.ID)
	}
	for s := max(f.decided, h.Snapshot) + 1; s <= h.Decided; s++ {
		if sv := v.Vote(s); sv.Slot != s || !o.isChosen(s, sv.Vote.Value) {
			Fail("I5", "%s: watermark %d, but its disk does not hold the chosen value of slot %d", n.Name, h.Decided, s)
		}
	}
	f.decided = max(f.decided, h.Decided)
}

// voted counts one durable vote.
func (o *Oracle) voted(n Node, sv paxos.SlotVote) {
	c := o.config(sv.Config)
	seat := c.Seat(n.ID)
	if seat < 0 {
		Fail("I1", "%s votes at slot %d in configuration %d, where it has no vote", n.Name, sv.Slot, sv.Config)
	}
	f := o.slot(sv.Slot)
	if f.isChosen {
		if f.config == sv.Config && f.vote.Ballot.Less(sv.Vote.Ballot) && f.vote.Value != sv.Vote.Value {
			Fail("I1", "%s votes in %v at slot %d against the value chosen in %v", n.Name, sv.Vote.Ballot, sv.Slot, f.vote.Ballot)
		}
		return
	}
	for i := range f.tallies {
		t := &f.tallies[i]
		if t.config != sv.Config || t.vote.Ballot != sv.Vote.Ballot {
			continue
		}
		if t.vote.Value != sv.Vote.Value {
			Fail("I3", "two values have votes in %v at slot %d", sv.Vote.Ballot, sv.Slot)
		}
		t.voters = t.voters.With(seat)
		o.count(sv.Slot, *t)
		return
	}
	t := tally{sv.Config, sv.Vote, synod.Set(0).With(seat)}
	f.tallies = append(f.tallies, t)
	o.count(sv.Slot, t)
}

// count makes the value of t chosen if t is a quorum.
func (o *Oracle) count(s paxos.Slot, t tally) {
	c := o.config(t.config)
	if !c.Quorums().Phase2(t.voters) {
		return
	}
	if c.stop != 0 && s > c.stop {
		Fail("I1", "slot %d is chosen in configuration %d, which ended at slot %d", s, t.config, c.stop)
	}
	if s <= c.Start {
		Fail("I1", "slot %d is chosen in configuration %d, which began after slot %d", s, t.config, c.Start)
	}
	f := o.slot(s)
	f.isChosen, f.config, f.vote = true, t.config, t.vote
	for _, other := range f.tallies {
		if other.config == t.config && t.vote.Ballot.Less(other.vote.Ballot) && other.vote.Value != t.vote.Value {
			Fail("I1", "slot %d: chosen in %v, but there is another proposal in %v", s, t.vote.Ballot, other.vote.Ballot)
		}
	}
	f.tallies = nil
	for o.chosen < paxos.Slot(len(o.slots)) && o.slots[o.chosen].isChosen {
		o.advance()
	}
}

// advance moves the watermark over one more chosen slot.
func (o *Oracle) advance() {
	o.chosen++
	f := &o.slots[o.chosen-1]
	d, err := paxos.Decode(f.vote.Value)
	if err != nil {
		Fail("I1", "slot %d: the chosen value is not readable: %v", o.chosen, err)
	}
	switch d.Kind {
	case paxos.KindBatch:
		for _, c := range d.Commands {
			o.log = append(o.log, command{slot: o.chosen, text: c})
		}
	case paxos.KindStop:
		o.seal(f.config, d.Next)
	}
	f.commands = len(o.log)
}

// seal ends configuration c at the watermark.
func (o *Oracle) seal(c paxos.ConfigID, next paxos.Membership) {
	old := o.config(c)
	old.stop = o.chosen
	if next.ID != c+1 || len(o.configs) != int(c) {
		Fail("I1", "configuration %d follows %d", next.ID, c)
	}
	for s := o.chosen; s < paxos.Slot(len(o.slots)); s++ {
		if f := &o.slots[s]; f.isChosen {
			Fail("I1", "slot %d is chosen in configuration %d, which ended at slot %d", s+1, f.config, o.chosen)
		}
	}
	next.Start = o.chosen
	o.configs = append(o.configs, config{Membership: next})
}
