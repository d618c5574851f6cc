package steward

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A kind of thing that a node can do about a group.
type kind uint8

const (
	nothing   kind = iota // until something changes
	waits                 // for something that nobody tells of
	creates               // the group begins, and this node is of its first voters
	learns                // from its members
	drops                 // this node's part in it, for ever
	leaves                // this node's part in it, which it may have again
	reports               // its members to the directory
	begins                // a change of its members
	replaces              // the same, because one has died
	givesUp               // the change under way
	adds                  // a voter
	removes               // a voter
	handsOver             // the lead
)

func (k kind) String() string {
	return [...]string{"nothing", "wait", "create", "learn", "drop", "leave", "report", "begin", "replace", "give up", "add", "remove", "hand over"}[k]
}

// An act is the next thing to do about a group.
type act struct {
	kind   kind
	why    string
	after  time.Duration  // waits: look again then at the earliest
	from   []synod.NodeID // learns
	member paxos.Member   // adds
	node   synod.NodeID   // removes; or who is waited for
	plan   directory.Plan // begins, replaces
}

// A picture is all that the next act about a group depends on.
type picture struct {
	now     time.Time
	since   time.Time // when the present change, or the end of this node's part, was first seen here
	self    synod.NodeID
	id      paxos.GroupID
	group   *directory.Group // nil: there is none
	here    bool             // this node has a part in it
	st      replica.GroupStatus
	current bool // the directory is no older than this process
	refused bool // this node must not begin it
	busy    bool // too many changes are under way to begin another

	stuck       func(why string) time.Duration               // how long the present change has waited for that and nothing else
	up          map[synod.NodeID]bool                        // direct links, and self
	gone        func(synod.NodeID) (directory.Removed, bool) // who was removed from the cluster
	alive       func(synod.NodeID) bool                      // says gossip
	dead        func(synod.NodeID) bool                      // and so for long enough to be replaced
	replaces    func() bool                                  // whether the dead may be replaced now
	replaceFrom int
	spare       func(wish) (m paxos.Member, why string, ok bool)
	worst       func() (node synod.NodeID, why string)
}

// A wish says which node is looked for.
type wish struct {
	by     synod.NodeID // this one if it can be had
	losing synod.NodeID // whose place it takes; 0: nobody's
}

// decide returns the next thing to do about a group.
func decide(p picture) act {
	switch {
	case p.group == nil && p.here && p.id != paxos.Main && p.current:
		return act{kind: drops, why: "the group was deleted"}
	case p.group == nil:
		return act{}
	case !p.here:
		return p.absent()
	case p.st.Membership.ID == 0 && p.id != paxos.Main:
		return p.learning()
	case p.st.Leading:
		return p.lead()
	}
	return p.leave()
}

// absent is decide for a group in which this node has no part.
func (p picture) absent() act {
	switch {
	case p.id == paxos.Main:
		return act{}
	case !p.refused && p.group.Config <= 1 && p.group.First.Seat(p.self) >= 0:
		return act{kind: creates}
	case p.group.Plan.Add.Node == p.self && p.now.Sub(p.since) > giveUpAfter:
		return act{kind: givesUp, node: p.self, why: "it cannot begin to learn the group"}
	case p.group.Plan.Add.Node == p.self, p.current && seat(p.group.Members, p.self):
		// A member without its part is one that gave it up just before it was made a
		// voter again: it takes part once it has learned the configuration.
		return act{kind: learns, from: p.others()}
	}
	return act{}
}

// learning is decide for a group of which nothing has arrived yet.
func (p picture) learning() act {
	if p.group.Plan.Add.Node == p.self || seat(p.group.Members, p.self) {
		return act{kind: learns, from: p.others()}
	}
	return p.leave()
}

// others are the members but this node.
func (p picture) others() (ids []synod.NodeID) {
	for _, m := range p.group.Members {
		if m.Node != p.self {
			ids = append(ids, m.Node)
		}
	}
	return ids
}

// leave gives up a part in a group that is of no use any more: this node is no
// member, nor to become one, and the group knows.
func (p picture) leave() act {
	m, old := p.st.Membership, p.now.Sub(p.since)
	switch {
	case p.group.Plan.Add.Node == p.self && p.st.Removed:
		return act{kind: learns, from: p.others()} // it is to be a member again
	case p.id == paxos.Main, !p.current, p.group.Plan.Add.Node == p.self, p.group.Config < m.ID:
		return act{}
	case m.Seat(p.self) >= 0 && p.group.Config == m.ID:
		return act{} // the directory is about to hear of it
	case seat(p.group.Members, p.self) && p.group.Config == m.ID:
		return act{}
	case seat(p.group.Members, p.self), m.Seat(p.self) >= 0 && old < holdFor:
		// It does not know of the configuration that the directory speaks of, and all
		// that it knows may be gone. While it believes to be a voter, what it knows of
		// others says nothing of that configuration: with it, those that have replaced it
		// may have to find out that the stop-sign is chosen.
		return act{kind: learns, from: p.others()}
	case !p.st.Relieved && m.ID > 0 && old < holdFor:
		return act{kind: waits, after: againLater}
	}
	return act{kind: leaves, why: "it is a member no more"}
}

// lead is decide for a group that this node leads.
func (p picture) lead() act {
	m, plan := p.st.Membership, p.group.Plan
	add, remove := plan.Add.Node, plan.Remove
	switch {
	case !p.st.Recovered || p.st.Sealed:
		return act{kind: waits}
	case p.group.Config < m.ID:
		return act{kind: reports}
	case p.group.Config > m.ID:
		return act{kind: waits} // what is shown of the group here is old
	case plan.ID == 0:
		return p.begin()
	case add != 0 && m.Seat(add) < 0:
		return p.add()
	case remove != 0 && m.Seat(remove) >= 0:
		return p.remove()
	}
	return act{kind: givesUp, why: "there is nothing left to do"}
}

