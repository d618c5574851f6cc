package fd

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prytany/prytany/synod"
)

// A State is what gossip says about a node.
type State uint8

// The states. Never renumber.
const (
	Alive   State = 0
	Dead    State = 1 // crashed, out of reach, or gone after Leaving
	Leaving State = 2 // alive, and about to go on purpose
)

// String is the state in lower case.
func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Dead:
		return "dead"
	case Leaving:
		return "leaving"
	}
	return "unknown"
}

// A Node is how a node describes itself to all others. Its texts together
// must fit in 400 bytes or so; see [Config].
type Node struct {
	ID          synod.NodeID
	Name        string // the operator's name for it
	HTTPAddr    string // host:port where clients reach it
	PeerAddr    string // host:port where other nodes reach it
	GossipAddr  string // host:port of its detector
	Zone        string // what fails together: a rack, a data centre
	Version     string // of the program
	Cluster     string // id of its cluster; empty if it has not joined one yet
	Incarnation uint64 // +1 at each start of the process
	State       State
}

// A Conflict is one name, or one identity, that two nodes claim.
type Conflict struct {
	Name  string         // the operator's name that Nodes share
	Nodes []synod.NodeID // two or more with one name; or one that lives twice
	Addrs []string       // where they gossip
}

// A View is what gossip says at one moment. It is never changed.
type View struct {
	Version   uint64     // +1 at each change
	Nodes     []Node     // by ID, this node and dead ones included
	Conflicts []Conflict // by name
}

// Find returns the node with the given id.
func (v View) Find(id synod.NodeID) (Node, bool) {
	i, ok := slices.BinarySearchFunc(v.Nodes, id, func(n Node, id synod.NodeID) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return Node{}, false
	}
	return v.Nodes[i], true
}

// A member is a node in the table.
type member struct {
	node  Node
	died  time.Time // if Dead
	left  bool      // it was Leaving when it went
	rival string    // gossip address of another process with its identity
}

// A table holds the members. Its owner guards it.
type table struct {
	members map[synod.NodeID]member
	view    View
	changes []Change // not taken yet
	missed  int      // before these, and dropped
}

// put notes that n is alive or leaving.
func (t *table) put(n Node, now time.Time) {
	t.alive(n, now)
	rival := t.members[n.ID].rival
	t.members[n.ID] = member{node: n, rival: rival}
	t.changed(now)
}

// dead notes that the node with this id is gone.
func (t *table) dead(id synod.NodeID, now time.Time) {
	m, ok := t.members[id]
	if !ok || m.node.State == Dead {
		return
	}
	m.left = m.node.State == Leaving
	m.node.State, m.died, m.rival = Dead, now, ""
	t.members[id] = m
	t.gone(m, now)
	t.changed(now)
}

// forget drops the nodes that died before now-keep and reports whether it did.
func (t *table) forget(now time.Time, keep time.Duration) bool {
	before := len(t.members)
	for _, id := range slices.Sorted(maps.Keys(t.members)) {
		m := t.members[id]
		if m.node.State != Dead || !m.died.Before(now.Add(-keep)) {
			continue
		}
		t.note(Forgotten, m.node, now, fmt.Sprintf("dead for %v", now.Sub(m.died).Round(time.Second)))
		delete(t.members, id)
	}
	if len(t.members) == before {
		return false
	}
	t.changed(now)
	return true
}

// clash notes that another process at addr has the identity id. It reports
// whether that is news.
func (t *table) clash(id synod.NodeID, addr string, now time.Time) bool {
	m, ok := t.members[id]
	if !ok || m.rival == addr {
		return false
	}
	m.rival = addr
	t.members[id] = m
	t.changed(now)
	return true
}

// changed builds the view anew.
func (t *table) changed(now time.Time) {
	v := View{Version: t.view.Version + 1}
	named := make(map[string][]Node)
	for _, id := range slices.Sorted(maps.Keys(t.members)) {
		m := t.members[id]
		v.Nodes = append(v.Nodes, m.node)
		if m.node.State != Dead && m.node.Name != "" {
			named[m.node.Name] = append(named[m.node.Name], m.node)
		}
		if m.rival != "" {
			v.Conflicts = append(v.Conflicts, Conflict{m.node.Name, []synod.NodeID{id}, []string{m.node.GossipAddr, m.rival}})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if len(named[name]) < 2 {
			continue
		}
		c := Conflict{Name: name}
		for _, n := range named[name] {
			c.Nodes, c.Addrs = append(c.Nodes, n.ID), append(c.Addrs, n.GossipAddr)
		}
		v.Conflicts = append(v.Conflicts, c)
	}
	slices.SortStableFunc(v.Conflicts, func(a, b Conflict) int { return cmp.Compare(a.Name, b.Name) })
	t.conflicts(t.view.Conflicts, v.Conflicts, now)
	t.view = v
}
