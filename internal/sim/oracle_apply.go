package sim

import (
	"bytes"

	"github.com/prytany/prytany/paxos"
)

// applied checks one command that n applies as its k-th (I6, I7), and returns
// whether n is the first to do so.
func (o *oracle) applied(n *node, k int, slot paxos.Slot, cmd, result []byte) (first bool) {
	if k >= len(o.log) {
		o.fail("I7", "%s applies a command at slot %d that is not chosen", n.name, slot)
	}
	c := &o.log[k]
	if c.slot != slot || !bytes.Equal(c.text, cmd) {
		o.fail("I6", "%s applies as command %d one of slot %d; the log has one of slot %d there", n.name, k, slot, c.slot)
	}
	h := hashBytes(result)
	if !c.known {
		c.result, c.known = h, true
		return true
	}
	if c.result != h {
		o.fail("I6", "%s: command %d at slot %d returns another result than on another node", n.name, k, slot)
	}
	return false
}

// appliedUpTo checks that n, which has applied k commands, has applied every
// slot up to slot, and went from slot from on.
func (o *oracle) appliedUpTo(n *node, k int, from, slot paxos.Slot) {
	switch {
	case slot > o.chosen:
		o.fail("I7", "%s has applied slot %d; chosen is only up to %d", n.name, slot, o.chosen)
	case slot < from:
		o.fail("I7", "%s: applied slot falls from %d to %d", n.name, from, slot)
	case slot > 0 && o.slots[slot-1].commands != k:
		o.fail("I7", "%s has applied %d commands up to slot %d; the log has %d", n.name, k, slot, o.slots[slot-1].commands)
	}
}

// state compares the hash of n's machine after slot with that of the others.
func (o *oracle) state(n *node, slot paxos.Slot, hash uint64) {
	if old, ok := o.hashes[slot]; ok && old != hash {
		o.fail("I6", "%s: state after slot %d differs from another node's", n.name, slot)
	}
	o.hashes[slot] = hash
}

// answered checks the result of a proposal before a client is told of it: it
// must be what applying the slot returned.
func (o *oracle) answered(slot paxos.Slot, payload []byte) {
	if slot == 0 || slot > o.chosen {
		o.fail("I7", "a client is told of slot %d; chosen is only up to %d", slot, o.chosen)
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
	o.fail("I6", "a client is told a result of slot %d that no command of it had", slot)
}

// read checks a linearizable read that may be served from slot at n, and was
// asked for when acked was the highest slot any client knew of (I8).
func (o *oracle) read(n *node, slot, acked paxos.Slot) {
	switch {
	case slot < acked:
		o.fail("I8", "%s serves a read at slot %d; slot %d was acknowledged before it began", n.name, slot, acked)
	case slot > o.chosen:
		o.fail("I7", "%s serves a read at slot %d; chosen is only up to %d", n.name, slot, o.chosen)
	}
}

// snapshot checks what n is about to save as its snapshot: the state after its
// slot, with the configuration in force there.
func (o *oracle) snapshot(n *node, s paxos.Snapshot) {
	o.watermark(n, s.Slot, "SaveSnapshot")
	count, applied := mark(s.Data)
	o.appliedUpTo(n, count, applied, applied)
	if applied != s.Slot {
		o.fail("I6", "%s: the snapshot of slot %d holds the state of slot %d", n.name, s.Slot, applied)
	}
	last := &o.configs[0]
	for i := range o.configs {
		if o.configs[i].Start <= s.Slot {
			last = &o.configs[i]
		}
	}
	if s.Membership.ID != last.ID || s.Membership.Start != last.Start || len(s.Membership.Voters) != len(last.Voters) {
		o.fail("I6", "%s: the snapshot of slot %d says configuration %d from %d; it is %d from %d",
			n.name, s.Slot, s.Membership.ID, s.Membership.Start, last.ID, last.Start)
	}
}
