package node

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/prytany/prytany/fd"
	"github.com/prytany/prytany/httpapi"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/multiplex"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// openHTTP puts the API in front of the services.
func (n *Node) openHTTP() error {
	n.metrics.SetBuild(n.cfg.Version)
	n.metrics.WatchGroups(n.groupStates, n.groupTotals)
	host, _, err := net.SplitHostPort(n.httpLn.Addr().String())
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	n.api = httpapi.New(httpapi.Config{
		Locks:     n.locks,
		Relay:     n.relay,
		Groups:    n.steward,
		Status:    n.status,
		Members:   n.membersView,
		Ready:     n.checks,
		Events:    n.journal,
		Node:      n.cfg.Name,
		RTT:       n.rtt,
		Transfer:  n.transfer,
		LeaderURL: n.leaderURL,
		IsLeader:  n.leads,
		Metrics:   n.metrics.Handler(),
		Limits:    n.group(paxos.Main).service.Limits(),
		Log:       n.cfg.Log.With("part", "http"),
		Observe:   n.metrics.ObserveHTTP,
		CheckHost: ip != nil && ip.IsLoopback(),
		Hosts:     n.cfg.Hosts,
	})
	n.metrics.WatchOpen(n.api.Open)
	n.server, n.stopRequests = n.api.NewHTTPServer()
	n.shared = multiplex.NewServer(multiplex.ServerConfig{
		Handler: n.gate(n.grouped(n.server.Handler)),
		Log:     n.cfg.Log.With("part", "http"),
	})
	n.server.Handler = n.shared
	return nil
}

// gate holds requests and replies back while the node is paused.
func (n *Node) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.thawed(r.Context()) {
			panic(http.ErrAbortHandler) // nobody has looked at it
		}
		next.ServeHTTP(&gated{w, n, r.Context()}, r)
	})
}

// thawed waits while the node is paused, and reports whether ctx lasts.
func (n *Node) thawed(ctx context.Context) bool {
	n.mu.Lock()
	frozen := n.frozen
	n.mu.Unlock()
	if frozen == nil {
		return true
	}
	select {
	case <-frozen:
		return true
	case <-ctx.Done():
		return false
	}
}

// A gated reply says nothing while the node is paused: a watch that went on with
// bookmarks would look alive.
type gated struct {
	http.ResponseWriter
	n   *Node
	ctx context.Context // of the request
}

