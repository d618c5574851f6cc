package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/codec"
)

const (
	// batchBytes is about how much goes into one frame and one write. A frame
	// is delivered when its last byte has come, so more would not be faster.
	batchBytes = 256 << 10
	// maxPacket leaves room in a frame for its version, the packet's length, and
	// a codec.Saved.
	maxPacket = codec.MaxFrame - 32
	// settled is how long a connection must have lived for its loss to be
	// followed by a dial without any wait.
	settled = 100 * time.Millisecond
	// persistence is how many dials in a row may fail before a lost connection
	// is no reason any more to try again; something to send always is.
	persistence = 6
	// A write of n bytes may take writeTime + n/writeRate s. Kernels that know
	// how long the peer has been silent give up earlier.
	writeTime = 5 * time.Second
	writeRate = 64 << 10
)

var errUnresolved = errors.New("transport: address is not known")

// A link is one outgoing connection to a peer, and what waits for it.
type link struct {
	t     *Transport
	peer  *peer
	lane  lane
	queue queue

	told    uint64 // the position that the connection has carried last; of serve
	lookout lookout

	redial atomic.Bool   // dial even if nothing waits: a connection was lost
	up     atomic.Bool   // established
	poke   chan struct{} // has room for one: look again
}

// wake makes run look at redial, or cuts its wait short.
func (l *link) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// run keeps the link until ctx ends.
func (l *link) run(ctx context.Context) {
	var wait time.Duration
	failures := 0
	for ctx.Err() == nil {
		if !l.wanted() {
			select {
			case <-ctx.Done():
			case <-l.queue.ready:
			case <-l.poke:
			}
			continue
		}
		conn, theirs, err := l.connect(ctx)
		if ctx.Err() != nil {
			closeConn(conn)
			return
		}
		if err != nil {
			// A process that is just ending may take a connection that it
			// will never serve: only a refusal answers the question.
			if failures++; failures >= persistence || isRefused(err) {
				l.redial.Store(false)
			}
			l.failed(err)
			wait = l.pause(ctx, wait)
			continue
		}
		failures = 0
		l.redial.Store(false)
		l.peer.established(theirs.life())
		begin := time.Now()
		l.up.Store(true)
		if l.lane == control {
			l.peer.detour.established(addrPort(conn.RemoteAddr()), theirs.cookie)
		}
		err = l.serve(ctx, conn)
		l.up.Store(false)
		if ctx.Err() != nil {
			return
		}
		l.t.cfg.Log.Debug("connection lost", "peer", l.peer.id, "lane", l.lane, "err", err)
		l.peer.broke()
		if l.lane == control {
			l.peer.detour.broke()
		}
		l.redial.Store(true)
		if time.Since(begin) < settled {
			wait = l.pause(ctx, wait)
		} else {
			wait = 0
		}
	}
}

// wanted reports whether there is a reason to dial. While the peer is cut off
// there is none, not even a loss: its cause could be learned only through the
// cut.
func (l *link) wanted() bool {
	if !l.t.cfg.Allowed(l.peer.id) {
		l.queue.clear()
		return false
	}
	return l.redial.Load() || !l.queue.empty()
}

// pause waits after a failure, twice as long as the last time, and returns how
// long it meant to. A peer that dials this node ends the wait, but for its
// shortest length, so that two nodes that fall out with one another at each
// attempt cannot keep each other busy.
func (l *link) pause(ctx context.Context, last time.Duration) time.Duration {
	shortest := l.t.cfg.BackoffMin
	wait := min(max(2*last, shortest), l.t.cfg.BackoffMax)
	timer := time.NewTimer(shortest)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return wait
	case <-timer.C:
	}
	timer.Reset(rand.N(wait - shortest + 1))
	select {
	case <-ctx.Done():
	case <-l.poke:
	case <-timer.C:
	}
	return wait
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// failed drops what waited for the connection: it is old news.
func (l *link) failed(err error) {
	n := l.queue.clear()
	l.t.dropped.Add(uint64(n))
	if isRefused(err) {
		l.peer.refused()
	}
	var refusal *refusalError
	if errors.As(err, &refusal) {
		l.t.warn.warn("out "+l.peer.id.String()+refusal.why, "refused to talk to the node at a peer's address",
			"peer", l.peer.id, "reason", refusal.why, "addr", refusal.addr)
		return
	}
	l.t.cfg.Log.Debug("cannot connect", "peer", l.peer.id, "lane", l.lane, "err", err, "dropped", n)
}

