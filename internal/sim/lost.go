package sim

import (
	"time"

	"github.com/prytany/prytany/internal/sim/disk"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// What happens to disks, and to the identities that live on them. An identity is a
// disk: whoever has forgotten what it voted for comes back as somebody else, as a
// learner, and the group replaces the one that is gone.

// hint tells every node that follows nobody of the others now and then, as gossip
// does: all the voters that it has heard of may be gone.
func (w *World) hint() {
	w.at(w.now+w.opt.Every(hintEvery), w.hint)
	for _, n := range w.nodes {
		if n.host == nil {
			continue
		}
		if st, ok := n.host.Group(paxos.Main); ok && !st.Content {
			n.host.Learn(paxos.Main, w.others(n))
			n.pollBy(w.now)
		}
	}
}

// hintEvery is the time between two hints.
const hintEvery = time.Second

// owner returns the node that has the identity id now, nil if nobody does any more.
func (w *World) owner(id synod.NodeID) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// loseDisk ends n's process and its disk. What runs on the machine later is a new
// node; under Hooks.Amnesia it believes to be the old one.
func (n *node) loseDisk() bool {
	w := n.w
	if !w.mayLose(n) {
		return false
	}
	n.down("loses its disk")
	w.stats.Lost++
	if w.opt.Hooks.Amnesia {
		n.disk, n.empty = disk.Disk{}, true
		return true
	}
	n.reborn()
	return true
}

// mayLose reports whether the group survives it that n's disk is gone: no other
// voter's is, as long as it has not been replaced, and a slot was chosen in the
// present configuration, so that a quorum of it knows all that came before.
func (w *World) mayLose(n *node) bool {
	if w.opt.Hooks.Amnesia {
		return true
	}
	return w.free(n) && !n.empty && w.canDoWithout(n, paxos.Main)
}

// canDoWithout is mayLose for group g. A stop-sign that is proposed already may yet
// take another voter away.
func (w *World) canDoWithout(n *node, g paxos.GroupID) bool {
	o := w.oracleOf(g)
	now := o.Config()
	if len(now.Voters) < 3 || o.Chosen() <= now.Start || w.changing(g) {
		return false
	}
	for _, v := range now.Voters {
		if o := w.owner(v.Node); o == nil || o != n && o.empty {
			return false
		}
	}
	return true
}

// changing reports whether somebody has voted for a stop-sign of group g that is not
// chosen yet.
func (w *World) changing(g paxos.GroupID) bool {
	next := w.oracleOf(g).Chosen() + 1
	for _, n := range w.nodes {
		v := n.disk.Volume(g)
		for s := max(next, v.First()); s < v.End(); s++ {
			if d, err := paxos.Decode(v.Vote(s).Vote.Value); err == nil && d.Kind == paxos.KindStop {
				return true
			}
		}
	}
	return false
}

// unhurt reports whether the disk of every voter of m is what it was.
func (w *World) unhurt(m paxos.Membership) bool {
	for _, v := range m.Voters {
		if n := w.owner(v.Node); n == nil || n.empty {
			return false
		}
	}
	return true
}

// lost returns the first voter whose disk is gone, 0 if there is none.
func (w *World) lost(m paxos.Membership) synod.NodeID {
	for _, v := range m.Voters {
		if w.owner(v.Node) == nil {
			return v.Node
		}
	}
	return 0
}
