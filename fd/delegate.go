package fd

import (
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// A delegate is what memberlist calls. None of its methods may block or call
// memberlist: they run under its locks or in its packet path.
type delegate struct{ d *Detector }

// describe returns the node that memberlist tells of. Its State of the same
// name is never kept up to date by memberlist, and is not looked at.
func describe(m *memberlist.Node) (Node, error) {
	id, err := parseID(m.Name)
	if err != nil {
		return Node{}, err
	}
	n, err := decodeMeta(m.Meta)
	if err != nil {
		return Node{}, err
	}
	n.ID, n.GossipAddr = id, m.Address()
	return n, nil
}

// NodeMeta is this node's description.
func (g delegate) NodeMeta(int) []byte {
	g.d.mu.Lock()
	defer g.d.mu.Unlock()
	meta, err := encodeMeta(g.d.self)
	if err != nil {
		panic(err) // New and SetMeta have encoded it before
	}
	return meta
}

// NotifyMsg, GetBroadcasts, LocalState and MergeRemoteState are not used: all
// we gossip is the description.
func (g delegate) NotifyMsg([]byte)                {}
func (g delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (g delegate) LocalState(bool) []byte          { return nil }
func (g delegate) MergeRemoteState([]byte, bool)   {}

// NotifyAlive refuses what we cannot understand and nodes of other clusters.
func (g delegate) NotifyAlive(m *memberlist.Node) error {
	_, err := g.refuse(m)
	return err
}

// refuse is an error if m cannot be understood; foreign is its cluster, if that
// is the reason.
func (g delegate) refuse(m *memberlist.Node) (foreign string, err error) {
	n, err := describe(m)
	if err != nil {
		return "", err
	}
	g.d.mu.Lock()
	defer g.d.mu.Unlock()
	if own := g.d.self.Cluster; own != "" && n.Cluster != "" && own != n.Cluster {
		return n.Cluster, fmt.Errorf("fd: node %q "+foreignText+" %s, this one to %s", n.Name, n.Cluster, own)
	}
	return "", nil
}

// NotifyMerge refuses to join with a cluster that has a node we would refuse.
func (g delegate) NotifyMerge(peers []*memberlist.Node) error {
	for _, p := range peers {
		foreign, err := g.refuse(p)
		if foreign != "" {
			g.d.stranger(p.Address(), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// NotifyConflict notes that one identity lives at two addresses.
func (g delegate) NotifyConflict(existing, other *memberlist.Node) {
	id, err := parseID(existing.Name)
	if err != nil {
		return
	}
	g.d.mu.Lock()
	news := g.d.table.clash(id, other.Address(), time.Now())
	g.d.mu.Unlock()
	if news {
		g.d.cfg.Log.Warn("two processes have the identity of one node; stop the copy",
			"node", id, "addr", existing.Address(), "other", other.Address())
		g.d.signal()
	}
}

// NotifyJoin and NotifyUpdate note a node that lives.
func (g delegate) NotifyJoin(m *memberlist.Node)   { g.alive(m) }
func (g delegate) NotifyUpdate(m *memberlist.Node) { g.alive(m) }

func (g delegate) alive(m *memberlist.Node) {
	n, err := describe(m)
	if err != nil {
		return // NotifyAlive has refused it; memberlist would not tell of it
	}
	g.d.mu.Lock()
	g.d.table.put(n, time.Now())
	g.d.mu.Unlock()
	g.d.signal()
}

// NotifyLeave notes a node that is gone, whatever the reason.
func (g delegate) NotifyLeave(m *memberlist.Node) {
	id, err := parseID(m.Name)
	if err != nil {
		return
	}
	g.d.mu.Lock()
	g.d.table.dead(id, time.Now())
	g.d.mu.Unlock()
	g.d.plane.forget(id)
	g.d.signal()
}

// AckPayload tells who pings us where we lie.
func (g delegate) AckPayload() []byte { return g.d.plane.payload() }

// NotifyPingComplete takes in a measured round trip.
func (g delegate) NotifyPingComplete(m *memberlist.Node, rtt time.Duration, payload []byte) {
	id, err := parseID(m.Name)
	if err == nil {
		err = g.d.plane.observe(id, rtt, payload)
	}
	if err != nil {
		g.d.cfg.Log.Debug("gossip: coordinate refused", "node", m.Name, "err", err)
	}
}
