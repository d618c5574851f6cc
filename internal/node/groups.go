package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/fd"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/internal/obs"
	"github.com/prytany/prytany/internal/steward"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A groupService is the lock service of one group on this node.
type groupService struct {
	machine    *locks.Machine
	replicated replica.Machine // the same, with the directory around it in main
	service    *service.Service
	over       context.Context // ends when this node gives up its part in the group
	end        context.CancelFunc
}

// group returns the machine and service of g, made at the first call.
func (n *Node) group(g paxos.GroupID) *groupService {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.services[g]
	if s == nil {
		m := locks.NewMachine()
		l := &groupLog{n: n, g: g}
		s = &groupService{machine: m, replicated: m, service: service.New(service.Config{
			Log:     l,
			Machine: m,
			Limits:  n.cfg.Limits,
			Now:     now,
			Age:     l.age,
		})}
		s.over, s.end = context.WithCancel(context.Background())
		if g == paxos.Main {
			n.dir = directory.New(m)
			s.replicated = n.dir
		}
		n.services[g] = s
	}
	return s
}

// known returns what group has made, nil if it has not.
func (n *Node) known(g paxos.GroupID) *groupService {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.services[g]
}

// forget drops all that is kept of a group that this node has no part in any more, and
// ends the requests that wait in it. The event loop waits for it.
func (n *Node) forget(g paxos.GroupID) {
	n.mu.Lock()
	s := n.services[g]
	delete(n.services, g)
	n.mu.Unlock()
	if s != nil {
		s.end()
	}
	n.metrics.ForgetGroup(g)
	n.journal.ForgetGroup(n.groupName(g))
}

// groupName is how people call a group: its number if it has been deleted.
func (n *Node) groupName(g paxos.GroupID) string {
	if g == paxos.Main {
		return api.MainGroup
	}
	if known := n.dir.View().Group(g); known != nil {
		return known.Name
	}
	return strconv.FormatUint(uint64(g), 10)
}

// groupID finds a group by name.
func (n *Node) groupID(name string) (paxos.GroupID, bool) {
	if name == api.MainGroup {
		return paxos.Main, true
	}
	if g := n.dir.View().Named(name); g != nil {
		return g.ID, true
	}
	return 0, false
}

// locks returns the service of a group of which this node is a voter; of main, also if
// it is a learner.
func (n *Node) locks(name string) (service.Locks, bool) {
	id, ok := n.groupID(name)
	if !ok {
		return nil, false
	}
	if st, here := n.host.Group(id); id != paxos.Main && (!here || st.Membership.Seat(n.id) < 0) {
		return nil, false
	}
	s := n.known(id)
	if s == nil {
		return nil, false
	}
	return s.service, true
}

// relayWithin bounds how long a node that does not know a group asks whether the others do.
const relayWithin = time.Second

// relay returns where requests for a group may be passed on to, best first. A node that
// cannot ask what groups there are does not say of any that it is unknown.
func (n *Node) relay(name string) (urls []string, unknown bool) {
	ids := n.steward.Members(name)
	if len(ids) == 0 {
		// It may have been made a moment ago.
		ctx, cancel := context.WithTimeout(context.Background(), relayWithin)
		defer cancel()
		if _, err := n.host.Barrier(ctx, paxos.Main); err == nil {
			ids = n.steward.Members(name)
			unknown = len(ids) == 0
		}
	}
	for _, id := range ids {
		if url := n.urlOf(id); id != n.id && url != "" && n.allowed(id) {
			urls = append(urls, url)
		}
	}
	return urls, unknown
}

// leaderURL returns where the leader of a group is, "" if this node does not know.
func (n *Node) leaderURL(name string) string {
	id, ok := n.groupID(name)
	if !ok {
		return ""
	}
	g, ok := n.host.Group(id)
	if !ok || g.Leader == 0 {
		return ""
	}
	return n.urlOf(g.Leader)
}

// leads reports whether this node leads a group, as far as it knows.
func (n *Node) leads(name string) bool {
	id, ok := n.groupID(name)
	return ok && n.standing(id).Leads
}

