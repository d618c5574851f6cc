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
	in := &incoming{conn: conn}
	t.mu.Lock()
	before, peer := t.inbound[from], t.peers[from.from]
	t.inbound[from] = in
	t.mu.Unlock()
	if before != nil {
		before.close()
	}
	if peer != nil {
		peer.arrived()
	}
	t.cfg.Log.Debug("connection accepted", "peer", from.from, "lane", from.lane, "incarnation", h.incarnation)

	err = t.read(in, from.from)
	t.mu.Lock()
	if t.inbound[from] == in {
		delete(t.inbound, from)
	}
	t.mu.Unlock()
	if ctx.Err() != nil || in.closed.Load() {
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
	ours.refused = why != ""
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

// read delivers what from sends until the connection ends; it says why.
func (t *Transport) read(in *incoming, from synod.NodeID) error {
	frames := codec.NewReader(in.conn)
	for {
		ps, err := frames.Next()
		if err != nil {
			return err
		}
		if !t.cfg.Allowed(from) {
			continue
		}
		for _, p := range ps {
			if in.closed.Load() {
				return io.ErrClosedPipe
			}
			t.cfg.Deliver(from, p)
		}
	}
}

// closeInbound closes the connections from peer.
func (t *Transport) closeInbound(from synod.NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
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
