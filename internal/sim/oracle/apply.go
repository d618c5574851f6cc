package oracle

import (
	"bytes"

	"github.com/prytany/prytany/paxos"
)

// Applied checks one command that n applies as its k-th (I6, I7), and returns
// whether n is the first to do so.
func (o *Oracle) Applied(n Node, k int, slot paxos.Slot, cmd, result []byte) (first bool) {
	if k >= len(o.log) {
		Fail("I7", "%s applies a command at slot %d that is not chosen", n.Name, slot)
	}
	c := &o.log[k]
	if c.slot != slot || !bytes.Equal(c.text, cmd) {
		Fail("I6", "%s applies as command %d one of slot %d; the log has one of slot %d there", n.Name, k, slot, c.slot)
	}
	h := hashBytes(result)
	if !c.known {
		c.result, c.known = h, true
		return true
	}
	if c.result != h {
		Fail("I6", "%s: command %d at slot %d returns another result than on another node", n.Name, k, slot)
	}
	return false
}

// AppliedUpTo checks that n, which has applied k commands, has applied every
// slot up to slot, and went from slot from on.
func (o *Oracle) AppliedUpTo(n Node, k int, from, slot paxos.Slot) {
	switch {
	case slot > o.chosen:
		Fail("I7", "%s has applied slot %d; chosen is only up to %d", n.Name, slot, o.chosen)
	case slot < from:
		Fail("I7", "%s: applied slot falls from %d to %d", n.Name, from, slot)
	case slot > 0 && o.slots[slot-1].commands != k:
		Fail("I7", "%s has applied %d commands up to slot %d; the log has %d", n.Name, k, slot, o.slots[slot-1].commands)
	}
}

// State compares the hash of n's machine after slot with that of the others.
func (o *Oracle) State(n Node, slot paxos.Slot, hash uint64) {
	if old, ok := o.hashes[slot]; ok && old != hash {
		Fail("I6", "%s: state after slot %d differs from another node's", n.Name, slot)
	}
	o.hashes[slot] = hash
}

// Answered checks the result of a proposal before a client is told of it: it
// must be what applying the slot returned.
func (o *Oracle) Answered(slot paxos.Slot, payload []byte) {
	if slot == 0 || slot > o.chosen {
		Fail("I7", "a client is told of slot %d; chosen is only up to %d", slot, o.chosen)
	}
	h, from := hashBytes(payload), 0
	if slot > 1 {
		from = o.slots[slot-2].commands
	}
	for k := from; k < o.slots[slot-1].commands; k++ {
		if o.log[k].known && o.log[k].result == h {
			o.acked = max(o.acked, slot)
			return
		}
	}
	Fail("I6", "a client is told a result of slot %d that no command of it had", slot)
}

// Read checks a linearizable read that may be served from slot at n, and was
// asked for when acked was the highest slot any client knew of (I8).
func (o *Oracle) Read(n Node, slot, acked paxos.Slot) {
	switch {
	case slot < acked:
		Fail("I8", "%s serves a read at slot %d; slot %d was acknowledged before it began", n.Name, slot, acked)
	case slot > o.chosen:
		Fail("I7", "%s serves a read at slot %d; chosen is only up to %d", n.Name, slot, o.chosen)
	}
}

// Snapshot checks what n is about to save as its snapshot, in the place of that of slot
// old: the state after its slot, with the configuration in force there, and no earlier
// one. It holds the state after count commands, up to applied.
func (o *Oracle) Snapshot(n Node, old paxos.Slot, s paxos.Snapshot, count int, applied paxos.Slot) {
	if s.Slot < old {
		Fail("I5", "%s: the snapshot of slot %d takes the place of that of slot %d", n.Name, s.Slot, old)
	}
	o.watermark(n, s.Slot, "SaveSnapshot")
	o.AppliedUpTo(n, count, applied, applied)
	if applied != s.Slot {
		Fail("I6", "%s: the snapshot of slot %d holds the state of slot %d", n.Name, s.Slot, applied)
	}
	last := &o.configs[0]
	for i := range o.configs {
		if o.configs[i].Start <= s.Slot {
			last = &o.configs[i]
		}
	}
	if s.Membership.ID != last.ID || s.Membership.Start != last.Start || len(s.Membership.Voters) != len(last.Voters) {
		Fail("I6", "%s: the snapshot of slot %d says configuration %d from %d; it is %d from %d",
			n.Name, s.Slot, s.Membership.ID, s.Membership.Start, last.ID, last.Start)
	}
}
