// Package node wires one complete node: storage, transport, gossip, the event
// loop, the lock service and HTTP. `prytany serve` runs one; `prytany dev` and
// the test cluster run several in one process.
//
// # Goroutines
//
// Run starts the event loop, the transport, gossip, the HTTP server, one
// goroutine that watches gossip and admits nodes, one that looks after the groups
// (see package steward), and one that watches over the node's own health; it has one
// more for a probe of the disk while that is under way. The first to end ends all.
package node

import (
	"cmp"
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
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/internal/journal"
	"github.com/prytany/prytany/internal/multiplex"
	"github.com/prytany/prytany/internal/obs"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/internal/steward"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/internal/transport"
	"github.com/prytany/prytany/leader"
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
	peerUDP        *net.UDPConn // nil if its port could not be had
	peerAddr       string       // advertised
	httpAddr       string       // advertised
	transport      *transport.Transport
	gossip         *fd.Detector
	host           *replica.Host
	dir            *directory.Machine // of group main; set before the host is made
	steward        *steward.Steward
	metrics        *obs.Metrics
	vitals         *vitals
	journal        *journal.Journal
	api            *httpapi.Server
	server         *http.Server
	shared         *multiplex.Server  // the connections that requests share
	stopRequests   context.CancelFunc // ends long polls before the server shuts down

	cluster    atomic.Pointer[string] // cluster id, "" until known
	killed     atomic.Bool
	rolledBack chan rollBack // room for one
	ran        bool          // Run was called: the parts close what they own
	started    time.Time

	// event tells people what this node saw or did. It does not block.
	event     func(kind, peer, reason, text string)
	unfit     atomic.Pointer[string] // why this node should not lead, nil if it may
	namesakes []synod.NodeID         // told of; watch's alone
	seatTold  bool                   // that another voter has this node's name; watch's alone

	mu       sync.Mutex
	services map[paxos.GroupID]*groupService
	book     map[synod.NodeID]storage.Address // where members were last seen
	frozen   chan struct{}                    // not nil while paused

	addrs addresses
}

// New opens the data directory and binds all sockets. Errors say what to do.
func New(cfg Config) (_ *Node, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, services: map[paxos.GroupID]*groupService{}, started: time.Now(), rolledBack: make(chan rollBack, 1)}
	n.event = n.tell
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
	n.openSteward()
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
	if n.peerUDP, err = listenUDP(n.peerLn.Addr()); err != nil {
		n.cfg.Log.Warn("cannot listen for datagrams of peers, will use connections only", "addr", n.peerLn.Addr(), "err", err)
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

// listenUDP binds the address and port of a TCP listener.
func listenUDP(at net.Addr) (*net.UDPConn, error) {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("%v is no TCP address", at)
	}
	return net.ListenUDP("udp", net.UDPAddrFromAddrPort(tcp.AddrPort()))
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
	seen, err := n.store.Sightings()
	if err != nil {
		return err
	}
	self := n.store.Self()
	n.transport, err = transport.New(transport.Config{
		Self:        n.id,
		Incarnation: n.incar,
		Nonce:       self.Nonce,
		Past:        self.Past,
		Seen:        seen,
		Remember:    n.store.SaveSightings,
		Position:    n.store.Position,
		RolledBack: func(by synod.NodeID, err *roster.RolledBackError) {
			select {
			case n.rolledBack <- rollBack{by, err.Reason}:
			default: // once is enough
			}
		},
		Cluster:      n.clusterID,
		Listener:     n.peerLn,
		Datagrams:    n.peerUDP,
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
	n.group(paxos.Main) // with the directory
	n.metrics.SetNames(n.nameOf, func(g paxos.GroupID) string {
		if known := n.dir.View().Group(g); known != nil {
			return known.Name
		}
		return ""
	})
	n.journal = journal.New(journal.Config{Node: n.cfg.Name, Incarnation: n.incar, Names: n.nameOf, Groups: func(g uint64) string { return n.groupName(paxos.GroupID(g)) }})
	n.vitals = newVitals(func(h leader.Health) { n.host.SetHealth(h) }, n.event)
	timing := n.cfg.Timing.WithDefaults()
	timing.Self, timing.Incarnation, timing.Seed = n.id, n.incar, uint64(n.id)^n.incar
	timing.Mute = mute(n.store.Identity(), timing.Lease)
	if err := n.store.RaiseLease(timing.Lease); err != nil {
		return err
	}
	n.host, err = replica.NewHost(replica.Config{
		Self:          n.id,
		Leader:        timing,
		Storage:       timedStore{n.store, n.metrics, n.vitals, func() { n.cfg.Faults.awaitDisk(n.cfg.Name) }},
		Transport:     n.transport,
		NewMachine:    func(g paxos.GroupID) replica.Machine { return n.group(g).replicated },
		Forget:        n.forget,
		TickEvery:     n.cfg.TickEvery,
		SnapshotSlots: n.cfg.SnapshotSlots,
		LeaseReads:    n.cfg.LeaseReads,
		Clock:         now,
		Log:           n.cfg.Log,
		Observe:       n.observe,
	}, now())
	if err != nil {
		return err
	}
	return n.begin()
}

// mute returns for how many ns after its start the acceptor of a node must help
// nobody: until any lease has ended that an earlier process may have given, on
// whatever clock. A directory of an earlier version does not say how long leases
// were, which is as long as they are now, for all it knows.
func mute(id storage.Identity, lease int64) int64 {
	if id.Incarnation <= 1 {
		return 0
	}
	longest := cmp.Or(id.Lease, lease)
	return longest + (longest+99)/100
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
	run(n.watchHealth)
	run(n.look)
	run(n.awaitRollBack)
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
	n.shared.Close()
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
	if n.peerUDP != nil {
		_ = n.peerUDP.Close()
	}
	if n.gossip != nil && !n.ran {
		_ = n.gossip.Close()
	}
	if n.store != nil {
		_ = n.store.Close()
	}
}
