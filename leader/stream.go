package leader

import (
	"cmp"
	"slices"

	"github.com/prytany/prytany/synod"
)

// What a node says to another one about the groups that they share is a stream:
// each heartbeat, request or answer, says what has changed, and the rest stands.
// A stream counts versions. The receiver tells how far it has come, and the sender
// says again what is above that, so that nothing is lost for good. A message that
// begins above what the receiver has is passed over, as is one that it has already.
//
// Versions begin above all of the process before, and above all that was said to
// the same peer before it was forgotten. A message with Since 0 begins a stream:
// what the receiver had and is not told again before the first Whole one is void.

// maxGuests bounds the nodes that are answered about groups though they are no
// voters of them. Those beyond are answered without a word about groups.
const maxGuests = 1024

// maxHeard bounds the groups about which one peer is heard. What it says about
// those beyond counts for nothing.
const maxHeard = 1 << 16

// patience is how many times Config.Silence a node is remembered that shares no
// group and asks nothing.
const patience = 20

// A book holds values by the group's id.
type book[V any] struct {
	ids  []uint64 // ascending
	vals []*V
}

// get returns the value of id, nil if there is none.
func (t *book[V]) get(id uint64) *V {
	if i, ok := slices.BinarySearch(t.ids, id); ok {
		return t.vals[i]
	}
	return nil
}

// put returns a new value for id, which had none.
func (t *book[V]) put(id uint64) *V {
	i, _ := slices.BinarySearch(t.ids, id)
	v := new(V)
	t.ids, t.vals = slices.Insert(t.ids, i, id), slices.Insert(t.vals, i, v)
	return v
}

func (t *book[V]) del(id uint64) {
	if i, ok := slices.BinarySearch(t.ids, id); ok {
		t.ids, t.vals = slices.Delete(t.ids, i, i+1), slices.Delete(t.vals, i, i+1)
	}
}

// A said is what was last said about a group. Without a configuration it says that
// there is nothing to say any more.
type said struct {
	report  Report
	version uint64
}

// A line notes that something was said.
type line struct{ group, version uint64 }

// A voice is the stream of what this node says to a peer.
type voice struct {
	floor uint64 // the version that the stream begins with
	top   uint64 // the newest
	acked uint64 // the peer has all up to this; 0: for all we know, nothing
	said  book[said]
	log   []line // what is above acked, by version; a line is void if that group was spoken of again
}

// A heard is what a peer last said about a group.
type heard struct {
	Report
	at    uint64 // the version of the message
	bound uint64 // since which version Bound is what it is
}

// An ear is the stream of what a peer says.
type ear struct {
	have  uint64 // all up to this version
	whole bool   // that was all there was to say, at some moment since the link is up
	void  uint64 // what is not above this is void with the next whole message; 0: nothing is
	says  book[heard]
}

// report returns what p says about group in config, if it says anything.
func (p *peer) report(group uint64, config uint32) (Report, bool) {
	if h := p.ear.says.get(group); h != nil && h.Config == config {
		return h.Report, true
	}
	return Report{}, false
}

// asks reports whether p is told about g: it is a voter, or says that we are one.
func (p *peer) asks(g *group) bool {
	if g.has(p.id) {
		return true
	}
	h := p.ear.says.get(g.id)
	return h != nil && h.Asks
}

// touch has what is said about g looked at before the next message.
func (n *Node) touch(g *group) {
	if !g.dirty {
		g.dirty = true
		n.dirty = append(n.dirty, g)
	}
}

// speak notes, for all peers, what is to be said anew about groups that have
// changed.
func (n *Node) speak() {
	for _, d := range n.dirty {
		d.dirty = false
		g := n.group(d.id) // d itself may have been dropped
		var r Report
		if g != nil {
			r = n.report(g)
		}
		for _, p := range n.peers {
			n.say(p, d.id, g, r)
		}
	}
	clear(n.dirty)
	n.dirty = n.dirty[:0]
}

