package leader

import (
	"cmp"
	"slices"

	"github.com/prytany/prytany/synod"
)

// A peer is what this node knows of another one, by itself.
type peer struct {
	id          synod.NodeID
	incarnation uint64 // 0: never heard of
	up          bool   // a reply came within Config.Silence, as last judged
	heard       Instant
	since       uint64 // replies to heartbeats before this one prove nothing
	healthy     bool
	gossip      Gossip
	rtt         int64 // ns, smoothed; 0: never measured
	trips       trips // the newest round trips
	clock       clock

	groups  []*group // which it shares with this node, by id
	voice   voice    // what it is told
	ear     ear      // what it tells
	asked   uint64   // the number of its newest request
	askedAt Instant  // when one came last
	renewed Instant  // when what stands by it was renewed last
	sure    sure     // its newest answer that renewed what stands by this node
	counts  bool     // sure, as last seen
}

func byID(p *peer, id synod.NodeID) int { return cmp.Compare(p.id, id) }

// down has what p has told count for nothing until it tells all again, and takes only answers to heartbeats sent from
// now on for life.
func (n *Node) down(p *peer, reason string, out *Output) {
	if p.up {
		out.Events = append(out.Events, Event{Kind: EvLinkDown, Node: p.id, Reason: reason})
	}
	if p.up && !n.off.noLinkWake {
		n.wakeAll(p)
	}
	p.up, p.ear.whole, p.since = false, false, n.seq+1
}

// restart forgets what another process at the node of p has said and heard.
func (n *Node) restart(p *peer) {
	heard := p.ear.says.ids
	p.ear, p.asked, p.sure = ear{}, 0, sure{}
	for _, g := range p.groups {
		n.loosen(g)
	}
	for _, id := range heard {
		if g := n.group(id); g != nil {
			n.touch(g)
		}
	}
	p.renewed = past
	n.begin(p)
}

// judge takes the link to p down if p has been silent for too long.
func (n *Node) judge(p *peer, now Instant, out *Output) {
	if p.up && int64(now-p.heard) > n.cfg.Silence {
		n.down(p, reasonSilence, out)
	}
}

func (n *Node) peer(id synod.NodeID) *peer {
	if i, ok := slices.BinarySearchFunc(n.peers, id, byID); ok {
		return n.peers[i]
	}
	return nil
}

// A rumour is what gossip last said about a node, peer or not.
type rumour struct {
	id    synod.NodeID
	state Gossip
}

func (r rumour) byID(id synod.NodeID) int { return cmp.Compare(r.id, id) }

// rumour remembers what gossip says about id: nothing, if that is unknown.
func (n *Node) rumour(id synod.NodeID, s Gossip) {
	i, ok := slices.BinarySearchFunc(n.rumours, id, rumour.byID)
	switch {
	case ok && s == GossipUnknown:
		n.rumours = slices.Delete(n.rumours, i, i+1)
	case ok:
		n.rumours[i].state = s
	case s != GossipUnknown:
		n.rumours = slices.Insert(n.rumours, i, rumour{id, s})
	}
}

func (n *Node) rumoured(id synod.NodeID) Gossip {
	if i, ok := slices.BinarySearchFunc(n.rumours, id, rumour.byID); ok {
		return n.rumours[i].state
	}
	return GossipUnknown
}

// beatAll sends a heartbeat to every peer: several, if there is more to say than
// goes into one. One whose link is down gets none but the bare question: what there
// is to say goes into the answers to its own, and follows when it answers.
func (n *Node) beatAll(now Instant, out *Output) {
	n.speak() // a bare question must not say that it is whole while something waits to be said
	for _, p := range n.peers {
		if len(p.groups) == 0 {
			continue
		}
		m := Heartbeat{Sent: now, Incarnation: n.cfg.Incarnation, Healthy: n.health.fit()}
		if p.up {
			n.tell(p, m, true, out)
			continue
		}
		n.seq++
		m.Seq, m.Have, m.Since, m.Version = n.seq, p.ear.have, p.voice.acked, p.voice.acked
		m.Whole = p.voice.acked == p.voice.top
		out.send(p.id, m)
	}
}

// onHeartbeat handles a request or a reply of from.
func (n *Node) onHeartbeat(from synod.NodeID, m Heartbeat, now Instant, out *Output) {
	p := n.peer(from)
	if p != nil && m.Incarnation < p.incarnation {
		return // sent by a process that is gone
	}
	if p == nil && !m.Reply {
		p = n.guest(from, now)
	}
	a := Heartbeat{
		Reply: true, Seq: m.Seq, Sent: m.Sent, Clock: now, Lease: n.cfg.Lease,
		Incarnation: n.cfg.Incarnation, Healthy: n.health.fit(),
	}
	switch {
	case p != nil && m.Reply:
		n.onAnswer(p, &m, now, out)
	case p != nil:
		a.Taken = n.onRequest(p, &m, now, out)
		n.tell(p, a, false, out)
	case !m.Reply:
		out.send(from, a) // one too many: it is told that this node lives
	}
}

// onAnswer handles a reply of p.
func (n *Node) onAnswer(p *peer, m *Heartbeat, now Instant, out *Output) {
	if !n.hear(p, m, now, out) {
		return
	}
	n.onHave(p, m, false)
	n.feels(p, m)
	if n.take(p, m, now, out) || n.off.boundUnsaid {
		n.reckon(p, m, now)
	}
}

// onRequest handles a request of p, and reports whether it renews what stands by p:
// the link is up, it is the newest, and with it p has said all that it has to say.
func (n *Node) onRequest(p *peer, m *Heartbeat, now Instant, out *Output) (taken bool) {
	up := n.hear(p, m, now, out)
	newest := m.Seq > p.asked
	p.asked, p.askedAt = max(p.asked, m.Seq), now
	n.onHave(p, m, newest)
	whole := n.take(p, m, now, out)
	if up {
		n.feels(p, m)
	}
	taken = up && (whole && newest || n.off.staleRenews)
	if taken {
		p.renewed = now
	}
	return taken
}

// feels takes note of how p says that it is.
func (n *Node) feels(p *peer, m *Heartbeat) {
	if p.healthy != m.Healthy {
		p.healthy = m.Healthy
		n.wakeAll(p)
	}
}

// hear updates the link to p by m, and reports whether it is up: only then
// does what m says count, because p must be able to hear of us too. It takes no
// link down: a node that is late itself has the answers that it misses behind
// this message, and would blame its peers for its own slowness.
func (n *Node) hear(p *peer, m *Heartbeat, now Instant, out *Output) bool {
	if m.Incarnation > p.incarnation {
		known := p.incarnation != 0
		p.incarnation, p.clock.begun = m.Incarnation, false
		if known {
			n.restart(p)
			n.down(p, reasonRestarted, out)
			n.lose(p, now, out)
		}
	}
	if !m.Reply {
		return p.up
	}
	rtt := int64(now - m.Sent)
	if m.Seq < max(p.since, n.first) || m.Seq > n.seq || rtt < 0 || rtt > n.cfg.Silence {
		return false // answers another process, or too late to prove anything
	}
	p.heard = now
	if p.trips.add(max(rtt, 1)) {
		n.wakeAll(p)
	}
	n.compare(p, m.Sent, m.Clock, now, out)
	if p.rtt == 0 {
		p.rtt = max(rtt, 1)
	} else {
		p.rtt += (rtt - p.rtt) / 8
	}
	if !p.up {
		p.up = true
		n.wakeAll(p)
		out.Events = append(out.Events, Event{Kind: EvLinkUp, Node: p.id, Reason: reasonReply})
	}
	return true
}
