package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/fd"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// admitEvery is how often the leader looks for nodes to make voters.
const admitEvery = 200 * time.Millisecond

// admitLag is how many slots behind the watermark a learner may be when it is
// made a voter.
const admitLag = 1000

// errHomeless refuses a node that was told neither to begin nor to join.
var errHomeless = errors.New("the data directory is empty: say --bootstrap for the first node of a new cluster, or --join HOST:PORT with the gossip address of a living one")

// errBoth refuses to guess. A node that has lost its disk and is told both must
// not begin a second cluster under the name of the first.
var errBoth = errors.New("the data directory is empty and both --bootstrap and --join are given: say --bootstrap to begin a new cluster, or --join to enter a living one")

// openStore opens the data directory and takes the identity it holds.
func (n *Node) openStore() error {
	st, err := storage.Open(n.cfg.DataDir, storage.Options{Name: n.cfg.Name, Log: n.cfg.Log})
	if err != nil {
		return err
	}
	n.store = st
	id := st.Identity()
	n.id, n.incar = id.Node, id.Incarnation
	n.cluster.Store(&id.Cluster)
	if n.book, err = st.Addresses(); err != nil {
		return err
	}
	switch {
	case id.Cluster != "":
	case !n.cfg.Bootstrap && len(n.cfg.Join) == 0:
		return errHomeless
	case n.cfg.Bootstrap && len(n.cfg.Join) > 0:
		return errBoth
	}
	return nil
}

func (n *Node) clusterID() string { return *n.cluster.Load() }

// begin makes the first node of a new cluster, if that was asked for and the
// data directory is empty.
func (n *Node) begin() error {
	if !n.cfg.Bootstrap || n.clusterID() != "" {
		return nil
	}
	// The group comes first: with a cluster id and no group, a crash in
	// between would leave a directory that can neither begin nor join.
	if groups, _ := n.host.Status(); len(groups) > 0 {
		return n.setCluster(strings.ToLower(rand.Text()))
	}
	err := n.host.Bootstrap(paxos.Main, paxos.Membership{
		ID:     1,
		Leader: 1,
		Voters: []paxos.Member{{Node: n.id, Ordinal: 1, Name: n.cfg.Name, PeerAddr: n.peerAddr}},
		Next:   2,
	})
	if err != nil {
		return err
	}
	return n.setCluster(strings.ToLower(rand.Text()))
}

func (n *Node) setCluster(id string) error {
	if err := n.store.SetCluster(id); err != nil {
		return err
	}
	n.cluster.Store(&id)
	n.cfg.Log.Info("this node belongs to a cluster now", "cluster", id)
	return nil
}

// openGossip binds the gossip sockets.
func (n *Node) openGossip() error {
	var known []string
	for _, a := range n.book {
		if a.Gossip != "" {
			known = append(known, a.Gossip)
		}
	}
	cfg := fd.Config{
		Self: fd.Node{
			ID: n.id, Name: n.cfg.Name, HTTPAddr: n.httpAddr, PeerAddr: n.peerAddr, Zone: n.cfg.Zone,
			Version: n.cfg.Version, Cluster: n.clusterID(), Incarnation: n.incar,
		},
		Bind:      n.cfg.Gossip,
		Advertise: n.cfg.Advertise,
		Join:      n.cfg.Join,
		Known:     known,
		Log:       n.cfg.Log.With("part", "gossip"),
	}
	if n.cfg.Faults != nil {
		cfg.Allowed = func(addr string) bool { return n.cfg.Faults.gossipAllowed(n.cfg.Name, addr) }
	}
	d, err := fd.New(cfg)
	if err != nil {
		return err
	}
	n.gossip = d
	n.cfg.Faults.register(d.Addr(), n.cfg.Name)
	return nil
}

// watch hands gossip's view to the event loop, keeps the address book, joins
// the cluster it finds, and admits others while it leads.
func (n *Node) watch(ctx context.Context) error {
	tick := time.NewTicker(admitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.gossip.Changed():
			if addr := n.gossip.ForeignSeed(); addr != "" {
				return fmt.Errorf("%w: %s holds a node of cluster %s, and %s is of another; give this node a directory of its own, or the right address to join",
					storage.ErrForeign, n.cfg.DataDir, n.clusterID(), addr)
			}
			if err := n.takeView(n.gossip.View()); err != nil {
				return err
			}
		case <-tick.C:
			if err := n.unsupported(); err != nil {
				return err
			}
			n.admit(ctx)
		}
	}
}

// unsupported is an error if the log of some group holds a command that only a
// newer version understands. To skip it would be to disagree with the others.
func (n *Node) unsupported() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for g, s := range n.services { //lint:ordered any one error will do
		if err := s.machine.Unsupported(); err != nil {
			return fmt.Errorf("group %s: %w", groupName(g), err)
		}
	}
	return nil
}

// takeView makes use of what gossip says now.
func (n *Node) takeView(v fd.View) error {
	for _, p := range v.Nodes {
		if p.ID == n.id {
			continue
		}
		n.host.Gossip(p.ID, gossipState(p.State))
		if p.Cluster == "" || p.State != fd.Alive {
			continue
		}
		if n.clusterID() == "" {
			if err := n.setCluster(p.Cluster); err != nil {
				return err
			}
			if err := n.gossip.SetMeta(func(m *fd.Node) { m.Cluster = p.Cluster }); err != nil {
				return err
			}
		}
		if err := n.note(p); err != nil {
			return err
		}
	}
	if n.clusterID() == "" {
		return nil
	}
	if groups, _ := n.host.Status(); homeless(groups) {
		n.host.Learn(paxos.Main, n.members(v))
	}
	return nil
}

