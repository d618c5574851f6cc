// Package node wires one complete node: storage, transport, gossip, the event
// loop, the lock service and HTTP. `prytany serve` runs one; `prytany dev` and
// the test cluster run several in one process.
//
// # Goroutines
//
// Run starts the event loop, the transport, gossip, the HTTP server and one
// goroutine that watches gossip and admits nodes. The first to end ends all.
package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/fd"
	"github.com/prytany/prytany/httpapi"
	"github.com/prytany/prytany/internal/obs"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/internal/transport"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A Node is one complete member of a cluster.
type Node struct {
	cfg   Config
	store *storage.Store
	id    synod.NodeID
	incar uint64

	peerLn, httpLn net.Listener
	peerAddr       string // advertised
	httpAddr       string // advertised
	transport      *transport.Transport
	gossip         *fd.Detector
	host           *replica.Host
	metrics        *obs.Metrics
	api            *httpapi.Server
	server         *http.Server
	stopRequests   context.CancelFunc // ends long polls before the server shuts down

	cluster atomic.Pointer[string] // cluster id, "" until known
	killed  atomic.Bool
	ran     bool // Run was called: the parts close what they own
	started time.Time

	namesakes []synod.NodeID // told of; watch's alone

	mu       sync.Mutex
	services map[paxos.GroupID]*groupService
	book     map[synod.NodeID]storage.Address // where members were last seen
	frozen   chan struct{}                    // not nil while paused
}

// A groupService is the lock service of one group on this node.
type groupService struct {
	machine *locks.Machine
	service *locks.Service
}

// New opens the data directory and binds all sockets. Errors say what to do.
func New(cfg Config) (_ *Node, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, services: map[paxos.GroupID]*groupService{}, started: time.Now()}
	defer func() {
		if err != nil {
			n.closeAll()
		}
	}()
	if err := n.openStore(); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		return nil, err
	}
	if err := n.openHost(); err != nil {
		return nil, err
	}
	if err := n.openGossip(); err != nil {
		return nil, err
	}
	if err := n.openHTTP(); err != nil {
		return nil, err
	}
	return n, nil
}

// ID returns the node's identity.
func (n *Node) ID() synod.NodeID { return n.id }

// Name returns the operator's name for the node.
func (n *Node) Name() string { return n.cfg.Name }

// HTTPURL returns where the node's API is, as told to others.
func (n *Node) HTTPURL() string { return "http://" + n.httpAddr }

// GossipAddr returns where the node gossips: what others say after --join.
func (n *Node) GossipAddr() string { return n.gossip.Addr() }

// listen binds the peer and HTTP sockets.
func (n *Node) listen() error {
	var err error
	if n.peerLn, err = listenTCP("peer", n.cfg.Peer); err != nil {
		return err
	}
	if n.httpLn, err = listenTCP("HTTP", n.cfg.HTTP); err != nil {
		return err
	}
	n.peerAddr = n.advertised(n.peerLn.Addr())
	n.httpAddr = n.advertised(n.httpLn.Addr())
	return nil
}

func listenTCP(what, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for %s connections on %s: %w; choose another address or stop what uses it", what, addr, err)
	}
	return ln, nil
}

// advertised replaces the host of a by the configured one, and an unspecified
// address by one that others on this machine can reach.
func (n *Node) advertised(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if n.cfg.Advertise != "" {
		host = n.cfg.Advertise
	} else if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// openHost makes the transport, the event loop and the services of all groups
// the node has a part in.
func (n *Node) openHost() error {
	var err error
	n.transport, err = transport.New(transport.Config{
		Self:         n.id,
		Incarnation:  n.incar,
		Cluster:      n.clusterID,
		Listener:     n.peerLn,
		Resolve:      n.resolve,
		Deliver:      func(from synod.NodeID, p replica.Packet) { n.host.Deliver(from, p) },
		Disconnected: func(peer synod.NodeID) { n.host.Disconnected(peer) },
		Allowed:      n.allowed,
		Log:          n.cfg.Log.With("part", "transport"),
	})
	if err != nil {
		return err
	}
	n.metrics = obs.New(n.cfg.Log)
	n.metrics.SetNames(n.nameOf)
	timing := n.cfg.Timing
	timing.Self, timing.Incarnation, timing.Seed = n.id, n.incar, uint64(n.id)^n.incar
	n.host, err = replica.NewHost(replica.Config{
		Self:          n.id,
		Leader:        timing,
		Storage:       timedStore{n.store, n.metrics},
		Transport:     n.transport,
		NewMachine:    func(g paxos.GroupID) replica.Machine { return n.group(g).machine },
		TickEvery:     n.cfg.TickEvery,
		SnapshotSlots: n.cfg.SnapshotSlots,
		Clock:         now,
		Log:           n.cfg.Log,
		Observe:       n.metrics.Observe,
	}, now())
	if err != nil {
		return err
	}
	return n.begin()
}

// group returns the machine and service of g, made at the first call.
func (n *Node) group(g paxos.GroupID) *groupService {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.services[g]
	if s == nil {
		m := locks.NewMachine()
		l := &groupLog{n: n, g: g}
		s = &groupService{machine: m, service: locks.NewService(locks.ServiceConfig{
			Log:     l,
			Machine: m,
			Limits:  n.cfg.Limits,
			Now:     now,
			Age:     l.age,
		})}
		n.services[g] = s
	}
	return s
}

// Run serves until ctx ends, then leaves the cluster politely; or until a part
// fails. A failed write to disk is such a failure: the process must end.
func (n *Node) Run(ctx context.Context) error {
	inner, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	n.ran = true
	defer n.closeAll()
	var parts sync.WaitGroup
	run := func(part func(context.Context) error) {
		parts.Go(func() { stop(part(inner)) }) // the first to end ends all
	}
	run(n.host.Run)
	run(n.transport.Run)
	run(n.gossip.Run)
	run(n.watch)
	run(func(inner context.Context) error {
		if err := n.server.Serve(n.httpLn); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("HTTP server: %w", err)
		}
		<-inner.Done() // closed on purpose, while the others still take leave
		return nil
	})
	select {
	case <-ctx.Done():
		if !n.killed.Load() {
			n.leave()
		}
		stop(nil)
	case <-inner.Done():
	}
	n.stopRequests()
	_ = n.server.Close()
	parts.Wait()
	return quiet(context.Cause(inner))
}

// quiet turns the end of a context into success.
func quiet(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// leave tells the others that this node goes, so that another may lead before
// the sockets close.
func (n *Node) leave() {
	n.host.SetHealth(leader.Health{Disk: true, Loop: true, Draining: true})
	n.gossip.Leaving()
	n.stopRequests()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	n.handOver(ctx)
	_ = n.server.Shutdown(ctx)
	_ = n.gossip.Leave(ctx)
}

// handOver waits until no group is led by this node that others could lead.
func (n *Node) handOver(ctx context.Context) {
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
		others := synod.Set(0)
		for _, l := range links {
			if seat := g.Membership.Seat(l.Peer); seat >= 0 && l.Up {
				others = others.With(seat)
			}
		}
		if g.Leading && g.Membership.Quorums().Phase1(others) {
			return true
		}
	}
	return false
}

// closeAll releases whatever is open. It may be called twice.
func (n *Node) closeAll() {
	if n.stopRequests != nil {
		n.stopRequests()
	}
	for _, ln := range []net.Listener{n.peerLn, n.httpLn} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	if n.gossip != nil && !n.ran {
		_ = n.gossip.Close()
	}
	if n.store != nil {
		_ = n.store.Close()
	}
}
