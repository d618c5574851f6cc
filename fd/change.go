package fd

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A ChangeKind says what has changed in the view. Never renumber.
type ChangeKind uint8

// The kinds of changes.
const (
	Joined     ChangeKind = 1 // a node is there that was not known
	Back       ChangeKind = 2 // a node is there again that was taken for dead or had left
	Restarted  ChangeKind = 3 // a node is there with a new incarnation, and was never missed
	Described  ChangeKind = 4 // a node describes itself in another way
	Going      ChangeKind = 5 // a node says that it is about to go
	Left       ChangeKind = 6 // a node has gone after saying so
	Lost       ChangeKind = 7 // a node is taken for dead, without having said a word
	Forgotten  ChangeKind = 8 // a node that was dead is not looked for any more
	Conflicted ChangeKind = 9 // two nodes claim one name, or two processes one identity
)

// A Change is one thing that has changed in the view, with the reason as far as
// gossip tells it. It tells only that a node is gone, not who missed it first
// and whom else that one asked.
type Change struct {
	Kind    ChangeKind
	Version uint64 // of the first view that shows it
	At      time.Time
	Node    Node   // as the view shows it; as it was, if it is forgotten
	Reason  string // a few words
}

// maxChanges bounds the changes that wait for whoever takes them.
const maxChanges = 512

// note keeps a change of the view that is about to be built.
func (t *table) note(kind ChangeKind, n Node, now time.Time, reason string) {
	if len(t.changes) >= maxChanges {
		t.changes = slices.Delete(t.changes, 0, 1)
		t.missed++
	}
	t.changes = append(t.changes, Change{kind, t.view.Version + 1, now, n, reason})
}

// take returns the changes since it was called last, and how many more there
// were than are kept.
func (t *table) take() (changes []Change, missed int) {
	changes, missed = t.changes, t.missed
	t.changes, t.missed = nil, 0
	return changes, missed
}

// alive notes what it means that n is there, as it is described now.
func (t *table) alive(n Node, now time.Time) {
	old, known := t.members[n.ID]
	was := old.node
	switch {
	case !known:
		t.note(Joined, n, now, "")
	case was.State == Dead && n.Incarnation > was.Incarnation:
		t.note(Back, n, now, fmt.Sprintf("with a new incarnation, %d", n.Incarnation))
	case was.State == Dead && old.left:
		t.note(Back, n, now, "with the incarnation with which it had left")
	case was.State == Dead:
		t.note(Back, n, now, "with the same incarnation: it was out of reach, or stood still")
	case n.Incarnation > was.Incarnation:
		t.note(Restarted, n, now, fmt.Sprintf("incarnation %d, after %d", n.Incarnation, was.Incarnation))
	default:
		if fields := differ(was, n); fields != "" {
			t.note(Described, n, now, fields)
		}
	}
	if n.State == Leaving && (!known || was.State != Leaving) {
		t.note(Going, n, now, "it says so")
	}
}

// differ lists in which of its texts, and in its address of gossip, a node
// differs from what it was.
func differ(was, is Node) string {
	var out []string
	for _, f := range []struct{ what, was, is string }{
		{"name", was.Name, is.Name}, {"HTTP address", was.HTTPAddr, is.HTTPAddr}, {"peer address", was.PeerAddr, is.PeerAddr},
		{"gossip address", was.GossipAddr, is.GossipAddr}, {"zone", was.Zone, is.Zone}, {"version", was.Version, is.Version},
		{"cluster", was.Cluster, is.Cluster},
	} {
		if f.was != f.is {
			out = append(out, fmt.Sprintf("%s %q, was %q", f.what, f.is, f.was))
		}
	}
	return strings.Join(out, "; ")
}

// gone notes that a node is dead.
func (t *table) gone(m member, now time.Time) {
	if m.left {
		t.note(Left, m.node, now, "it had said so")
		return
	}
	t.note(Lost, m.node, now, "without a word: it crashed, or nobody who was asked reaches it")
}

// conflicts notes the names that were not claimed by the same nodes before.
func (t *table) conflicts(before, after []Conflict, now time.Time) {
	same := func(a Conflict) func(Conflict) bool {
		return func(b Conflict) bool {
			return a.Name == b.Name && slices.Equal(a.Nodes, b.Nodes) && slices.Equal(a.Addrs, b.Addrs)
		}
	}
	for _, c := range after {
		if slices.ContainsFunc(before, same(c)) {
			continue
		}
		last := c.Nodes[len(c.Nodes)-1]
		reason := fmt.Sprintf("two processes have its identity, at %s; stop the copy", strings.Join(c.Addrs, " and "))
		if len(c.Nodes) > 1 {
			reason = fmt.Sprintf("%d nodes have the name %q, at %s", len(c.Nodes), c.Name, strings.Join(c.Addrs, " and "))
		}
		t.note(Conflicted, t.members[last].node, now, reason)
	}
}

// Changes returns what has changed in the view since it was called last, in
// order, and how many changes before these were dropped because nobody took
// them. What this node says of itself is no change. It is for one receiver; there
// may be none although [Detector.Changed] says so.
func (d *Detector) Changes() (changes []Change, missed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	changes, missed = d.table.take()
	return slices.DeleteFunc(changes, func(c Change) bool { return c.Node.ID == d.self.ID && c.Kind != Conflicted }), missed
}

// kindNames are the kinds for people, by number.
var kindNames = [...]string{"unknown", "joined", "back", "restarted", "described", "going", "left", "lost", "forgotten", "conflicted"}

// String is the kind in lower case.
func (k ChangeKind) String() string {
	if int(k) >= len(kindNames) {
		k = 0
	}
	return kindNames[k]
}
