package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/internal/sim/disk"
	"github.com/prytany/prytany/synod"
)

// A soul is what a node's disk knows of the node's own past, and of others.
type soul struct {
	self     roster.Self // of the process that runs, or ran last
	seen     map[synod.NodeID]roster.Sighting
	position uint64 // durable writes
}

func (s soul) clone() soul {
	s.self.Past, s.seen = slices.Clone(s.self.Past), maps.Clone(s.seen)
	return s
}

// An image is a copy of a whole disk.
type image struct {
	disk disk.Disk
	soul soul
	of   synod.NodeID
}

// awake begins the next incarnation: durable before it says a word.
func (n *node) awake() {
	s := &n.soul.self
	if s.Incarnation > 0 {
		s.Past = append(s.Past, roster.Life{Nonce: s.Nonce, End: n.soul.position})
	}
	s.Node, s.Incarnation, s.Nonce = n.id, s.Incarnation+1, n.w.souls.Uint64()|1
	n.others = roster.New(n.soul.seen)
	n.met = make(map[*node]uint64)
}

// copyDisks copies the disk of some node now and then.
func (w *World) copyDisks() {
	n := w.nodes[w.souls.IntN(len(w.nodes))]
	n.image = image{n.disk.Clone(), n.soul.clone(), n.id}
	w.at(w.now+time.Duration(w.souls.ExpFloat64()*float64(w.opt.Every(time.Second))), w.copyDisks)
}

// rollBack ends n's process and puts an older copy back in the place of its disk. It
// does so only where the rule that is to notice it can: all other voters have met n
// since, and some of them may be lost meanwhile.
func (n *node) rollBack() bool {
	w := n.w
	if n.image.of != n.id || n.image.soul.position >= n.soul.position ||
		!w.opt.Hooks.Gullible && (!w.mayLose(n) || !n.remembered()) {
		return false
	}
	n.down("is rolled back")
	w.stats.RolledBack++
	n.disk, n.soul = n.image.disk.Clone(), n.image.soul.clone()
	n.empty = true // until it is somebody else, nobody else may be lost
	w.oracle.Forget(n.index)
	for _, s := range w.sides {
		s.oracle.Forget(n.index)
	}
	return true
}

// remembered reports whether every other node would contradict a process on n's image.
func (n *node) remembered() bool {
	next := n.image.soul.clone().self
	next.Past = append(next.Past, roster.Life{Nonce: next.Nonce, End: n.image.soul.position})
	next.Incarnation, next.Nonce = next.Incarnation+1, ^uint64(0)
	for _, o := range n.w.nodes {
		if o != n && next.Check(o.soul.seen[n.id]) == nil {
			return false
		}
	}
	return true
}

// meets has the processes of two nodes say hello, if they have not yet. Each tells
// what it has seen of the other; whoever finds that its own disk is too old has
// nothing more to say to anybody. It reports whether they talk.
func (w *World) meets(from, to *node) bool {
	if from.met[to] == to.incarnation && to.met[from] == from.incarnation || w.opt.Hooks.Gullible {
		return true
	}
	a, b := from.soul.self, to.soul.self
	switch {
	case a.Check(to.others.Seen(a.Node)) != nil:
		from.quarantine()
		return false
	case b.Check(from.others.Seen(b.Node)) != nil:
		to.quarantine()
		return false
	case to.others.Admit(a.Node, a.Incarnation, a.Nonce) != nil || from.others.Admit(b.Node, b.Incarnation, b.Nonce) != nil:
		return false
	}
	from.others.Note(b.Node, b.Incarnation, b.Nonce)
	to.others.Note(a.Node, a.Incarnation, a.Nonce)
	from.soul.seen[b.Node], to.soul.seen[a.Node] = from.others.Seen(b.Node), to.others.Seen(a.Node)
	from.met[to], to.met[from] = to.incarnation, from.incarnation
	return true
}

// hears takes note of how far from's log had come when it sent something to n.
func (n *node) hears(from *node, position uint64) {
	s := from.soul.self
	if n.others.Reached(s.Node, s.Incarnation, s.Nonce, position) {
		n.soul.seen[s.Node] = n.others.Seen(s.Node)
	}
}

// quarantine ends n's identity: what runs on the machine later is a new node.
func (n *node) quarantine() {
	w := n.w
	n.down("is quarantined")
	w.stats.Quarantined++
	n.reborn()
}

// reborn gives n an empty disk and a new identity.
func (n *node) reborn() {
	w := n.w
	n.disk, n.soul, n.empty = disk.Disk{}, soul{seen: map[synod.NodeID]roster.Sighting{}}, true
	w.identities++
	n.id = w.identities
	w.oracle.Forget(n.index)
	for _, s := range w.sides {
		s.oracle.Forget(n.index)
	}
}
