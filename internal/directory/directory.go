// Package directory is the list of groups of a cluster, as a replicated state
// machine: which groups there are, who their members are, and which changes of them
// are under way. It lives in group main, beside the locks of that group.
//
// The directory does not decide who may vote: only the stop-signs in a group's own
// log do. It says which first configuration a group begins with, what is to become
// of its members, and, as a hint for finding them, what the group last reported.
//
// # Invariants
//
//   - The state is a function of the commands applied: no clock, no dice, no order
//     of a map.
//   - An ID is given to one group for all time, and a number to one plan.
//   - A group has at most one plan.
//   - Group.Config never decreases.
//   - A View, a Group and all that they refer to are never changed.
package directory

import (
	"cmp"
	"slices"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Bounds of the replicated state. They influence what a command does, so they are the
// same on all nodes and for all time.
const (
	MaxGroups   = 10_000  // main included
	MaxName     = 64      // bytes of a group's name
	MaxText     = 512     // bytes of a node's name, an address, a zone, a request, and of why a plan is
	MaxReplicas = 9       // voters of a group; while a plan replaces one, one more
	MaxZones    = 16      // of a group
	MaxRemoved  = 1_000   // removed nodes that are remembered by name; ids are remembered for ever
	MaxGone     = 100_000 // removed nodes in all
	MaxDeleted  = 1_000   // deleted groups whose requests are remembered
)

// MainName is the name of [paxos.Main].
const MainName = "main"

// A Group is one group as the directory has it. Values are never changed in place.
type Group struct {
	ID       paxos.GroupID // main is paxos.Main; others count up from the next one and are never used again
	Name     string
	Replicas int      // wanted number of voters; of main, 0 until it is resized: as many as the nodes are configured to want
	Zones    []string // only nodes of these zones; empty: any
	Near     string   // name of the node to be near to; "": none

	First   paxos.Membership // the first configuration: ID 1, Start 0; of main, zero
	Config  paxos.ConfigID   // of the configuration that Members are of; of main, 0 until it reports
	Members []paxos.Member   // voters, as the group reported last; of main, none until it reports
	Plan    Plan             // the change under way; zero: none
	Request string           // id of the request that created it
}

// Member returns the member on node n; ok is false if there is none.
func (g *Group) Member(n synod.NodeID) (m paxos.Member, ok bool) {
	if i := seat(g.Members, n); i >= 0 {
		return g.Members[i], true
	}
	return m, false
}

// seat returns the index of node n in ms, or -1.
func seat(ms []paxos.Member, n synod.NodeID) int {
	return slices.IndexFunc(ms, func(m paxos.Member) bool { return m.Node == n })
}

// A Plan is one change of the voters of a group that is under way: Add, if not zero,
// becomes a learner, catches up and becomes a voter; then Remove, if not zero, goes.
// Whoever leads the group carries it out, a step at a time.
type Plan struct {
	ID     uint64       // counts up over all groups; 0: no plan
	Add    paxos.Member // without Ordinal, which the group's next configuration gives
	Remove synod.NodeID
	Why    string
}

// carried reports whether members are what p leads to.
func (p Plan) carried(members []paxos.Member) bool {
	return (p.Add.Node == 0 || seat(members, p.Add.Node) >= 0) && (p.Remove == 0 || seat(members, p.Remove) < 0)
}

// A Removed is a node that is to have no part in anything any more.
type Removed struct {
	Node synod.NodeID
	Name string       // "" once MaxRemoved others have been removed since
	By   synod.NodeID // the node that takes its places; 0: whoever suits
}

// A deleted group is remembered for the requests that made and deleted it.
type deleted struct {
	id      paxos.GroupID
	made    string // request of its Create
	gone    string // request of its Delete
	version uint64 // of the state after its Delete
}

// A View is the state at one moment. It is immutable and shared.
type View struct {
	Version uint64 // counts the commands that changed something

	next    paxos.GroupID  // the ID of the next group
	plans   uint64         // the number of the last plan
	byID    []*Group       // main is the first
	order   []*Group       // by name
	removed []Removed      // the last MaxRemoved, oldest first
	gone    []synod.NodeID // all that were removed, in order
	past    []deleted      // the last MaxDeleted, oldest first
}

// start returns the state before the first command.
func start() *View {
	main := &Group{ID: paxos.Main, Name: MainName}
	return &View{next: paxos.Main + 1, byID: []*Group{main}, order: []*Group{main}}
}

// Groups returns all groups but those that were deleted, main included, by name. The
// slice is shared: do not change it.
func (v *View) Groups() []*Group { return v.order }

// Group returns the group with that ID, nil if there is none.
func (v *View) Group(id paxos.GroupID) *Group {
	if i, ok := v.findID(id); ok {
		return v.byID[i]
	}
	return nil
}

// Named returns the group with that name, nil if there is none.
func (v *View) Named(name string) *Group {
	if i, ok := v.findName(name); ok {
		return v.order[i]
	}
	return nil
}

// Deleted reports whether there was a group with that ID and is no more.
func (v *View) Deleted(id paxos.GroupID) bool {
	_, ok := v.findID(id)
	return !ok && id > paxos.Main && id < v.next
}

// Plans returns the groups that have a plan, by name.
func (v *View) Plans() []*Group {
	var out []*Group
	for _, g := range v.order {
		if g.Plan.ID != 0 {
			out = append(out, g)
		}
	}
	return out
}

// Removed returns the nodes that were removed last, at most MaxRemoved, oldest first.
// The slice is shared: do not change it.
func (v *View) Removed() []Removed { return v.removed }

// RemovedNode returns what is remembered of a node that was removed; ok is false if it
// was not. Of one that Removed does not list any more, only Node is known.
func (v *View) RemovedNode(n synod.NodeID) (r Removed, ok bool) {
	if _, ok := slices.BinarySearch(v.gone, n); !ok {
		return r, false
	}
	if i := slices.IndexFunc(v.removed, func(r Removed) bool { return r.Node == n }); i >= 0 {
		return v.removed[i], true
	}
	return Removed{Node: n}, true
}

func (v *View) findID(id paxos.GroupID) (i int, ok bool) {
	return slices.BinarySearchFunc(v.byID, id, func(g *Group, id paxos.GroupID) int { return cmp.Compare(g.ID, id) })
}

func (v *View) findName(name string) (i int, ok bool) {
	return slices.BinarySearchFunc(v.order, name, func(g *Group, name string) int { return cmp.Compare(g.Name, name) })
}

// put makes g the group of its ID, which may be new. Names of groups never change.
func (v *View) put(g *Group) {
	if i, ok := v.findID(g.ID); ok {
		v.byID[i] = g
	} else {
		v.byID = slices.Insert(v.byID, i, g)
	}
	if i, ok := v.findName(g.Name); ok {
		v.order[i] = g
	} else {
		v.order = slices.Insert(v.order, i, g)
	}
}

// drop takes g, which is there, out.
func (v *View) drop(g *Group) {
	i, _ := v.findID(g.ID)
	v.byID = slices.Delete(v.byID, i, i+1)
	i, _ = v.findName(g.Name)
	v.order = slices.Delete(v.order, i, i+1)
}