// say notes what is to be said to p about the group id, if that is new.
func (n *Node) say(p *peer, id uint64, g *group, r Report) {
	if g != nil && p.asks(g) {
		r.Asks, r.Bound = g.has(p.id), n.echo(g, p)
	} else {
		r = Report{Group: id}
	}
	v := &p.voice
	s := v.said.get(id)
	switch {
	case s == nil && r.Config == 0:
		return
	case s == nil:
		s = v.said.put(id)
	case s.report == r:
		return
	}
	s.report = r
	n.write(v, s)
}

// repeat has what was last said about g said again to those who are in a later
// configuration: they tell who is not, and that may be lost.
func (n *Node) repeat(g *group) {
	for i := range g.voters {
		if p := g.voters[i].peer; p != nil && p.ahead(g) {
			if s := p.voice.said.get(g.id); s != nil {
				n.write(&p.voice, s)
			}
		}
	}
}

// ahead reports whether p says that g is in a later configuration.
func (p *peer) ahead(g *group) bool {
	h := p.ear.says.get(g.id)
	return h != nil && h.Config > g.facts.Config
}

// write gives s, of v, the next version.
func (n *Node) write(v *voice, s *said) {
	n.version++
	s.version, v.top = n.version, n.version
	if len(v.log) > 2*len(v.said.ids)+64 {
		v.log = slices.DeleteFunc(v.log, v.stale)
	}
	v.log = append(v.log, line{s.report.Group, s.version})
}

// stale reports whether the group of l has been spoken of again.
func (v *voice) stale(l line) bool {
	s := v.said.get(l.group)
	return s == nil || s.version != l.version
}

// begin begins the stream to p anew: it has nothing of it any more, or never had.
func (n *Node) begin(p *peer) {
	n.version++
	p.voice = voice{floor: n.version, top: n.version}
	for _, g := range p.groups {
		n.touch(g)
	}
	for _, id := range p.ear.says.ids {
		if g := n.group(id); g != nil {
			n.touch(g)
		}
	}
}

// onHave takes note of how much p has of what was said to it. In a request that no
// later one has overtaken, it may say that it has forgotten.
func (n *Node) onHave(p *peer, m *Heartbeat, newest bool) {
	v := &p.voice
	switch {
	case m.Have > v.top || n.off.everything:
	case m.Have < v.floor:
		if newest && v.acked != 0 {
			n.begin(p)
		}
	case m.Have > v.acked:
		v.acked = m.Have
		k := 0
		for k < len(v.log) && v.log[k].version <= v.acked {
			l := v.log[k]
			if s := v.said.get(l.group); s != nil && s.version == l.version && s.report.Config == 0 {
				v.said.del(l.group)
			}
			k++
		}
		v.log = slices.Delete(v.log, 0, k)
	}
}

// tell sends m, a heartbeat or an answer, to p with what p does not have yet. All of
// it, in several messages if need be, if all is set; else as much as goes into one.
func (n *Node) tell(p *peer, m Heartbeat, all bool, out *Output) {
	n.speak()
	v := &p.voice
	m.Have, m.Since = p.ear.have, v.acked
	for rest := v.log; ; {
		m.Groups = nil
		m.Version = max(v.floor, v.acked)
		for len(rest) > 0 && len(m.Groups) < MaxReports {
			if !v.stale(rest[0]) {
				m.Groups = append(m.Groups, v.said.get(rest[0].group).report)
				m.Version = rest[0].version
			}
			rest = rest[1:]
		}
		if m.Whole = len(rest) == 0; m.Whole {
			m.Version = v.top
		}
		if !m.Reply {
			n.seq++
			m.Seq = n.seq
		}
		out.send(p.id, m)
		if m.Whole || !all {
			return
		}
		m.Since = m.Version
	}
}

