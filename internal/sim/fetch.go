package sim

import (
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Fetches count what became of snapshots that take several messages.
type Fetches struct {
	Begun     int // the first piece had come
	Broken    int // the receiver ended, or began to fetch another snapshot
	Resumed   int // another member went on
	Installed int
}

// A fetch is a snapshot on its way, as the receiver's questions show it.
type fetch struct {
	slot paxos.Slot
	from synod.NodeID
}

// fetches takes note that n asks a member for the next piece of a snapshot.
func (n *node) fetches(g paxos.GroupID, m paxos.CatchUp, from synod.NodeID) {
	if m.SnapshotSlot == 0 || m.SnapshotOffset == 0 {
		return
	}
	f, old := &n.w.stats.Fetches, n.coming[g]
	switch {
	case old.slot != m.SnapshotSlot:
		f.Begun++
		if old.slot != 0 {
			f.Broken++
		}
	case old.from != from:
		f.Resumed++
	}
	n.coming[g] = fetch{m.SnapshotSlot, from}
}

// fetched takes note that n saves a snapshot.
func (n *node) fetched(g paxos.GroupID, slot paxos.Slot) {
	if n.coming[g].slot == slot {
		n.w.stats.Fetches.Installed++
		delete(n.coming, g)
	}
}

// breakOff takes note that n's process has ended.
func (n *node) breakOff() {
	n.w.stats.Fetches.Broken += len(n.coming)
	n.coming = nil
}