// add makes the plan's new member a voter once it has caught up.
func (p picture) add() act {
	m, add := p.st.Membership, p.group.Plan.Add
	from, learning := p.st.Learners[add.Node]
	wait := func(why string) act { return act{kind: waits, node: add.Node, why: why} }
	if _, gone := p.gone(add.Node); gone {
		return act{kind: givesUp, node: add.Node, why: add.Name + " was removed from the cluster"}
	}
	switch {
	case !p.alive(add.Node) && p.stuck(add.Name+notAlive) > giveUpAfter:
		return act{kind: givesUp, node: add.Node, why: fmt.Sprintf("%s has not been alive for %v", add.Name, giveUpAfter)}
	case !p.alive(add.Node):
		return wait(add.Name + notAlive)
	case !learning:
		return wait(add.Name + " has not begun to learn the group")
	case !Ready(p.st, from):
		return wait(add.Name + " has not caught up")
	case p.reach(m, 0)+1 < synod.Majorities(len(m.Voters)+1).Q1:
		return wait("too few of the voters are in reach")
	}
	return act{kind: adds, member: paxos.Member{Node: add.Node, Name: add.Name, PeerAddr: add.PeerAddr}}
}

// What a change may wait for in vain.
const (
	notAlive   = " is not alive"
	tooFewStay = "a quorum of those who stay is not in reach"
)

// remove takes the plan's old member out, if those who stay are a quorum. If they are
// not for long, another change may be what helps: of those who cannot be reached.
func (p picture) remove() act {
	m, node := p.st.Membership, p.group.Plan.Remove
	switch {
	case len(m.Voters) == 1:
		return act{kind: givesUp, node: node, why: "it is the last voter"}
	case p.reach(m, node) < synod.Majorities(len(m.Voters)-1).Q1:
		if p.stuck(tooFewStay) > giveUpAfter {
			return act{kind: givesUp, node: node, why: fmt.Sprintf("%s for %v", tooFewStay, giveUpAfter)}
		}
		return act{kind: waits, node: node, why: tooFewStay}
	case node == p.self:
		return act{kind: handsOver}
	}
	return act{kind: removes, node: node}
}

// reach counts the voters in reach, but without.
func (p picture) reach(m paxos.Membership, without synod.NodeID) (n int) {
	for _, v := range m.Voters {
		if v.Node != without && p.up[v.Node] {
			n++
		}
	}
	return n
}

// begin returns the change that the group should begin by itself.
func (p picture) begin() act {
	m, g := p.st.Membership, p.group
	have, want := len(m.Voters), g.Replicas
	if g.ID == paxos.Main && want == 0 {
		want = have // its growth is not the directory's
	}
	for _, v := range m.Voters {
		switch r, gone := p.gone(v.Node); {
		case gone && p.busy:
			return act{kind: waits}
		case gone:
			return p.takeOut(v, r, have <= want)
		}
	}
	switch {
	case have != want && p.busy:
		return act{kind: waits}
	case have < want:
		if spare, why, ok := p.spare(wish{}); ok {
			return begin(directory.Plan{Add: spare, Why: fmt.Sprintf("%d replicas are wanted: %s", want, why)})
		}
		return act{}
	case have > want:
		node, why := p.worst()
		return begin(directory.Plan{Remove: node, Why: fmt.Sprintf("%d replicas are wanted: %s", want, why)})
	}
	return p.bury()
}

func begin(plan directory.Plan) act { return act{kind: begins, plan: plan} }

// takeOut begins the end of voter v, which was removed from the cluster.
func (p picture) takeOut(v paxos.Member, r directory.Removed, replace bool) act {
	plan := directory.Plan{Remove: v.Node, Why: v.Name + " was removed from the cluster"}
	if replace {
		if spare, why, ok := p.spare(wish{by: r.By, losing: v.Node}); ok {
			plan.Add = spare
			plan.Why += "; " + why
		}
	}
	if plan.Add.Node == 0 && len(p.st.Membership.Voters) == 1 {
		return act{kind: waits, node: v.Node, why: "no node can take the place of the last voter, which was removed"}
	}
	return begin(plan)
}

// bury begins the replacement of a dead voter, if that is wanted.
func (p picture) bury() act {
	m := p.st.Membership
	if len(m.Voters) < p.replaceFrom || p.busy || !p.replaces() {
		return act{}
	}
	for _, v := range m.Voters {
		if v.Node == p.self || p.up[v.Node] || !p.dead(v.Node) || p.reach(m, v.Node) < m.Quorums().Q1 {
			continue
		}
		if spare, why, ok := p.spare(wish{losing: v.Node}); ok {
			return act{kind: replaces, plan: directory.Plan{Add: spare, Remove: v.Node, Why: v.Name + " has been dead for long; " + why}}
		}
	}
	return act{}
}

// readyLag is how many slots behind the watermark a learner may be when it is made
// a voter.
const readyLag = 1000

// Ready reports whether a learner that asks for what comes from slot from on may
// become a voter of g. It must have received the present configuration, which shows
// that what is sent to it arrives: to count on a node that can only speak, or whose
// address is wrong, could end the second quorum of two for good.
func Ready(g replica.GroupStatus, from paxos.Slot) bool {
	return from > max(g.Membership.Start, 1) && from+readyLag >= g.Decided
}
