// Package transport carries packets between nodes over TCP.
//
// Each node dials its own connections to a peer and only sends on them; what
// the peer sends arrives on connections that the peer has dialled. There are
// two of them for each direction: snapshots and other bulk travel on one of
// their own, so that heartbeats never wait behind them. A connection begins
// with a hello in each direction, which refuses strangers: another protocol,
// another cluster, another node at the address of an old one, or a process that
// runs on an old copy of its node's disk: see roster.go. After it come frames,
// as package codec defines them.
//
// # Datagrams
//
// While a control connection delivers nothing of what it was given, or is being
// dialled again after a loss, small packets to that peer also travel as UDP
// datagrams: see detour. A node may send them to a process that has told it a
// cookie in a hello. A connection that works has none beside it.
//
// # Losses
//
// Packets may be lost: when a queue is full, when there is no connection, when
// one breaks. They are never damaged, and those of one connection stay in
// order; those in datagrams may overtake them or arrive a second time.
// Connections send nothing again.
//
// # Crashes
//
// A process that ends leaves its connections to the kernel, which closes them.
// So a lost connection is followed by an attempt to dial at once, and a
// refusal of that attempt is the news that the peer's process is gone.
//
// # Goroutines
//
// Run owns them all and returns when the last has ended: the accept loop, a
// reader for each incoming connection and one for datagrams, for each
// connection to a peer a writer, with a watcher while it is established that
// notices its end, and a writer of datagrams for each peer; and one that writes down how far others have come.
package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// Config says who this node is and whom it serves. Fields without a stated
// default are required. Functions are called from many goroutines at once.
type Config struct {
	Self        synod.NodeID
	Incarnation uint64 // of this process; told to peers
	// Nonce tells this process from others with its incarnation. 0 draws one.
	Nonce uint64
	// Past is what this node's disk knows of the incarnations before.
	Past []roster.Life
	// Seen is what this node remembers of others, from Remember.
	Seen map[synod.NodeID]roster.Sighting
	// Remember makes what was seen of some nodes durable. Nothing that a new
	// incarnation of a peer sends is delivered before it returns; an error ends
	// the connection. nil remembers in memory only.
	Remember func(map[synod.NodeID]roster.Sighting) error
	// Position is how many writes to this node's log are durable. nil: unknown.
	Position func() uint64
	// RolledBack is told, once, that this process must not vote: by remembers
	// of this node what its own disk contradicts. From then on nothing is sent
	// and nothing delivered. It must not block. nil: only the log says so.
	RolledBack func(by synod.NodeID, err *roster.RolledBackError)
	// Cluster names the cluster this node belongs to, "" while it belongs to
	// none. Nodes that name two different clusters do not talk. At most 255
	// bytes.
	Cluster func() string
	// Listener accepts the peers' connections. Run closes it.
	Listener net.Listener
	// Datagrams is a socket at the address and port of Listener; nil sends no
	// datagrams and takes none. Run closes it.
	Datagrams *net.UDPConn
	// Resolve returns a peer's present address, "" if it is not known. Called
	// before each dial.
	Resolve func(synod.NodeID) string
	// Deliver takes a packet that a peer has sent. While it blocks, nothing
	// more is read from that connection.
	Deliver func(from synod.NodeID, p replica.Packet)
	// Disconnected is told once of each peer whose process is gone: an
	// established connection broke and the next one was refused.
	Disconnected func(synod.NodeID)
	// Allowed breaks links on purpose: while it is false of a peer, every frame
	// to and from it is lost, but connections stay. nil allows all.
	Allowed func(synod.NodeID) bool
	// Dial connects to addr; a refusal must be a syscall.ECONNREFUSED. nil is
	// a net.Dialer.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	Log  *slog.Logger // nil logs nothing

	DialTimeout  time.Duration // 0 means 1 s
	HelloTimeout time.Duration // for the hello of either side; 0 means 2 s
	UserTimeout  time.Duration // how long sent bytes may stay unacknowledged, where the kernel can tell; 0 means 2 s
	BackoffMin   time.Duration // shortest wait after a failed dial; 0 means 20 ms
	BackoffMax   time.Duration // longest; 0 means 1 s
	// RememberEvery is how often Remember is told how far the logs of others
	// have come, if they have. 0 means 1 min.
	RememberEvery time.Duration

	// QueueBytes and QueuePackets bound what waits for each connection;
	// packets beyond them are dropped. 0 means 64 MiB and 65,536.
	QueueBytes, QueuePackets int
	// BulkBytes is the size from which a paxos.Learned counts as bulk. 0 means
	// 64 KiB.
	BulkBytes int
	// MaxInbound bounds the connections accepted at a time. 0 means 1,024.
	MaxInbound int
}