// take takes what m says about groups, unless it is old or there is a gap before it.
// It reports whether nothing is missing: what p has said is all that it had to say
// when it sent m.
func (n *Node) take(p *peer, m *Heartbeat, now Instant, out *Output) (whole bool) {
	e := &p.ear
	var news []*group
	switch {
	case m.Version <= e.have: // nothing new
	case m.Since > e.have || len(m.Groups) > MaxReports:
		return false
	default:
		if m.Since == 0 {
			e.void = e.have
		}
		e.have = m.Version
		news = n.learn(p, m)
	}
	whole = m.Whole && m.Version == e.have
	if whole && p.up && !e.whole {
		e.whole = true
		n.wakeAll(p)
	}
	for _, g := range news {
		n.onReport(p, g, now, out)
	}
	return whole
}

// learn remembers what m says, and returns the groups of which that is new.
func (n *Node) learn(p *peer, m *Heartbeat) (news []*group) {
	e := &p.ear
	for _, r := range m.Groups {
		if n.note(p, r, m.Version) {
			if g := n.group(r.Group); g != nil {
				news = append(news, g)
			}
		}
	}
	if m.Whole && e.void != 0 {
		for i := len(e.says.ids) - 1; i >= 0; i-- {
			if id := e.says.ids[i]; e.says.vals[i].at <= e.void {
				e.says.del(id)
				if g := n.group(id); g != nil {
					news = append(news, g)
				}
			}
		}
		e.void = 0
	}
	return news
}

// note remembers r, and reports whether it is new.
func (n *Node) note(p *peer, r Report, version uint64) bool {
	says := &p.ear.says
	h := says.get(r.Group)
	switch {
	case r.Config == 0:
		says.del(r.Group)
		return h != nil
	case h == nil && len(says.ids) >= maxHeard:
		return false
	case h == nil:
		h = says.put(r.Group)
		h.bound = version
	case h.Report == r:
		h.at = version
		return false
	case h.Bound != r.Bound || h.Config != r.Config: // ballots of two configurations are not comparable
		h.bound = version
	}
	h.Report, h.at = r, version
	return true
}

// onReport does what follows from what p says anew about g. It counts only over a
// link that is up, because p must be able to hear of us too.
func (n *Node) onReport(p *peer, g *group, now Instant, out *Output) {
	if !g.has(p.id) {
		n.touch(g) // it may ask, or ask no longer
		return
	}
	if n.touch(g); !n.off.noReportWake {
		n.wake(g)
	}
	if p.up {
		if h := p.ear.says.get(g.id); h != nil && h.Config == g.facts.Config && g.lead.Less(h.Own) {
			n.follow(g, out)
		}
		n.withdraw(g, out)
	}
	n.bind(g, now)
}

// know returns what is known of the node id, from now on if nothing was.
func (n *Node) know(id synod.NodeID, now Instant) *peer {
	i, ok := slices.BinarySearchFunc(n.peers, id, byID)
	if !ok {
		p := &peer{id: id, gossip: n.rumoured(id), renewed: past, askedAt: now}
		n.peers = slices.Insert(n.peers, i, p)
		n.begin(p)
	}
	return n.peers[i]
}

// guest returns what is known of a node that asks though it shares no group, nil if
// there are too many of those.
func (n *Node) guest(id synod.NodeID, now Instant) *peer {
	guests := 0
	for _, p := range n.peers {
		if len(p.groups) == 0 {
			guests++
		}
	}
	if guests >= maxGuests {
		return nil
	}
	return n.know(id, now)
}

// forget forgets who shares no group and has not asked anything for long.
func (n *Node) forget(now Instant) {
	n.peers = slices.DeleteFunc(n.peers, func(p *peer) bool {
		return len(p.groups) == 0 && int64(now-p.askedAt) > patience*n.cfg.Silence
	})
}

// meet makes g one of the groups that p shares, part the contrary.
func (p *peer) meet(g *group) {
	if i, ok := slices.BinarySearchFunc(p.groups, g.id, byGroup); !ok {
		p.groups = slices.Insert(p.groups, i, g)
	}
}

func (p *peer) part(g *group) {
	if i, ok := slices.BinarySearchFunc(p.groups, g.id, byGroup); ok {
		p.groups = slices.Delete(p.groups, i, i+1)
	}
}

func byGroup(g *group, id uint64) int { return cmp.Compare(g.id, id) }
