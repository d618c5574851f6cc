package transport

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/synod"
)

// A process whose disk is an old one must cast no vote. Both sides of a hello
// look, before any packet counts:
//
//   - Each refuses the other if the roster does.
//   - Each compares what the other remembers of it with its own past, and
//     speaks no more if they contradict each other: the accused knows best.
//
// What a hello has said is remembered, durably, once the other side has shown
// that it stands the comparison: a dialler by its first frame, a listener by
// its answer. Nothing of it is delivered before.
//
// One peer that is mistaken must not end a healthy node. So an accusation counts
// only if its sender names our own cluster, means our own id, is at an address
// that we know as that node's, and says something that our own disk
// contradicts. Otherwise the two do not talk, and that is all.

// A life names a process of a node.
type life struct{ incarnation, nonce uint64 }

func (h hello) life() life { return life{h.incarnation, h.nonce} }

// A registry is the roster of a transport, and who keeps it.
type registry struct {
	rolledBack atomic.Bool // this process must not speak
	accused    sync.Once

	writing sync.Mutex // held while it waits for the disk
	mu      sync.Mutex // never held while waiting
	roster  *roster.Roster
	dirty   map[synod.NodeID]bool // positions that are not durable yet
}

func (r *registry) seen(node synod.NodeID) roster.Sighting {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.roster.Seen(node)
}

func (r *registry) admit(node synod.NodeID, l life) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.roster.Admit(node, l.incarnation, l.nonce)
}

// reached notes how far the log of node had come.
func (r *registry) reached(node synod.NodeID, l life, position uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.roster.Reached(node, l.incarnation, l.nonce, position) {
		r.dirty[node] = true
	}
}

// position is how many writes to the own log are durable.
func (t *Transport) position() uint64 {
	if t.cfg.Position == nil {
		return 0
	}
	return t.cfg.Position()
}

// errRolledBack ends the connections of a process that must not speak.
var errRolledBack = errors.New("transport: this process is rolled back")

// judge says why the process that said theirs and this one must not talk; "" if
// they may.
func (t *Transport) judge(theirs hello) string {
	if t.registry.rolledBack.Load() {
		return "this node is rolled back, and speaks to nobody"
	}
	self := roster.Self{Node: t.cfg.Self, Incarnation: t.cfg.Incarnation, Nonce: t.cfg.Nonce, Past: t.cfg.Past}
	if err := self.Check(theirs.seen); err != nil {
		t.convict(theirs, err)
		return "this node is rolled back"
	}
	if err := t.registry.admit(theirs.node, theirs.life()); err != nil {
		return err.Error()
	}
	return ""
}

// convict ends this process's part, if the accusation in theirs counts.
func (t *Transport) convict(theirs hello, why error) {
	var rolled *roster.RolledBackError
	if !errors.As(why, &rolled) {
		return
	}
	if own := t.cfg.Cluster(); own == "" || own != theirs.cluster || t.cfg.Resolve(theirs.node) == "" {
		t.warn.warn("accused "+theirs.node.String(), "a node that is not known as one of this cluster says that this one is rolled back; not believed",
			"peer", theirs.node, "reason", rolled.Reason)
		return
	}
	t.registry.accused.Do(func() {
		t.registry.rolledBack.Store(true)
		t.cfg.Log.Error("this node's disk is an old one: it speaks no more", "peer", theirs.node, "reason", rolled.Reason,
			"seen_incarnation", rolled.Seen.Incarnation, "incarnation", t.cfg.Incarnation)
		if t.cfg.RolledBack != nil {
			t.cfg.RolledBack(theirs.node, rolled)
		}
	})
}

// meet remembers the process that said h, which has stood the comparison. It
// returns once that is durable. Error: another process of the node came first,
// or the disk failed.
func (t *Transport) meet(h hello) error {
	r := &t.registry
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	err := r.roster.Admit(h.node, h.incarnation, h.nonce)
	next := roster.New(map[synod.NodeID]roster.Sighting{h.node: r.roster.Seen(h.node)})
	r.mu.Unlock()
	if err != nil || !next.Note(h.node, h.incarnation, h.nonce) {
		return err
	}
	if t.cfg.Remember != nil {
		if err := t.cfg.Remember(map[synod.NodeID]roster.Sighting{h.node: next.Seen(h.node)}); err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.roster.Note(h.node, h.incarnation, h.nonce)
	r.mu.Unlock()
	t.closeOthers(h.node, h.life())
	return nil
}

// closeOthers closes connections from processes of a node other than is, and
// takes no more datagrams from them.
func (t *Transport) closeOthers(node synod.NodeID, is life) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.passes[node]; p != nil && p.life != is {
		delete(t.passes, node)
	}
	for l := range lanes {
		if in := t.inbound[arrival{node, l}]; in != nil && in.hello.life() != is {
			in.close()
		}
	}
}

// keep makes positions durable from time to time, and at the end. A disk put
// back from a copy that is younger than that is noticed only by peers that have
// not been restarted since.
func (t *Transport) keep(ctx context.Context) {
	ticker := time.NewTicker(t.cfg.RememberEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			t.keepPositions()
			return
		case <-ticker.C:
			t.keepPositions()
		}
	}
}

func (t *Transport) keepPositions() {
	r := &t.registry
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	some := make(map[synod.NodeID]roster.Sighting, len(r.dirty))
	for node := range maps.Keys(r.dirty) {
		some[node] = r.roster.Seen(node)
	}
	clear(r.dirty)
	r.mu.Unlock()
	if len(some) == 0 {
		return
	}
	if err := t.cfg.Remember(some); err != nil {
		t.warn.warn("remember", "cannot write down how far other nodes have come", "err", err)
	}
}
