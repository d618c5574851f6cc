package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// An arrival names an incoming connection: a peer has at most one for each
// lane. If it dials again, the one before is of no use to it any more.
type arrival struct {
	from synod.NodeID
	lane lane
}

// An incoming is an established incoming connection.
type incoming struct {
	conn   net.Conn
	hello  hello       // of the other side
	closed atomic.Bool // by this node
}

func (in *incoming) close() {
	in.closed.Store(true)
	closeConn(in.conn)
}

// accept serves incoming connections until ctx ends or the listener fails.
func (t *Transport) accept(ctx context.Context) error {
	wait := t.cfg.BackoffMin
	for {
		conn, err := t.cfg.Listener.Accept()
		if ctx.Err() != nil {
			closeConn(conn)
			return context.Cause(ctx)
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("transport: accept: %w", err)
		}
		if err != nil { // out of descriptors, most likely: some will be free again
			t.warn.warn("accept", "cannot accept a connection", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, t.cfg.BackoffMax)
			continue
		}
		wait = t.cfg.BackoffMin
		if !t.admit() {
			t.warn.warn("inbound", "too many incoming connections, refused one", "limit", t.cfg.MaxInbound, "addr", conn.RemoteAddr())
			closeConn(conn)
			continue
		}
		t.work.Go(func() {
			defer t.dismiss()
			defer closeConn(conn)
			unhook := context.AfterFunc(ctx, func() { closeConn(conn) })
			defer unhook()
			t.receive(ctx, conn)
		})
	}
}

// admit counts one more incoming connection, if there may be one.
func (t *Transport) admit() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.accepts >= t.cfg.MaxInbound {
		return false
	}
	t.accepts++
	return true
}

func (t *Transport) dismiss() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepts--
}

// receive serves one incoming connection until it ends.
func (t *Transport) receive(ctx context.Context, conn net.Conn) {
	h, err := t.welcome(conn)
	if err != nil {
		t.unwelcome(conn, err)
		return
	}
	from := arrival{h.node, h.lane}
	in := &incoming{conn: conn, hello: h}
	t.mu.Lock()
	before, peer := t.inbound[from], t.peers[from.from]
	t.inbound[from] = in
	t.mu.Unlock()
	if before != nil {
		before.close()
	}
	if peer != nil {
		peer.arrived(h.life())
	}
	t.cfg.Log.Debug("connection accepted", "peer", from.from, "lane", from.lane, "incarnation", h.incarnation)

	err = t.read(in)
	t.mu.Lock()
	if t.inbound[from] == in {
		delete(t.inbound, from)
	}
	t.mu.Unlock()
	if ctx.Err() != nil || in.closed.Load() || errors.Is(err, errRolledBack) {
		return
	}
	var rolled *roster.RolledBackError
	if errors.As(err, &rolled) {
		t.warn.warn("late "+from.from.String(), "refused a connection: another process of the peer came first", "peer", from.from, "reason", rolled.Reason)
		return
	}
	if errors.Is(err, codec.ErrCorrupt) || errors.Is(err, codec.ErrTooLarge) || errors.Is(err, codec.ErrVersion) {
		t.warn.warn("frame "+from.from.String(), "peer sent what makes no sense, disconnected", "peer", from.from, "lane", from.lane, "err", err)
		return
	}
	if peer := t.known(from.from); peer != nil {
		peer.departed()
	}
}

// welcome hears the hello of an incoming connection and answers. A stranger
// that does not even begin with a hello gets no answer.
func (t *Transport) welcome(conn net.Conn) (hello, error) {
	if err := t.tune(conn); err != nil {
		return hello{}, err
	}
	if err := conn.SetDeadline(time.Now().Add(t.cfg.HelloTimeout)); err != nil {
		return hello{}, err
	}
	theirs, err := readHello(conn)
	if err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	ours := t.hello(theirs.node, theirs.lane)
	why := theirs.mismatch(ours)
	if why == "" {
		why = t.judge(theirs)
	}
	ours.refused = why != ""
	if theirs.able && !ours.refused && theirs.lane == control {
		ours.cookie = t.issue(theirs)
	}
	if err := ours.write(conn); err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	if why != "" {
		// To close with bytes unread would take the answer back.
		_, _ = io.CopyN(io.Discard, conn, 1024)
		return hello{}, &refusalError{why, host(conn.RemoteAddr())}
	}
	return theirs, conn.SetDeadline(time.Time{})
}

// unwelcome says why a connection was not accepted. That one ended before its
// hello is no news.
func (t *Transport) unwelcome(conn net.Conn, err error) {
	var refusal *refusalError
	switch {
	case errors.As(err, &refusal):
		t.warn.warn("in "+refusal.Error(), "refused an incoming connection", "addr", conn.RemoteAddr(), "reason", refusal.why)
	case errors.Is(err, errNoHello), errors.Is(err, errCluster):
		t.warn.warn("in "+host(conn.RemoteAddr()), "refused an incoming connection", "addr", conn.RemoteAddr(), "err", err)
	default:
		t.cfg.Log.Debug("incoming connection ended in its hello", "addr", conn.RemoteAddr(), "err", err)
	}
}

// read delivers what the peer sends until the connection ends; it says why.
func (t *Transport) read(in *incoming) error {
	from, m := in.hello.node, &t.meters[in.hello.lane]
	frames := codec.NewReader(metered{in.conn, m})
	for met := false; ; {
		ps, err := frames.Next()
		if err != nil {
			return err
		}
		if !t.cfg.Allowed(from) {
			continue
		}
		if !met {
			if err := t.meet(in.hello); err != nil {
				return err
			}
			met = true
		}
		m.receivedPackets.Add(uint64(len(ps)))
		for _, p := range ps {
			if in.closed.Load() {
				return io.ErrClosedPipe
			}
			if err := t.deliver(from, in.hello.life(), p); err != nil {
				return err
			}
		}
	}
}

// deliver hands over a packet, or takes note of what is for the transport.
func (t *Transport) deliver(from synod.NodeID, l life, p replica.Packet) error {
	if t.registry.rolledBack.Load() {
		return errRolledBack
	}
	if saved, ok := p.Msg.(codec.Saved); ok {
		t.registry.reached(from, l, saved.Position)
		return nil
	}
	t.cfg.Deliver(from, p)
	return nil
}

// closeInbound closes the connections from peer, and takes no more datagrams
// from it.
func (t *Transport) closeInbound(from synod.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(from)
	for l := range lanes {
		if in := t.inbound[arrival{from, l}]; in != nil {
			in.close()
		}
	}
}

// host is the address of a without its port, which changes at each attempt.
func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}