// grouped ends requests for a group when this node gives up its part in it.
func (n *Node) grouped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, "/v1/groups/")
		name, _, inside := strings.Cut(rest, "/")
		id, known := n.groupID(name)
		s := n.known(id)
		if !ok || !inside || !known || s == nil || id == paxos.Main {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		stop := context.AfterFunc(s.over, func() { cancel(n.ended(name, id, r.Method)) })
		defer stop()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// ended is the answer to a request that was under way when the node gave up its part in
// the group: what was to change something may have. A group that is in the directory
// has not gone with it: others serve it, and this node passes on what comes next.
func (n *Node) ended(name string, id paxos.GroupID, method string) error {
	why := fmt.Sprintf("the group %s was deleted", name)
	now, there := n.groupID(name)
	there = there && now == id
	if there {
		why = fmt.Sprintf("%s has given up its part in the group %s meanwhile; ask again", n.cfg.Name, name)
	}
	switch {
	case method != http.MethodGet && method != http.MethodHead:
		return refuse(api.CodeOutcomeUnknown, "%s", why)
	case there:
		return refuse(api.CodeNoLeader, "%s", why)
	}
	return refuse(api.CodeGroupUnknown, "%s", why)
}

// openSteward makes what looks after the groups.
func (n *Node) openSteward() {
	n.steward = steward.New(steward.Config{
		Self: n.id, Name: n.cfg.Name, Host: n.host, Directory: n.dir,
		Peers: n.peers, RTT: n.between, URL: n.urlOf, Ask: n.ask,
		Transfer: func(ctx context.Context, group, to string) error {
			_, err := n.transfer(ctx, group, to, true)
			return err
		},
		Here: func(g paxos.GroupID) (api.GroupStatus, bool) {
			st, ok := n.host.Group(g)
			_, links := n.host.Status()
			if s := n.known(g); ok && s != nil {
				return n.groupStatus(st, s.machine, links), true
			}
			return api.GroupStatus{}, false
		},
		Event:        n.journal.Add,
		ReplaceAfter: n.cfg.ReplaceAfter,
		ReplaceFrom:  n.cfg.ReplaceFrom,
		Log:          n.cfg.Log.With("part", "steward"),
	})
}

// look is the part of Run that looks after the groups. A node that was removed takes
// leave, and its directory is of no use any more.
func (n *Node) look(ctx context.Context) error {
	err := n.steward.Run(ctx)
	if !errors.Is(err, steward.ErrRemoved) {
		return err
	}
	n.event(kindRemoved, n.cfg.Name, "", n.cfg.Name+" was removed from the cluster and stops")
	if err := n.store.Remove("an operator removed it, or had it replaced"); err != nil {
		return err
	}
	n.leave()
	return n.store.Fit()
}

// kindRemoved is the kind of the event with which a node that was removed stops.
const kindRemoved = "node-removed"

// awaitRollBack is the part of Run that ends the node if another one remembers of it
// what its own disk contradicts: it must not vote, nor start again.
func (n *Node) awaitRollBack(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case why := <-n.rolledBack:
		n.event(kindRolledBack, n.nameOf(why.by), why.reason, n.cfg.Name+" runs on an old copy of its disk and must not vote")
		if err := n.store.Quarantine(fmt.Sprintf("%s remembers more of this node than its disk: %s", n.nameOf(why.by), why.reason)); err != nil {
			return err
		}
		return n.store.Fit()
	}
}

// A rollBack is what another node says of this one.
type rollBack struct {
	by     synod.NodeID
	reason string
}

// kindRolledBack is the kind of the event with which a node on an old disk stops.
const kindRolledBack = "rolled-back"

// kindSeat is the kind of the event that says that another voter has the name.
const kindSeat = "seat-taken"

// seat is whether the cluster knows this node's name under another identity.
func (n *Node) seat() api.Check {
	c := api.Check{Name: "seat", OK: true}
	if voter, taken := n.steward.Seat(); taken {
		c.OK = false
		c.Detail = fmt.Sprintf("the cluster knows a voter %s with another identity, %v: this data directory is new, and this node gets no vote; "+
			"if that one's disk is lost, run on any node: prytany member replace %s", n.cfg.Name, voter, n.cfg.Name)
	}
	return c
}

// tellSeat tells once that the cluster knows this node's name under another identity.
func (n *Node) tellSeat() {
	c := n.seat()
	if !c.OK && !n.seatTold {
		n.cfg.Log.Warn(c.Detail)
		n.event(kindSeat, n.cfg.Name, "", c.Detail)
	}
	n.seatTold = !c.OK
}

// peers are the nodes of this cluster that gossip knows, by ID.
func (n *Node) peers() (out []steward.Peer) {
	for _, p := range n.gossip.View().Nodes {
		if p.Cluster != n.clusterID() && p.ID != n.id {
			continue
		}
		peer := steward.Peer{ID: p.ID, Name: p.Name, Zone: p.Zone, PeerAddr: p.PeerAddr, Gossip: p.State.String(), Alive: p.State == fd.Alive}
		if p.ID == n.id {
			peer.Gossip, peer.Alive = fd.Alive.String(), true
		}
		out = append(out, peer)
	}
	return out
}

