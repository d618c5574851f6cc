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

	unsettled bool // health has changed since the groups were evaluated

	version uint64   // of the newest thing said to anybody
	dirty   []*group // of which something new may have to be said
	wakeful []*group // which are awake
	due     Instant  // when the first of the others wakes
	turn    int      // the last one that was woken because it was its turn
	judged  Instant  // when all links were judged and the groups evaluated
	looks   uint64   // how many evaluations there were

	mute    Instant // before it, no acceptor helps anybody; see Config.Mute
	dropped Instant // the end of the leases of groups that were dropped

	peers   []*peer  // voters of the groups, and who asks about one
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
	noMute         bool // a new process promises at once
	fromReceipt    bool // a leader counts a lease from the answer on
	sealedLeases   bool // a leader that ends its configuration still reads by its lease
	releaseKeeps   bool // a leader that has handed over still leads
	bindsBelow     bool // an acceptor is bound by heartbeats below its promise, or without one
	noMargin       bool // a leader counts a lease as long as the acceptor does
	noGuard        bool // clocks are not compared

	followsCampaigns bool // who is content follows a candidate all the same
	neverWithdraws   bool // a candidate goes on though others are well without it
	yieldsToRivals   bool // a candidate withdraws for another candidate too
	neverMends       bool // a voter that stands aside does so until the next election

	everything    bool // every heartbeat says everything, and nothing sleeps: the rule as it was once
	noNet         bool // what sleeps is looked at only if something wakes it
	noLapse       bool // no wake-up when acceptors let go
	noReportWake  bool // no wake-up when a voter says something new
	noLinkWake    bool // no wake-up when a link is lost
	boundUnsaid   bool // a lease is counted by any answer of an acceptor that says it is bound
	leaseIgnored  bool // an acceptor that is bound promises all the same
	staleRenews   bool // a request that has been overtaken renews
	noMaterialize bool // a binding that stands no longer is over at once
}

// NewNode returns a machine that knows no groups. It believes itself healthy
// until the first Tick says otherwise.
func NewNode(cfg Config, now Instant) *Node {
	cfg = cfg.WithDefaults()
	return &Node{
		cfg:    cfg,
		off:    switched(),
		random: random(cfg.Seed),
		health: Health{Disk: true, Loop: true},
		first:  cfg.Incarnation<<32 + 1,
		seq:    cfg.Incarnation << 32,

		version: cfg.Incarnation << 32,

		beat:   now,
		told:   now - Instant(cfg.Heartbeat),
		due:    never,
		judged: now - Instant(cfg.Lease),
		mute:   now + Instant(cfg.Mute),

		dropped: now,
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
		g = newGroup(group, now, n.quiet())
		i, _ := n.find(group)
		n.groups = slices.Insert(n.groups, i, g)
		n.seatVoters(g, f.Voters, now)
	case g.facts.Config != f.Config: // ballots of two configurations are not comparable
		g.renew(newGroup(group, now, n.quiet()))
		n.seatVoters(g, f.Voters, now)
		if !n.off.noGrace {
			g.grace = now + Instant(n.cfg.Heartbeat*2)
		}
	case !slices.Equal(g.facts.Voters, f.Voters):
		n.seatVoters(g, f.Voters, now)
	case g.facts.Promised.Less(f.Promised) && f.Promised.Member != g.me && !n.off.noGrace:
		g.grace = now + Instant(n.cfg.Heartbeat*3/2)
	}
	if f.Own != g.facts.Own {
		n.tellSoon(now)
	}
	f.Voters = g.facts.Voters
	g.facts = f
	from := len(out.Send)
	n.evaluate(g, now, out)
	out.gather(from)
}

// seatVoters gives g its voters, and makes peers of exactly the others.
func (n *Node) seatVoters(g *group, voters []Voter, now Instant) {
	was := g.voters
	g.facts.Voters = slices.Clone(voters)
	g.voters, g.me = make([]voter, len(voters)), 0
	for i, v := range voters {
		g.voters[i].Voter, g.voters[i].nearer = v, never
		if v.Node == n.cfg.Self {
			g.me = v.Ordinal
			continue
		}
		p := n.know(v.Node, now)
		p.meet(g)
		g.voters[i].peer = p
	}
	slices.SortFunc(g.voters, func(a, b voter) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	places := order(g.id, len(voters))
	for i := range g.voters {
		g.voters[i].place = places[i]
	}
	for _, v := range was {
		if v.peer != nil && !g.has(v.Node) {
			v.peer.part(g)
		}
	}
	g.claim.open = false // seats have moved
}

// DropGroup forgets a group. With nodes that share no other one no heartbeats are
// exchanged any more. Its acceptor stays bound: should the group come back sooner
// than that ends, it helps nobody until then.
func (n *Node) DropGroup(group uint64) {
	i, ok := n.find(group)
	if !ok {
		return
	}
	g := n.groups[i]
	n.dropped = max(n.dropped, n.binding(g).until)
	n.groups = slices.Delete(n.groups, i, i+1)
	for _, p := range n.peers {
		p.part(g)
	}
	n.touch(g)
	g.gone = true
}

// Tick does what is due at now, and returns when it wants to be called next.
// To call it earlier does no harm. Any other call may bring that moment
// nearer; see [Node.Next].
func (n *Node) Tick(now Instant, h Health, out *Output) (next Instant) {
	n.resume(now)
	n.SetHealth(h, out)
	changed := n.unsettled
	n.unsettled = false
	for _, p := range n.peers {
		n.judge(p, now, out)
	}
	beat := now >= n.beat
	if beat {
		n.judged = now
		n.rouse(now)
	}
	from := len(out.Send)
	n.look(beat, beat || changed, now, out)
	out.gather(from)
	if beat {
		n.forget(now)
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
	if n.unsettled {
		next = n.told
	}
	for _, g := range n.wakeful {
		if !g.gone {
			next = min(next, g.claimAt, g.again)
		}
	}
	return next
}

// Receive handles one message from a peer. Messages may be lost, late,
// repeated and out of order.
func (n *Node) Receive(from synod.NodeID, m Message, now Instant, out *Output) {
	if from == n.cfg.Self {
		return
	}
	sent := len(out.Send)
	switch m := m.(type) {
	case Heartbeat:
		n.onHeartbeat(from, m, now, out)
	case Claim:
		n.onClaim(from, m, now, out)
	case Claims:
		for _, c := range m.All[:min(len(m.All), MaxReports)] {
			n.onClaim(from, c, now, out)
		}
	case Grant:
		n.onGrant(from, m, now, out)
	case Grants:
		for _, g := range m.All[:min(len(m.All), MaxReports)] {
			n.onGrant(from, g, now, out)
		}
	case Release:
		n.onRelease(from, m, now, out)
	default:
		panic(fmt.Sprintf("leader: unknown message %T", m))
	}
	out.gather(sent)
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
	from := len(out.Send)
	for _, g := range p.groups {
		if g.leader() == p.id {
			g.grace = now
		}
		n.evaluate(g, now, out)
	}
	out.gather(from)
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
	n.wakeAll(p)
	n.judge(p, now, out)
	if !p.up && (s == GossipDead || s == GossipLeaving) {
		n.lose(p, now, out)
	}
}
