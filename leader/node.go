package leader

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/prytany/prytany/synod"
)

// A Node is the leader machine of one node, for all its groups. Groups and
// peers are kept sorted, so that every walk over them has one order.
type Node struct {
	cfg    Config
	off    mutant
	random random
	health Health

	first uint64  // number of the first heartbeat of this process
	seq   uint64  // number of the last one sent
	beat  Instant // when the next ones are due
	told  Instant // when the last ones were sent

	peers   []*peer
	rumours []rumour // by node
	groups  []*group
}

// A mutant is the rule with something switched off, for tests that must
// notice. The zero value is the rule.
type mutant struct {
	refreshGrants  bool // a repeated claim renews the support for it
	noBackoff      bool // a failed claim is repeated at once
	noGrace        bool // a promise does not make content
	claimFromLead  bool // claims are numbered from the own lead only
	replacedRenews bool // a leader that has been replaced still binds acceptors
	takeOver       bool // who does not hear the leader claims, whatever neighbours say
	noSecondLook   bool // a claim is won even if our acceptor has been bound since
	noJitter       bool // heartbeats are evenly spaced: the worst case for duels
}

// NewNode returns a machine that knows no groups. It believes itself healthy
// until the first Tick says otherwise.
func NewNode(cfg Config, now Instant) *Node {
	cfg = cfg.withDefaults()
	return &Node{
		cfg:    cfg,
		random: random(cfg.Seed),
		health: Health{Disk: true, Loop: true},
		first:  cfg.Incarnation<<32 + 1,
		seq:    cfg.Incarnation << 32,
		beat:   now,
		told:   now - Instant(cfg.Heartbeat),
	}
}

func (n *Node) group(id uint64) *group {
	if i, ok := n.find(id); ok {
		return n.groups[i]
	}
	return nil
}

func (n *Node) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(n.groups, id, func(g *group, id uint64) int { return cmp.Compare(g.id, id) })
}

// SetGroup adds a group or tells new facts about it. It keeps no reference to
// f.Voters. To have promised to another node since the last call is to be
// content for a moment: until that node's own heartbeats arrive. So is a new
// configuration: its voters enter it one by one, and its designated leader
// leads from the start.
func (n *Node) SetGroup(group uint64, f Facts, now Instant, out *Output) {
	if len(f.Voters) > synod.MaxSeats {
		panic(fmt.Sprintf("leader: group %d has %d voters; want at most %d", group, len(f.Voters), synod.MaxSeats))
	}
	for _, p := range n.peers {
		n.judge(p, now, out)
	}
	g := n.group(group)
	switch {
	case g == nil:
		g = newGroup(group, now)
		i, _ := n.find(group)
		n.groups = slices.Insert(n.groups, i, g)
		n.seatVoters(g, f.Voters)
	case g.facts.Config != f.Config: // ballots of two configurations are not comparable
		*g = *newGroup(group, now)
		n.seatVoters(g, f.Voters)
		if !n.off.noGrace {
			g.grace = now + Instant(n.cfg.Heartbeat*2)
		}
	case !slices.Equal(g.facts.Voters, f.Voters):
		n.seatVoters(g, f.Voters)
	case g.facts.Promised.Less(f.Promised) && f.Promised.Member != g.me && !n.off.noGrace:
		g.grace = now + Instant(n.cfg.Heartbeat*3/2)
	}
	if f.Own != g.facts.Own {
		n.tellSoon(now)
	}
	f.Voters = g.facts.Voters
	g.facts = f
	n.evaluate(g, now, out)
}