// connect dials the peer and exchanges hellos. It returns the peer's.
func (l *link) connect(ctx context.Context) (net.Conn, hello, error) {
	addr := l.t.cfg.Resolve(l.peer.id)
	if addr == "" {
		return nil, hello{}, errUnresolved
	}
	dialing, cancel := context.WithTimeout(ctx, l.t.cfg.DialTimeout)
	defer cancel()
	conn, err := l.t.cfg.Dial(dialing, addr)
	if err != nil {
		return nil, hello{}, err
	}
	if err := l.t.tune(conn); err != nil {
		closeConn(conn)
		return nil, hello{}, err
	}
	unhook := context.AfterFunc(ctx, func() { closeConn(conn) })
	defer unhook()
	theirs, err := l.greet(conn, addr)
	if err != nil {
		closeConn(conn)
		return nil, hello{}, err
	}
	return conn, theirs, nil
}

// greet says hello first and hears the peer's.
func (l *link) greet(conn net.Conn, addr string) (theirs hello, err error) {
	if err := conn.SetDeadline(time.Now().Add(l.t.cfg.HelloTimeout)); err != nil {
		return hello{}, err
	}
	ours := l.t.hello(l.peer.id, l.lane)
	ours.able = l.t.cfg.Datagrams != nil
	if err := ours.write(conn); err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	theirs, err = readHello(conn)
	if errors.Is(err, errNoHello) {
		return hello{}, &refusalError{"it is no such node at all: its hello makes no sense", addr}
	}
	if err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	if why := theirs.mismatch(ours); why != "" {
		return hello{}, &refusalError{why, addr}
	}
	if why := l.t.judge(theirs); why != "" {
		return hello{}, &refusalError{why, addr}
	}
	if theirs.refused {
		return hello{}, &refusalError{"the other side refused", addr}
	}
	if err := l.t.meet(theirs); err != nil {
		return hello{}, err
	}
	return theirs, conn.SetDeadline(time.Time{})
}

// serve writes what is queued until the connection ends, and says why.
func (l *link) serve(ctx context.Context, conn net.Conn) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unhook := context.AfterFunc(ctx, func() { closeConn(conn) })
	defer unhook()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		// The peer never sends here: whatever Read returns is the end.
		n, err := conn.Read(make([]byte, 1))
		if n > 0 {
			err = errors.New("transport: peer sent on a connection that is not its own")
		}
		cancel(err)
	}()
	l.lookout.turn(conn)
	defer func() {
		l.lookout.turn(nil)
		closeConn(conn)
		cancel(nil)
		<-watched
	}()
	var buf []byte
	l.told = 0
	for {
		var err error
		if buf, err = l.flush(conn, buf); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.queue.ready:
		}
	}
}

// flush writes all that is queued, in as few frames as sensible. It returns
// buf, grown, for the next time.
func (l *link) flush(conn net.Conn, buf []byte) ([]byte, error) {
	const keep = 4 * batchBytes // one large packet must not pin memory
	for {
		h := l.queue.take(batchBytes)
		if len(h.packets) == 0 {
			return buf, nil
		}
		if l.t.registry.rolledBack.Load() {
			l.queue.free(h)
			return buf, errRolledBack
		}
		if l.t.cfg.Allowed(l.peer.id) {
			packets := l.vouched(h.packets)
			buf = codec.AppendRawFrame(buf[:0], packets)
			l.lookout.begins()
			err := write(conn, buf)
			l.lookout.ends()
			if err != nil {
				l.queue.free(h)
				l.t.dropped.Add(uint64(len(h.packets) + l.queue.clear()))
				return buf, err
			}
			l.t.meters[l.lane].sent(len(packets), len(buf))
		}
		if cap(buf) > keep {
			buf = nil
		}
		l.queue.free(h)
	}
}

// vouched puts before packets how far the own log has come, if that is news on
// this connection. It is read after they were taken from the queue, so that it
// covers whatever they say is saved.
func (l *link) vouched(packets [][]byte) [][]byte {
	at := l.t.position()
	if l.lane != control || at <= l.told {
		return packets
	}
	l.told = at
	return append([][]byte{codec.AppendSaved(at)}, packets...)
}

// write writes b, and does not wait for ever.
func write(conn net.Conn, b []byte) error {
	limit := writeTime + time.Duration(len(b)/writeRate)*time.Second
	if err := conn.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := conn.Write(b)
	return err
}

// addrPort is a as a datagram needs it; invalid if it is no IP address.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// closeConn closes conn, which may be nil. What Close could report, the reader
// and the writer have seen or do not care about.
func closeConn(conn net.Conn) {
	if conn != nil {
		_ = conn.Close()
	}
}
