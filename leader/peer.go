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
	rtt         int64    // ns, smoothed; 0: never measured
	reports     []Report // by group; nil while the link is down
}

func byID(p *peer, id synod.NodeID) int { return cmp.Compare(p.id, id) }

func byGroup(r Report, group uint64) int { return cmp.Compare(r.Group, group) }

// report returns what p says about group in config, if it says anything.
func (p *peer) report(group uint64, config uint32) (Report, bool) {
	i, ok := slices.BinarySearchFunc(p.reports, group, byGroup)
	if !ok || p.reports[i].Config != config {
		return Report{}, false
	}
	return p.reports[i], true
}

// note remembers r.
func (p *peer) note(r Report) {
	i, ok := slices.BinarySearchFunc(p.reports, r.Group, byGroup)
	if !ok {
		p.reports = slices.Insert(p.reports, i, r)
		return
	}
	p.reports[i] = r
}

// down forgets what p has told and takes only answers to heartbeats sent from
// now on for life.
func (n *Node) down(p *peer, reason string, out *Output) {
	if p.up {
		out.Events = append(out.Events, Event{Kind: EvLinkDown, Node: p.id, Reason: reason})
	}
	p.up, p.reports, p.since = false, nil, n.seq+1
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

// meet makes peers of exactly the other voters of all groups.
func (n *Node) meet() {
	var ids []synod.NodeID
	for _, g := range n.groups {
		for _, v := range g.facts.Voters {
			if v.Node != n.cfg.Self {
				ids = append(ids, v.Node)
			}
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	peers := make([]*peer, len(ids))
	for i, id := range ids {
		if peers[i] = n.peer(id); peers[i] == nil {
			peers[i] = &peer{id: id, gossip: n.rumoured(id)}
		}
	}
	n.peers = peers
	for _, g := range n.groups {
		for i := range g.voters {
			g.voters[i].peer = n.peer(g.voters[i].Node)
		}
	}
}

// beatAll sends a heartbeat to every peer: several, if it shares more than
// MaxReports groups with this node.
func (n *Node) beatAll(now Instant, out *Output) {
	for _, p := range n.peers {
		var reports []Report
		for _, g := range n.groups {
			if !g.has(p.id) {
				continue
			}
			if len(reports) == MaxReports {
				n.beatTo(p, reports, now, out)
				reports = nil
			}
			reports = append(reports, n.report(g))
		}
		n.beatTo(p, reports, now, out)
	}
}

func (n *Node) beatTo(p *peer, reports []Report, now Instant, out *Output) {
	n.seq++
	out.send(p.id, Heartbeat{
		Seq: n.seq, Sent: now, Incarnation: n.cfg.Incarnation, Healthy: n.health.fit(), Groups: reports,
	})
}

// onHeartbeat handles a request or a reply of from.
func (n *Node) onHeartbeat(from synod.NodeID, m Heartbeat, now Instant, out *Output) {
	if len(m.Groups) > MaxReports {
		m.Groups = m.Groups[:MaxReports]
	}
	p := n.peer(from)
	if p != nil && m.Incarnation < p.incarnation {
		return // sent by a process that is gone
	}
	if p != nil && n.hear(p, m, now, out) {
		p.healthy = m.Healthy
		for _, r := range m.Groups {
			n.onReport(p, r, now, out)
		}
	}
	if m.Reply {
		return
	}
	reports := make([]Report, 0, len(m.Groups))
	for _, r := range m.Groups {
		if g := n.group(r.Group); g != nil {
			reports = append(reports, n.report(g))
		}
	}
	out.send(from, Heartbeat{
		Reply: true, Seq: m.Seq, Sent: m.Sent,
		Incarnation: n.cfg.Incarnation, Healthy: n.health.fit(), Groups: reports,
	})
}

// hear updates the link to p by m, and reports whether it is up: only then
// does what m says count, because p must be able to hear of us too.
func (n *Node) hear(p *peer, m Heartbeat, now Instant, out *Output) bool {
	n.judge(p, now, out)
	if m.Incarnation > p.incarnation {
		known := p.incarnation != 0
		p.incarnation = m.Incarnation
		if known {
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
	if p.rtt == 0 {
		p.rtt = max(rtt, 1)
	} else {
		p.rtt += (rtt - p.rtt) / 8
	}
	if !p.up {
		p.up = true
		out.Events = append(out.Events, Event{Kind: EvLinkUp, Node: p.id, Reason: reasonReply})
	}
	return true
}
