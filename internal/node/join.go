package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/fd"
	"github.com/prytany/prytany/internal/steward"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// admitEvery is how often the leader looks for nodes to make voters.
const admitEvery = 200 * time.Millisecond

// checkEvery is how often a node looks whether it can go on at all: whether it
// understands what is chosen, and whether its name is another's.
const checkEvery = time.Second

// errHomeless refuses a node that was told neither to begin nor to join.
var errHomeless = errors.New("the data directory is empty: say --bootstrap for the first node of a new cluster, or --join HOST:PORT with the gossip address of a living one")

// errBoth refuses to guess. A node that has lost its disk and is told both must
// not begin a second cluster under the name of the first.
var errBoth = errors.New("the data directory is empty and both --bootstrap and --join are given: say --bootstrap to begin a new cluster, or --join to enter a living one")

// openStore opens the data directory and takes the identity it holds.
func (n *Node) openStore() error {
	st, err := storage.Open(n.cfg.DataDir, storage.Options{Name: n.cfg.Name, Log: n.cfg.Log, LogStore: n.cfg.LogStore})
	if err != nil {
		return err
	}
	n.store = st
	if err := st.Fit(); err != nil {
		return err
	}
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
	if _, ok := n.main(); ok {
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
		// A cluster that waits longer for answers is spread wider. 0 is a default.
		ProbeTimeout: time.Duration(n.cfg.Timing.Silence) / 4,
		Log:          n.cfg.Log.With("part", "gossip"),
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
	seldom := time.NewTicker(checkEvery)
	defer seldom.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-n.gossip.Changed():
			if addr := n.gossip.ForeignSeed(); addr != "" {
				return fmt.Errorf("%w: %s holds a node of cluster %s, and %s is of another; give this node a directory of its own, or the right address to join",
					storage.ErrForeign, n.cfg.DataDir, n.clusterID(), addr)
			}
			n.tellChanges()
			if err := n.takeView(n.gossip.View()); err != nil {
				return err
			}
			n.steward.NoteAll()
		case <-seldom.C:
			n.tellSeat()
			n.seekMain()
			if err := n.unsupported(); err != nil {
				return err
			}
		case <-tick.C:
			n.admit(ctx)
		}
	}
}

// tellChanges tells people what has changed in gossip's view, and why.
func (n *Node) tellChanges() {
	changes, missed := n.gossip.Changes()
	if missed > 0 {
		n.event(kindMissed, "", "they came faster than they were taken", fmt.Sprintf("%d changes of gossip's view are not told", missed))
	}
	for _, c := range changes {
		name := cmp.Or(c.Node.Name, c.Node.ID.String())
		t := tellings[c.Kind]
		n.event(t.kind, name, c.Reason, fmt.Sprintf(t.text, name))
	}
}

// kindMissed is the kind of the event that says that there were more.
const kindMissed = "member-events-missed"

// tellings say how each kind of change is told.
var tellings = map[fd.ChangeKind]struct{ kind, text string }{
	fd.Joined:     {"member-joined", "gossip shows %s for the first time"},
	fd.Back:       {"member-back", "gossip shows %s again"},
	fd.Restarted:  {"member-restarted", "%s has restarted before gossip missed it"},
	fd.Described:  {"member-updated", "%s describes itself anew"},
	fd.Going:      {"member-leaving", "%s is about to go"},
	fd.Left:       {"member-left", "%s has gone on purpose"},
	fd.Lost:       {"member-dead", "gossip takes %s for dead"},
	fd.Forgotten:  {"member-forgotten", "gossip does not look for %s any more"},
	fd.Conflicted: {"member-conflict", "%s is claimed twice"},
}

// unsupported is an error if the log of some group holds a command that only a
// newer version understands. To skip it would be to disagree with the others.
func (n *Node) unsupported() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for g, s := range n.services { //lint:ordered any one error will do
		if err := s.machine.Unsupported(); err != nil {
			return fmt.Errorf("group %d: %w", uint64(g), err)
		}
	}
	return n.dir.Unsupported()
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
	if homeless(n.main()) {
		n.host.Learn(paxos.Main, n.members(v))
	}
	return nil
}

// seekMain asks all that gossip shows alive for what is new in main, while this node
// knows of nobody who leads it: all voters that it has heard of may have been replaced
// while it was away.
func (n *Node) seekMain() {
	if n.clusterID() == "" {
		return
	}
	if main, ok := n.main(); homeless(main, ok) || !main.Content {
		n.host.Learn(paxos.Main, n.members(n.gossip.View()))
	}
}

// homeless reports whether nothing of main has arrived here yet. Whoever was
// asked for it may be gone by now, or may have been nobody: a node that was
// stopped while it joined knows its cluster before gossip shows it any peer.
func homeless(main replica.GroupStatus, ok bool) bool { return !ok || main.Membership.ID == 0 }

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
	return n.addrs.find(n.dir.View(), id)
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
	main := n.dir.View().Group(paxos.Main)
	if main.Replicas > 0 || main.Plan.ID != 0 || len(g.Membership.Voters) >= n.cfg.Voters {
		return // the directory says what is to become of main, or nothing is
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
		if _, gone := n.dir.View().RemovedNode(p.ID); gone || !steward.Ready(g, from) {
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
		n.cfg.Log.Warn("a node joined under the name of a voter and stays a learner: that one lost its disk, or the name is used twice; if the disk is lost, run `prytany member replace` with the name",
			"name", p.Name, "node", p.ID, "voter", m.Node)
	}
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
