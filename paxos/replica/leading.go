package replica

import (
	"slices"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// lead gives the leader machine its time, if it is due, and carries out what
// it wants done since it was given anything last. Nothing it says needs to be
// durable first. Never called within a turn, whose groups have effects that
// are not carried out yet.
func (h *Host) lead() {
	if h.now >= h.leadAt {
		h.node.Tick(leader.Instant(h.now), h.well, &h.advice)
		h.stirred = true
	}
	if !h.stirred {
		return
	}
	h.stirred = false
	for _, e := range h.advice.Send {
		h.cfg.Transport.Send(e.To, Packet{0, e.Msg})
	}
	for _, a := range h.advice.Advice {
		if g := h.groups[paxos.GroupID(a.Group)]; g != nil {
			h.advised(g, a)
		}
	}
	h.relink()
	for _, e := range h.advice.Events {
		h.cfg.Observe(paxos.GroupID(e.Group), e)
		h.heard(e)
	}
	h.news = h.news || len(h.advice.Events) > 0
	h.advice.Reset()
	h.leadAt = time.Duration(h.node.Next())
	if h.open.Load() == 0 {
		return
	}
	h.newWays()
	for _, g := range h.awake {
		if g.queued() > 0 {
			h.touch(g) // there may be a way to a leader now
		}
	}
}

// advised does what the leader machine thinks best for g.
func (h *Host) advised(g *group, a leader.Advice) {
	if !a.Campaign.IsZero() {
		g.core.Campaign(a.Campaign, &g.out)
		h.tellPromise(g)
		h.touch(g)
	}
	if !a.Withdraw.IsZero() {
		g.core.Withdraw(a.Withdraw, &g.out)
		h.touch(g)
	}
	if a.HandOver != 0 {
		h.beginHandOver(g, &request{gid: g.id, group: g, kind: kindHandOver, heir: a.HandOver, own: true})
	}
}

// tellPromise tells the leader machine of a promise at once, before it hears
// another heartbeat: one of the old leader would bind this acceptor to a ballot
// for which it can vote no more, and that leader would count on it.
func (h *Host) tellPromise(g *group) {
	if config, b := g.core.Promised(); config == g.told.config && g.told.promised.Less(b) {
		h.node.Promised(uint64(g.id), b)
	}
}

// relink takes the new state of the links. What was forwarded over one that is
// lost now gets no answer that could be waited for: a peer that stands still
// or cannot be reached any more does not close its connection.
func (h *Host) relink() {
	before := h.links
	h.links = h.node.Links()
	for _, l := range before {
		if l.Up && h.process(l.Peer) != l.Incarnation {
			h.abandon(l.Peer)
		}
	}
}

// tellFacts tells the leader machine about g, if anything has changed.
func (h *Host) tellFacts(g *group) {
	st := &g.status
	if st.Membership.ID == 0 {
		return // a learner that does not know of whom
	}
	f := facts{
		config: st.Membership.ID, promised: st.Promised, leading: st.Leading, sealed: st.Sealed,
		decided: st.Decided / decidedStep * decidedStep,
	}
	if st.Leading || st.Campaign {
		f.own = st.Ballot
	}
	if f == g.told {
		return
	}
	g.told = f
	voters := make([]leader.Voter, 0, len(st.Membership.Voters))
	for _, v := range st.Membership.Voters {
		if v.Node != h.cfg.Self || st.Voter {
			voters = append(voters, leader.Voter{Node: v.Node, Ordinal: v.Ordinal})
		}
	}
	h.node.SetGroup(uint64(g.id), leader.Facts{
		Config:   uint32(f.config),
		Voters:   voters,
		Promised: f.promised,
		Own:      f.own,
		Leading:  f.leading,
		Sealed:   f.sealed,
		Decided:  uint64(f.decided),
	}, leader.Instant(h.now), &h.advice)
	h.stirred = true
}

// compare looks at the configurations of which a heartbeat reports. A peer that has an old
// one is told that it has ended: a node that was removed and missed it hears it from nobody
// else, for it is no longer spoken to as a voter.
//
// A later one is news that the one known here has ended. It may be the only one: all voters
// that this node knows of may be gone or replaced, and those that replaced them wait for it
// to follow. Learners ask anyway, and one that was removed must not seem to learn again.
func (h *Host) compare(peer synod.NodeID, beat leader.Heartbeat) {
	for _, r := range beat.Groups {
		g, theirs := h.groups[paxos.GroupID(r.Group)], paxos.ConfigID(r.Config)
		switch {
		case g == nil || theirs == g.status.Membership.ID:
		case theirs > g.status.Membership.ID && g.status.Membership.Seat(h.cfg.Self) >= 0:
			g.core.Receive(peer, paxos.Sealed{Config: theirs}, &g.out)
			h.touch(g)
		case theirs < g.status.Membership.ID && !beat.Reply:
			h.cfg.Transport.Send(peer, Packet{g.id, paxos.Sealed{Config: g.status.Membership.ID, At: g.status.Membership.Start}})
		}
	}
}

// facts are what the leader machine was last told about a group.
type facts struct {
	config   paxos.ConfigID
	promised synod.Ballot
	own      synod.Ballot
	leading  bool
	sealed   bool
	decided  paxos.Slot // rounded down to decidedStep
}

// decidedStep is how far the watermark moves between two times that the leader
// machine is told.
const decidedStep = 1024

// A tenure is one leadership of one group. Ballots alone do not name it: they
// begin anew in every configuration.
type tenure struct {
	config paxos.ConfigID
	ballot synod.Ballot
}

// follow tells g's machine when this node's leadership ends, and when it has
// begun in earnest: all that was inherited is applied.
func (h *Host) follow(g *group) {
	var now tenure
	if st := &g.status; st.Leading {
		now = tenure{st.Membership.ID, st.Ballot}
	}
	if g.led != (tenure{}) && g.led != now {
		g.led = tenure{}
		g.machine.Follow()
		g.dropOwn()
	}
	if now == (tenure{}) {
		h.loseReads(g)
		return
	}
	if g.led == (tenure{}) && g.status.Recovered && g.applied >= g.status.Decided {
		g.led = now
		h.leadMachine(g)
		h.serveReads(g)
	}
}

// leadMachine lets the leader's machine propose. If what it proposed before
// still waits for a slot, it is not asked for more.
func (h *Host) leadMachine(g *group) {
	if g.led == (tenure{}) || g.own > 0 {
		return
	}
	for _, cmd := range g.machine.Lead(g.led.ballot, h.now) {
		g.own++
		g.proposals = append(g.proposals, &request{group: g, kind: KindPropose, payload: cmd, own: true})
	}
	if g.own > 0 {
		h.touch(g)
	}
}

// linkUp reports whether the direct link to peer works.
func (h *Host) linkUp(peer synod.NodeID) bool { return h.process(peer) != 0 }

// process returns the incarnation of the process to which the direct link to peer
// works, 0 if it does not.
func (h *Host) process(peer synod.NodeID) uint64 {
	i := slices.IndexFunc(h.links, func(l leader.Link) bool { return l.Peer == peer && l.Up })
	if i < 0 {
		return 0
	}
	return h.links[i].Incarnation
}

// hint returns who may lead g, 0 if unknown or this node itself.
func (h *Host) hint(g *group) synod.NodeID {
	node, _ := h.node.Leader(uint64(g.id))
	if node == h.cfg.Self {
		return 0
	}
	return node
}