// A Transport connects this node to its peers. It implements
// [replica.Transport]. Safe for concurrent use.
type Transport struct {
	cfg     Config
	dropped atomic.Uint64
	warn    limiter

	datagrams struct {
		sent, received, refused atomic.Uint64
		meter                   meter
	}
	meters   [lanes]meter
	registry registry

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before it
	stopped bool
	work    sync.WaitGroup // grows under mu while not stopped, or from within
	peers   map[synod.NodeID]*peer
	inbound map[arrival]*incoming
	passes  map[synod.NodeID]*pass
	accepts int // incoming connections, those in their hello included
}

// New returns a transport that does nothing before Run but queue.
func New(cfg Config) (*Transport, error) {
	if cfg.Self == 0 || cfg.Cluster == nil || cfg.Listener == nil || cfg.Resolve == nil || cfg.Deliver == nil || cfg.Disconnected == nil {
		return nil, errors.New("transport: Self, Cluster, Listener, Resolve, Deliver and Disconnected are required")
	}
	if cfg.Allowed == nil {
		cfg.Allowed = func(synod.NodeID) bool { return true }
	}
	if cfg.Dial == nil {
		dialer := &net.Dialer{KeepAlive: -1} // heartbeats keep it alive
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.DialTimeout = cmp.Or(cfg.DialTimeout, time.Second)
	cfg.Nonce = cmp.Or(cfg.Nonce, cookie())
	cfg.RememberEvery = cmp.Or(cfg.RememberEvery, time.Minute)
	cfg.HelloTimeout = cmp.Or(cfg.HelloTimeout, 2*time.Second)
	cfg.UserTimeout = cmp.Or(cfg.UserTimeout, 2*time.Second)
	cfg.BackoffMin = cmp.Or(cfg.BackoffMin, 20*time.Millisecond)
	cfg.BackoffMax = cmp.Or(cfg.BackoffMax, time.Second)
	cfg.QueueBytes = cmp.Or(cfg.QueueBytes, 64<<20)
	cfg.QueuePackets = cmp.Or(cfg.QueuePackets, 1<<16)
	cfg.BulkBytes = cmp.Or(cfg.BulkBytes, 64<<10)
	cfg.MaxInbound = cmp.Or(cfg.MaxInbound, 1024)
	if min(cfg.DialTimeout, cfg.HelloTimeout, cfg.UserTimeout, cfg.BackoffMin, cfg.RememberEvery) < 0 || cfg.BackoffMax < cfg.BackoffMin ||
		min(cfg.QueueBytes, cfg.QueuePackets, cfg.BulkBytes, cfg.MaxInbound) < 0 {
		return nil, errors.New("transport: a bound is negative, or BackoffMax below BackoffMin")
	}
	t := &Transport{
		cfg:     cfg,
		warn:    limiter{log: cfg.Log},
		peers:   make(map[synod.NodeID]*peer),
		inbound: make(map[arrival]*incoming),
		passes:  make(map[synod.NodeID]*pass),
	}
	t.registry.roster, t.registry.dirty = roster.New(cfg.Seen), make(map[synod.NodeID]bool)
	return t, nil
}

// Run carries packets until ctx ends or the listener fails. It closes the
// listener and all connections, and leaves no goroutine. It may be called once.
func (t *Transport) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t.mu.Lock()
	if t.ctx != nil {
		t.mu.Unlock()
		return errors.New("transport: Run was called before")
	}
	t.ctx = ctx
	for _, p := range t.peers {
		t.start(p)
	}
	t.work.Go(func() {
		<-ctx.Done()
		_ = t.cfg.Listener.Close() // ends accept
		if t.cfg.Datagrams != nil {
			_ = t.cfg.Datagrams.Close() // ends hearDatagrams
		}
	})
	if t.cfg.Datagrams != nil {
		t.work.Go(func() { t.hearDatagrams(ctx) })
	}
	if t.cfg.Remember != nil {
		t.work.Go(func() { t.keep(ctx) })
	}
	t.mu.Unlock()

	err := t.accept(ctx)
	cancel()
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.work.Wait()
	return err
}