// homeless reports whether nothing of main has arrived here yet. Whoever was
// asked for it may be gone by now, or may have been nobody: a node that was
// stopped while it joined knows its cluster before gossip shows it any peer.
func homeless(groups []replica.GroupStatus) bool {
	i := slices.IndexFunc(groups, func(g replica.GroupStatus) bool { return g.Group == paxos.Main })
	return i < 0 || groups[i].Membership.ID == 0
}

// members lists the nodes of this cluster that gossip shows alive.
func (n *Node) members(v fd.View) (ids []synod.NodeID) {
	for _, p := range v.Nodes {
		if p.ID != n.id && p.State == fd.Alive && p.Cluster == n.clusterID() {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// note keeps where p can be found, for the time when gossip is silent.
func (n *Node) note(p fd.Node) error {
	a := storage.Address{Name: p.Name, Peer: p.PeerAddr, HTTP: p.HTTPAddr, Gossip: p.GossipAddr}
	n.mu.Lock()
	if n.book == nil {
		n.book = map[synod.NodeID]storage.Address{}
	}
	known := n.book[p.ID] == a
	n.book[p.ID] = a
	n.mu.Unlock()
	if known {
		return nil
	}
	n.cfg.Faults.register(p.GossipAddr, p.Name)
	// Not under the lock, which the event loop takes too: this waits for the disk.
	return n.store.SaveAddress(p.ID, a)
}

func gossipState(s fd.State) leader.Gossip {
	switch s {
	case fd.Alive:
		return leader.GossipAlive
	case fd.Leaving:
		return leader.GossipLeaving
	case fd.Dead:
		return leader.GossipDead
	}
	return leader.GossipUnknown
}

// resolve returns the peer address of a node, "" if it is not known.
func (n *Node) resolve(id synod.NodeID) string {
	n.mu.Lock()
	a, ok := n.book[id]
	n.mu.Unlock()
	if ok {
		return a.Peer
	}
	groups, _ := n.host.Status()
	for _, g := range groups {
		if i := g.Membership.Seat(id); i >= 0 {
			return g.Membership.Voters[i].PeerAddr
		}
	}
	return ""
}

// allowed asks the injected faults whether a peer can be reached.
func (n *Node) allowed(id synod.NodeID) bool {
	if n.cfg.Faults == nil {
		return true
	}
	n.mu.Lock()
	name := n.book[id].Name
	n.mu.Unlock()
	return n.cfg.Faults.allowed(n.cfg.Name, name)
}

// admit makes a learner that has caught up a voter of main, if this node leads
// it and more voters are wanted. One at a time: the next one waits until this
// change is chosen.
func (n *Node) admit(ctx context.Context) {
	g, ok := n.main()
	if !ok || !g.Leading || !g.Recovered {
		return
	}
	n.tellNamesakes(g)
	if len(g.Membership.Voters) >= n.cfg.Voters {
		return
	}
	if p, ok := n.candidate(g); ok {
		n.admitOne(ctx, p)
	}
}

// candidate returns the first node that may become a voter.
func (n *Node) candidate(g replica.GroupStatus) (fd.Node, bool) {
	for _, p := range n.gossip.View().Nodes {
		from, learns := g.Learners[p.ID]
		if !learns || p.State != fd.Alive || p.Cluster != n.clusterID() || g.Membership.Seat(p.ID) >= 0 {
			continue
		}
		if !ready(g, from) {
			continue
		}
		if _, taken := namesake(g, p); taken {
			continue
		}
		return p, true
	}
	return fd.Node{}, false
}

// namesake returns the voter, another node, whose name p has.
func namesake(g replica.GroupStatus, p fd.Node) (paxos.Member, bool) {
	for _, m := range g.Membership.Voters {
		if m.Name == p.Name && m.Node != p.ID {
			return m, true
		}
	}
	return paxos.Member{}, false
}

// tellNamesakes says once of each node that it will never be made a voter.
func (n *Node) tellNamesakes(g replica.GroupStatus) {
	for _, p := range n.gossip.View().Nodes {
		m, taken := namesake(g, p)
		if !taken || p.State != fd.Alive || p.Cluster != n.clusterID() || slices.Contains(n.namesakes, p.ID) {
			continue
		}
		n.namesakes = append(n.namesakes, p.ID)
		n.cfg.Log.Warn("a node joined under the name of a voter and stays a learner: that one lost its disk, or the name is used twice",
			"name", p.Name, "node", p.ID, "voter", m.Node)
	}
}

// ready reports whether a learner that asks for what comes from slot from on
// may become a voter. It must have received the present configuration, which
// shows that what is sent to it arrives: to count on a node that can only
// speak, or whose address is wrong, could end the second quorum of two for good.
func ready(g replica.GroupStatus, from paxos.Slot) bool {
	return from > max(g.Membership.Start, 1) && from+admitLag >= g.Decided
}

func (n *Node) admitOne(ctx context.Context, p fd.Node) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := n.host.Reconfigure(ctx, paxos.Main, func(m paxos.Membership) (paxos.Membership, error) {
		if m.Seat(p.ID) >= 0 || len(m.Voters) >= n.cfg.Voters {
			return m, fmt.Errorf("node %v need not be admitted any more", p.ID)
		}
		return m.With(paxos.Member{Node: p.ID, Name: p.Name, PeerAddr: p.PeerAddr}, m.Ordinal(n.id)), nil
	})
	if err != nil {
		n.cfg.Log.Debug("admission put off", "name", p.Name, "node", p.ID, "why", err)
		return
	}
	n.cfg.Log.Info("a node is a voter now", "name", p.Name, "node", p.ID)
}