func (g *gated) Write(b []byte) (int, error) {
	if !g.n.thawed(g.ctx) {
		return 0, context.Cause(g.ctx)
	}
	return g.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (g *gated) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// main returns the status of group main on this node; ok is false if it has no
// part in it yet.
func (n *Node) main() (replica.GroupStatus, bool) { return n.host.Group(paxos.Main) }

// Standing is a node's claim to lead group main.
type Standing struct {
	Leads  bool
	Ballot synod.Ballot
}

// Standing returns whether this node leads group main, and since which ballot.
func (n *Node) Standing() Standing { return n.standing(paxos.Main) }

func (n *Node) standing(id paxos.GroupID) Standing {
	g, ok := n.host.Group(id)
	if !ok || !g.Leading {
		return Standing{}
	}
	return Standing{Leads: true, Ballot: g.Ballot}
}

// Leads reports whether this node leads group main, as far as it knows.
func (n *Node) Leads() bool { return n.Standing().Leads }

// Voter reports whether this node is a voter of group main.
func (n *Node) Voter() bool {
	g, ok := n.main()
	return ok && g.Membership.Seat(n.id) >= 0
}

// Ready reports whether the node would serve a request.
func (n *Node) Ready() bool {
	for _, c := range n.checks() {
		if !c.OK {
			return false
		}
	}
	return true
}

// checks are the conditions of readiness.
func (n *Node) checks() []api.Check {
	joined := api.Check{Name: "joined", OK: n.clusterID() != ""}
	if !joined.OK {
		joined.Detail = "no living node of a cluster found yet"
	}
	_, links := n.host.Status()
	g, ok := n.main()
	leads := api.Check{Name: "leader", OK: ok && g.Leader != 0 && led(g, n.id, links) && (g.Leader != n.id || g.Recovered)}
	switch {
	case leads.OK:
	case ok && g.Leader != 0 && !led(g, n.id, links):
		leads.Detail = fmt.Sprintf("no quorum in reach; the last leader known was %s", n.nameOf(g.Leader))
	case ok && g.Leader == n.id:
		leads.Detail = "this node leads, and has yet to learn what was chosen before"
	default:
		leads.Detail = "no leader known"
	}
	const lag = 10_000
	caught := api.Check{Name: "caught-up", OK: ok && g.Applied+lag >= g.Decided && g.Applied > 0}
	if !caught.OK {
		caught.Detail = fmt.Sprintf("applied %d of %d slots", g.Applied, g.Decided)
	}
	disk := n.diskHealth()
	return []api.Check{joined, leads, caught, n.seat(), {Name: "disk", OK: disk.well, Detail: disk.why}}
}

// urlOf returns where a node's API is, "" if it is not known.
func (n *Node) urlOf(id synod.NodeID) string {
	if id == n.id {
		return n.HTTPURL()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.book[id]; a.HTTP != "" {
		return "http://" + a.HTTP
	}
	return ""
}

// nameOf returns a node's name, or its id if nobody told.
func (n *Node) nameOf(id synod.NodeID) string {
	if id == 0 {
		return ""
	}
	if id == n.id {
		return n.cfg.Name
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return cmp.Or(n.book[id].Name, id.String())
}

// status is what this node knows of itself.
func (n *Node) status() api.Status {
	_, links := n.host.Status()
	st := api.Status{
		ID: n.id.String(), Name: n.cfg.Name, Cluster: n.clusterID(), Version: n.cfg.Version, Zone: n.cfg.Zone,
		HTTP: n.HTTPURL(), UptimeMS: time.Since(n.started).Milliseconds(),
		Groups: []api.GroupStatus{}, Links: []api.Link{},
		Counts: n.steward.Counts(), Disk: n.disk(), Health: n.health(),
	}
	if g, ok := n.main(); ok {
		st.Groups = append(st.Groups, n.groupStatus(g, n.group(paxos.Main).machine, links))
	}
	for _, l := range links {
		st.Links = append(st.Links, api.Link{Node: n.nameOf(l.Peer), Up: l.Up, Gossip: gossipText(l.Gossip), RTTMS: millis(l.RTT)})
	}
	return st
}

func (n *Node) groupStatus(g replica.GroupStatus, m *locks.Machine, links []leader.Link) api.GroupStatus {
	counts := m.Counts()
	out := api.GroupStatus{
		Group: n.groupName(g.Group), Role: role(g, n.id, led(g, n.id, links)), Leader: n.nameOf(g.Leader), LeaderURL: n.urlOf(g.Leader),
		Content: g.Content, Why: g.Why, Leased: g.Leased && n.cfg.LeaseReads, Ballot: g.Promised.String(), Config: uint32(g.Membership.ID), Voters: []string{},
		Decided: uint64(g.Decided), Applied: uint64(g.Applied), First: uint64(g.First), Revision: m.Revision(),
		InFlight: g.InFlight, Sessions: counts.Sessions, Locks: counts.Locks,
	}
	if g.Why != "" {
		out.SinceMS = (now() - g.Since).Milliseconds()
	}
	for _, v := range g.Membership.Voters {
		out.Voters = append(out.Voters, v.Name)
	}
	return out
}

// led reports whether somebody may lead g for all that node self can tell. The
// last leader does not any more if self is not content with it and reaches no
// quorum: nobody it hears could know better.
func led(g replica.GroupStatus, self synod.NodeID, links []leader.Link) bool {
	near := synod.Set(0)
	for _, v := range g.Membership.Voters {
		up := slices.ContainsFunc(links, func(l leader.Link) bool { return l.Peer == v.Node && l.Up })
		if v.Node == self || up {
			near = near.With(g.Membership.Seat(v.Node))
		}
	}
	return g.Content || g.Membership.Quorums().Phase1(near)
}

// role is the part that node id has in g, as far as this node can tell.
func role(g replica.GroupStatus, id synod.NodeID, led bool) string {
	switch {
	case g.Leader == id && led:
		return api.RoleLeader
	case g.Membership.Seat(id) >= 0:
		return api.RoleFollower
	}
	return api.RoleLearner
}

func gossipText(g leader.Gossip) string {
	switch g {
	case leader.GossipAlive:
		return "alive"
	case leader.GossipDead:
		return "dead"
	case leader.GossipLeaving:
		return "leaving"
	}
	return "unknown"
}

func millis(ns int64) float64 { return float64(ns/1000) / 1000 }

// membersView joins what gossip, the links, the configuration of main and the
// directory say. A node without a vote in main is a learner of it.
func (n *Node) membersView() []api.Member {
	_, links := n.host.Status()
	main, here := n.main()
	view, dir, votes := n.gossip.View(), n.dir.View(), n.steward.Votes()
	byID := map[synod.NodeID]*api.Member{}
	member := func(id synod.NodeID) *api.Member {
		m := byID[id]
		if m == nil {
			m = &api.Member{ID: id.String(), Name: n.nameOf(id), HTTP: n.urlOf(id), Gossip: "unknown", Link: "down", Roles: map[string]string{}}
			byID[id] = m
		}
		return m
	}
	for _, p := range view.Nodes {
		if p.Cluster != n.clusterID() {
			continue
		}
		m := member(p.ID)
		m.Gossip, m.Peer, m.Zone, m.Version = p.State.String(), p.PeerAddr, p.Zone, p.Version
	}
	for _, v := range main.Membership.Voters {
		m := member(v.Node)
		m.Roles[api.MainGroup] = role(main, v.Node, led(main, n.id, links))
		m.Name, m.Peer = cmp.Or(v.Name, m.Name), cmp.Or(m.Peer, v.PeerAddr)
	}
	for _, l := range links {
		if m := byID[l.Peer]; m != nil && l.Up {
			m.Link, m.RTTMS = "up", millis(l.RTT)
		}
	}
	self := member(n.id)
	self.Link, self.Gossip, self.Name = "self", "alive", n.cfg.Name
	for id, m := range byID { //lint:ordered each by itself
		_, m.Removed = dir.RemovedNode(id)
		m.Groups = votes[id]
		if here && m.Roles[api.MainGroup] == "" && m.Gossip == fd.Alive.String() && !m.Removed {
			m.Roles[api.MainGroup] = api.RoleLearner
		}
	}
	return sorted(byID)
}

// sorted lists members by name.
func sorted(byID map[synod.NodeID]*api.Member) []api.Member {
	out := make([]api.Member, 0, len(byID))
	for _, m := range byID { //lint:ordered they are sorted below
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b api.Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

// freeBytes is the room on the disk with dir, 0 if unknown.
func freeBytes(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// Addrs returns the addresses the node listens on.
func (n *Node) Addrs() (http, peer, gossip string) {
	return n.httpLn.Addr().String(), n.peerLn.Addr().String(), n.gossip.Addr()
}

// Pause freezes the node as SIGSTOP would: the event loop stands still and
// requests are not answered, until [Node.Resume].
func (n *Node) Pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen != nil {
		return
	}
	frozen := make(chan struct{})
	n.frozen = frozen
	// A barrier's answer is given by the loop itself: to hold it up there is to
	// hold up the node.
	n.host.Freeze(frozen)
}

// Resume undoes [Node.Pause].
func (n *Node) Resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.frozen != nil {
		close(n.frozen)
		n.frozen = nil
	}
}

// Kill ends the node without a word to anybody: nothing is handed over, and
// what was not durable is gone. Run returns soon after.
func (n *Node) Kill() {
	n.Resume()
	n.cfg.Faults.FreeDisk(n.cfg.Name) // the loop could not end
	n.killed.Store(true)
	_ = n.server.Close()
	n.shared.Close()
	_ = n.peerLn.Close()
}