// seatVoters gives g its voters.
func (n *Node) seatVoters(g *group, voters []Voter) {
	g.facts.Voters = slices.Clone(voters)
	g.voters, g.me = make([]voter, len(voters)), 0
	for i, v := range voters {
		g.voters[i].Voter = v
		if v.Node == n.cfg.Self {
			g.me = v.Ordinal
		}
	}
	slices.SortFunc(g.voters, func(a, b voter) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	g.claim.open = false // seats have moved
	n.meet()
}

// DropGroup forgets a group. Peers that share no other one are forgotten too.
func (n *Node) DropGroup(group uint64) {
	if i, ok := n.find(group); ok {
		n.groups = slices.Delete(n.groups, i, i+1)
		for _, p := range n.peers {
			p.reports = slices.DeleteFunc(p.reports, func(r Report) bool { return r.Group == group })
		}
		n.meet()
	}
}

// Tick does what is due at now, and returns when it wants to be called next.
// To call it earlier does no harm. Any other call may bring that moment
// nearer; see [Node.Next].
func (n *Node) Tick(now Instant, h Health, out *Output) (next Instant) {
	changed := n.health != h
	n.health = h
	for _, p := range n.peers {
		n.judge(p, now, out)
	}
	beat := now >= n.beat
	for _, g := range n.groups {
		if beat || changed || now >= g.claimAt || now >= g.again {
			n.evaluate(g, now, out)
		}
	}
	if beat {
		n.beatAll(now, out)
		n.told = now
		t, spread := n.cfg.Heartbeat, n.cfg.Heartbeat/20
		if n.off.noJitter {
			spread = 0
		}
		n.beat = now + Instant(n.random.between(t-spread, t+spread+1))
	}
	return n.Next()
}

// tellSoon has the next heartbeats sent at once, or as soon as the last ones
// are not too recent: what this node has to say about a group has changed.
func (n *Node) tellSoon(now Instant) {
	n.beat = min(n.beat, max(now, n.told+Instant(n.cfg.Heartbeat/5)))
}

// Next returns when Tick should be called next.
func (n *Node) Next() Instant {
	next := n.beat
	for _, g := range n.groups {
		next = min(next, g.claimAt, g.again)
	}
	return next
}

// Receive handles one message from a peer. Messages may be lost, late,
// repeated and out of order.
func (n *Node) Receive(from synod.NodeID, m Message, now Instant, out *Output) {
	if from == n.cfg.Self {
		return
	}
	switch m := m.(type) {
	case Heartbeat:
		n.onHeartbeat(from, m, now, out)
	case Claim:
		n.onClaim(from, m, now, out)
	case Grant:
		n.onGrant(from, m, now, out)
	default:
		panic(fmt.Sprintf("leader: unknown message %T", m))
	}
}

// Disconnected says that the connection to peer was reset and that a redial
// was refused: the process is gone. Its links count as down at once, until it
// answers a heartbeat sent after this.
func (n *Node) Disconnected(peer synod.NodeID, now Instant, out *Output) {
	p := n.peer(peer)
	if p == nil {
		return
	}
	n.down(p, reasonReset, out)
	n.lose(p, now, out)
}

// lose evaluates at once what the end of p's process changes.
func (n *Node) lose(p *peer, now Instant, out *Output) {
	for _, q := range n.peers {
		n.judge(q, now, out)
	}
	for _, g := range n.groups {
		if !g.has(p.id) {
			continue
		}
		if g.leader() == p.id {
			g.grace = now
		}
		n.evaluate(g, now, out)
	}
}

// SetGossip says what gossip thinks of peer. It is believed in two cases only:
// a peer that is said to be leaving is not expected to claim, and a link that
// is down already is judged at once if gossip agrees. Whoever answers
// heartbeats is alive, whatever gossip says.
// What it says of a node that is no peer yet is kept until it is one.
func (n *Node) SetGossip(peer synod.NodeID, s Gossip, now Instant, out *Output) {
	n.rumour(peer, s)
	p := n.peer(peer)
	if p == nil || p.gossip == s {
		return
	}
	p.gossip = s
	n.judge(p, now, out)
	if !p.up && (s == GossipDead || s == GossipLeaving) {
		n.lose(p, now, out)
	}
}
