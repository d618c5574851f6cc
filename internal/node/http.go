package node

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/prytany/prytany/fd"
	"github.com/prytany/prytany/httpapi"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/obs"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// openHTTP puts the API in front of the services.
func (n *Node) openHTTP() error {
	n.metrics.SetBuild(n.cfg.Version)
	n.metrics.WatchGroups(n.groupStates)
	host, _, err := net.SplitHostPort(n.httpLn.Addr().String())
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	n.api = httpapi.New(httpapi.Config{
		Locks: func(group string) (locks.Locks, bool) {
			if group != api.MainGroup {
				return nil, false
			}
			return n.group(paxos.Main).service, true
		},
		Status:    n.status,
		Members:   n.membersView,
		Ready:     n.checks,
		LeaderURL: func(string) string { return n.leaderURL() },
		IsLeader:  func(string) bool { return n.Leads() },
		Metrics:   n.metrics.Handler(),
		Limits:    n.group(paxos.Main).service.Limits(),
		Log:       n.cfg.Log.With("part", "http"),
		Observe:   n.metrics.ObserveHTTP,
		CheckHost: ip != nil && ip.IsLoopback(),
		Hosts:     n.cfg.Hosts,
	})
	n.server, n.stopRequests = n.api.NewHTTPServer()
	n.server.Handler = n.gate(n.server.Handler)
	return nil
}

// gate holds requests back while the node is paused.
func (n *Node) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		frozen := n.frozen
		n.mu.Unlock()
		if frozen != nil {
			select {
			case <-frozen:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// main returns the status of group main on this node; ok is false if it has no
// part in it yet.
func (n *Node) main() (replica.GroupStatus, bool) {
	groups, _ := n.host.Status()
	for _, g := range groups {
		if g.Group == paxos.Main {
			return g, true
		}
	}
	return replica.GroupStatus{}, false
}

// Standing is a node's claim to lead group main.
type Standing struct {
	Leads  bool
	Ballot synod.Ballot
}

// Standing returns whether this node leads group main, and since which ballot.
func (n *Node) Standing() Standing {
	g, ok := n.main()
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
	g, ok := n.main()
	joined := api.Check{Name: "joined", OK: n.clusterID() != ""}
	if !joined.OK {
		joined.Detail = "no living node of a cluster found yet"
	}
	led := api.Check{Name: "leader", OK: ok && g.Leader != 0 && (g.Leader != n.id || g.Recovered)}
	if !led.OK {
		led.Detail = "no leader known"
	}
	const lag = 10_000
	caught := api.Check{Name: "caught-up", OK: ok && g.Applied+lag >= g.Decided && g.Applied > 0}
	if !caught.OK {
		caught.Detail = fmt.Sprintf("applied %d of %d slots", g.Applied, g.Decided)
	}
	return []api.Check{joined, led, caught}
}

func (n *Node) leaderURL() string {
	g, ok := n.main()
	if !ok || g.Leader == 0 {
		return ""
	}
	return n.urlOf(g.Leader)
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
	groups, links := n.host.Status()
	st := api.Status{
		ID: n.id.String(), Name: n.cfg.Name, Cluster: n.clusterID(), Version: n.cfg.Version, Zone: n.cfg.Zone,
		HTTP: n.HTTPURL(), UptimeMS: time.Since(n.started).Milliseconds(),
		Groups: []api.GroupStatus{}, Links: []api.Link{},
		Disk: api.Disk{Healthy: true, FreeBytes: freeBytes(n.store.Dir()), StoreBytes: n.store.Size()},
	}
	for _, g := range groups {
		st.Groups = append(st.Groups, n.groupStatus(g))
	}
	for _, l := range links {
		st.Links = append(st.Links, api.Link{Node: n.nameOf(l.Peer), Up: l.Up, Gossip: gossipText(l.Gossip), RTTMS: millis(l.RTT)})
	}
	return st
}

func (n *Node) groupStatus(g replica.GroupStatus) api.GroupStatus {
	m := n.group(g.Group).machine
	counts := m.Counts()
	out := api.GroupStatus{
		Group: groupName(g.Group), Role: role(g, n.id), Leader: n.nameOf(g.Leader), LeaderURL: n.urlOf(g.Leader),
		Content: g.Content, Ballot: g.Promised.String(), Config: uint32(g.Membership.ID), Voters: []string{},
		Decided: uint64(g.Decided), Applied: uint64(g.Applied), First: uint64(g.First), Revision: m.Revision(),
		InFlight: g.InFlight, Sessions: counts.Sessions, Locks: counts.Locks,
	}
	for _, v := range g.Membership.Voters {
		out.Voters = append(out.Voters, v.Name)
	}
	return out
}

// role is the part that node id has in g, as far as this node can tell.
func role(g replica.GroupStatus, id synod.NodeID) string {
	switch {
	case g.Leader == id:
		return api.RoleLeader
	case g.Membership.Seat(id) >= 0:
		return api.RoleFollower
	}
	return api.RoleLearner
}

func groupName(g paxos.GroupID) string {
	if g == paxos.Main {
		return api.MainGroup
	}
	return fmt.Sprint(uint64(g))
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

// membersView joins what gossip, the links and the configuration say.
func (n *Node) membersView() []api.Member {
	groups, links := n.host.Status()
	view := n.gossip.View()
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
	for _, g := range groups {
		for _, v := range g.Membership.Voters {
			m := member(v.Node)
			m.Roles[groupName(g.Group)] = role(g, v.Node)
			m.Name, m.Peer = cmp.Or(v.Name, m.Name), cmp.Or(m.Peer, v.PeerAddr)
		}
	}
	for _, l := range links {
		if m := byID[l.Peer]; m != nil && l.Up {
			m.Link, m.RTTMS = "up", millis(l.RTT)
		}
	}
	self := member(n.id)
	self.Link, self.Gossip, self.Name = "self", "alive", n.cfg.Name
	return n.sorted(byID, groups)
}

// sorted lists members by name; a node without a vote is a learner.
func (n *Node) sorted(byID map[synod.NodeID]*api.Member, groups []replica.GroupStatus) []api.Member {
	out := make([]api.Member, 0, len(byID))
	for _, m := range byID {
		for _, g := range groups {
			if name := groupName(g.Group); m.Roles[name] == "" && m.Gossip == fd.Alive.String() {
				m.Roles[name] = api.RoleLearner
			}
		}
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b api.Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out
}

// groupStates feeds the metrics.
func (n *Node) groupStates() []obs.GroupState {
	groups, _ := n.host.Status()
	var out []obs.GroupState
	for _, g := range groups {
		m := n.group(g.Group).machine
		c := m.Counts()
		out = append(out, obs.GroupState{
			Group: g.Group, Applied: g.Applied, Revision: m.Revision(), InFlight: g.InFlight,
			Sessions: c.Sessions, Locks: c.Locks, Waiters: c.Waiters, Entries: c.Entries, Bytes: c.Bytes,
		})
	}
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
	n.killed.Store(true)
	_ = n.server.Close()
	_ = n.peerLn.Close()
}