// Send queues p for to, or drops it. It never blocks and keeps no memory of p.
func (t *Transport) Send(to synod.NodeID, p replica.Packet) {
	if !t.cfg.Allowed(to) || t.registry.rolledBack.Load() {
		return
	}
	encoded := codec.AppendPacket(make([]byte, 0, codec.Room(p)), p)
	if len(encoded) > maxPacket {
		t.dropped.Add(1)
		t.warn.warn(fmt.Sprintf("size %T", p.Msg), "packet is larger than a frame may be, dropped",
			"peer", to, "message", fmt.Sprintf("%T", p.Msg), "bytes", len(encoded))
		return
	}
	peer := t.peerFor(to)
	_, urgent := p.Msg.(leader.Message)
	if peer == nil {
		t.dropped.Add(1)
		return
	}
	lane := t.lane(p, len(encoded))
	if lane == control && peer.relieved(p, encoded, urgent) {
		return
	}
	if !peer.links[lane].queue.push(encoded, urgent) {
		t.dropped.Add(1)
	}
}

// Dropped counts the packets that Send took and that no connection carried:
// the queue was full or the peer could not be reached. Packets that
// Config.Allowed held back do not count.
func (t *Transport) Dropped() uint64 { return t.dropped.Load() }

// A DatagramCount says how many datagrams were sent, and were taken and refused
// of those that came.
type DatagramCount struct{ Sent, Received, Refused uint64 }

// Datagrams counts datagrams since the start. Those that Config.Allowed held
// back do not count.
func (t *Transport) Datagrams() DatagramCount {
	return DatagramCount{t.datagrams.sent.Load(), t.datagrams.received.Load(), t.datagrams.refused.Load()}
}

// Connected reports whether a connection to peer is established on which
// packets other than bulk travel.
func (t *Transport) Connected(peer synod.NodeID) bool {
	t.mu.Lock()
	p := t.peers[peer]
	t.mu.Unlock()
	return p != nil && p.links[control].up.Load()
}

// lane is the connection on which p, size bytes long, travels.
func (t *Transport) lane(p replica.Packet, size int) lane {
	switch p.Msg.(type) {
	case paxos.SnapshotChunk:
		return bulk
	case paxos.Learned:
		if size > t.cfg.BulkBytes {
			return bulk
		}
	}
	return control
}

// peerFor returns the peer to, made at the first call; nil after the end.
func (t *Transport) peerFor(to synod.NodeID) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[to]
	if p == nil && !t.stopped {
		p = newPeer(t, to)
		for l := range lanes {
			if in := t.inbound[arrival{to, l}]; in != nil {
				p.alive, p.is = true, in.hello.life()
			}
		}
		t.peers[to] = p
		if t.ctx != nil {
			t.start(p)
		}
	}
	return p
}

// start begins the work for p. Called with mu held, after Run has begun.
func (t *Transport) start(p *peer) {
	for _, l := range p.links {
		t.work.Go(func() { l.run(t.ctx) })
	}
	if t.cfg.Datagrams != nil {
		t.work.Go(func() { p.detour.run(t.ctx) })
	}
}

// known returns the peer id if anything was ever sent to it, else nil.
func (t *Transport) known(id synod.NodeID) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.peers[id]
}