// wrong is from where on the predictions of gossip are not relied on: they are wrong by
// about that part.
const wrong = 0.3

// between is how far two nodes are from each other, as gossip predicts, if it is sure
// enough.
func (n *Node) between(a, b uint64) (time.Duration, bool) {
	for _, id := range []synod.NodeID{synod.NodeID(a), synod.NodeID(b)} {
		if id == n.id {
			continue
		}
		if e, ok := n.gossip.RTT(id); !ok || e.Error >= wrong {
			return 0, false
		}
	}
	return n.gossip.Distance(synod.NodeID(a), synod.NodeID(b))
}

// groupStates feeds the metrics: main and as many other groups as have series of
// their own.
func (n *Node) groupStates() []obs.GroupState {
	groups, _ := n.host.Status()
	var out []obs.GroupState
	for _, g := range groups {
		s := n.known(g.Group)
		if s == nil || !n.metrics.Shown(g.Group) {
			continue
		}
		c := s.machine.Counts()
		out = append(out, obs.GroupState{
			Group: g.Group, Applied: g.Applied, Revision: s.machine.Revision(), InFlight: g.InFlight, Waiting: g.Waiting,
			Sessions: c.Sessions, Locks: c.Locks, Waiters: c.Waiters, Entries: c.Entries,
			Fences: c.Fences, Changes: c.Changes, Answers: c.Answers, Own: c.Own, Bells: c.Bells, Bytes: c.Bytes,
		})
	}
	return out
}

// groupTotals feeds the metrics too.
func (n *Node) groupTotals() obs.Totals {
	c := n.steward.Counts()
	return obs.Totals{Here: c.Here, Leads: c.Leads, Leaderless: c.Leaderless, Known: c.Known}
}

const (
	leaveWithin = 2 * time.Second       // for a node that leads few groups,
	leaveEach   = 10 * time.Millisecond // and so much longer for each that it leads,
	leaveMost   = 10 * time.Second      // but no longer than this
	handOvers   = 32                    // at a time
)

// leaveTime is how long a node may take to leave.
func (n *Node) leaveTime() time.Duration {
	groups, _ := n.host.Status()
	within := leaveWithin
	for _, g := range groups {
		if g.Leading {
			within += leaveEach
		}
	}
	return min(within, leaveMost)
}

// leave tells the others that this node goes, and has others lead what it leads
// before the sockets close. Requests that it was given are answered until then.
func (n *Node) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), n.leaveTime())
	defer cancel()
	n.gossip.Leaving()
	n.handOver(ctx)
	n.vitals.drain()
	n.stopRequests()
	n.awaitElections(ctx)
	_ = n.server.Shutdown(ctx)
	n.shared.Shutdown(ctx)
	_ = n.gossip.Leave(ctx)
}

// handOver hands over every group that this node leads. Where nobody can take the
// lead now, an election may find somebody: see [Node.awaitElections].
func (n *Node) handOver(ctx context.Context) {
	groups, _ := n.host.Status()
	room := make(chan struct{}, handOvers)
	var all sync.WaitGroup
	for _, g := range groups {
		if !g.Leading || len(g.Membership.Voters) == 1 {
			continue
		}
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			if to, err := n.host.HandOver(ctx, g.Group, 0); err != nil {
				n.cfg.Log.Info("nobody has taken over", "group", n.groupName(g.Group), "err", err)
			} else {
				n.cfg.Log.Debug("another node leads now", "group", n.groupName(g.Group), "leader", n.nameOf(to))
			}
		})
	}
	all.Wait()
}

// awaitElections waits until no group is led by this node that others could
// lead.
func (n *Node) awaitElections(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n.leadsForOthers() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leadsForOthers reports whether this node leads a group of which a quorum is
// in reach without it.
func (n *Node) leadsForOthers() bool {
	groups, links := n.host.Status()
	for _, g := range groups {
		if g.Leading && quorumWithout(g, links) {
			return true
		}
	}
	return false
}

// quorumWithout reports whether the voters of g in reach are a quorum without this node.
func quorumWithout(g replica.GroupStatus, links []leader.Link) bool {
	others := synod.Set(0)
	for _, l := range links {
		if seat := g.Membership.Seat(l.Peer); seat >= 0 && l.Up {
			others = others.With(seat)
		}
	}
	return g.Membership.Quorums().Phase1(others)
}
