package transport

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"time"

	"github.com/prytany/prytany/synod"
)

// maxPasses bounds the peers that may send datagrams to this process.
const maxPasses = 1024

// A pass is what this process knows of a peer that may send it datagrams: one
// that has completed a hello with it and was told the cookie. It holds for all
// connections of the peer's process, so that a hello whose answer is lost does
// not take away what an earlier one has given.
type pass struct {
	life
	cookie uint64
	hello  hello // by which it was got
	met    bool  // Transport.meet knows it
	seen   window
}

// issue returns the cookie of the peer that has said h, 0 if it must not send
// datagrams.
func (t *Transport) issue(h hello) uint64 {
	if t.cfg.Datagrams == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.passes[h.node]
	if p != nil && p.life == h.life() {
		return p.cookie
	}
	if p != nil && p.incarnation >= h.incarnation || p == nil && len(t.passes) >= maxPasses {
		return 0
	}
	p = &pass{life: h.life(), cookie: cookie(), hello: h}
	t.passes[h.node] = p
	return p.cookie
}

// cookie draws one: any but 0.
func cookie() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if c := binary.LittleEndian.Uint64(b[:]); c != 0 {
			return c
		}
	}
}

// admits returns the process that has sent d, and reports whether it holds a
// pass and d was not seen before.
func (t *Transport) admits(d datagram) (l life, ok bool) {
	t.mu.Lock()
	p := t.passes[d.node]
	if p == nil || p.cookie != d.cookie || p.incarnation != d.incarnation || !p.seen.fresh(d.seq) {
		t.mu.Unlock()
		return life{}, false
	}
	met := p.met
	t.mu.Unlock()
	if met {
		return p.life, true
	}
	if err := t.meet(p.hello); err != nil {
		return life{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p.met = true
	return p.life, true
}

// hearDatagrams delivers what comes until the socket is closed.
func (t *Transport) hearDatagrams(ctx context.Context) {
	b := make([]byte, maxDatagram+1) // what fills it is too long
	for {
		n, _, err := t.cfg.Datagrams.ReadFromUDPAddrPort(b)
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// News of a datagram sent earlier that nobody took. Should it be
			// something that stays, this loop must not take a processor.
			time.Sleep(time.Millisecond)
			continue
		}
		t.hearDatagram(b[:n])
	}
}

// hearDatagram delivers the packets in b, or counts that it does not.
func (t *Transport) hearDatagram(b []byte) {
	d, encoded, err := openDatagram(b)
	if err != nil {
		t.datagrams.refused.Add(1)
		return
	}
	l, ok := t.admits(d)
	if !ok {
		t.datagrams.refused.Add(1)
		return
	}
	ps, err := decodeLight(encoded)
	if err != nil {
		t.datagrams.refused.Add(1)
		return
	}
	if !t.cfg.Allowed(d.node) {
		return
	}
	t.datagrams.received.Add(1)
	t.datagrams.meter.receivedPackets.Add(uint64(len(ps)))
	t.datagrams.meter.receivedBytes.Add(uint64(len(b)))
	if peer := t.known(d.node); peer != nil {
		peer.detour.heard()
	}
	for _, p := range ps {
		if t.deliver(d.node, l, p) != nil {
			return
		}
	}
}

// forget takes the pass of a peer whose process is gone. Called with mu held.
func (t *Transport) forget(peer synod.NodeID) { delete(t.passes, peer) }

// A window remembers which numbers have been seen. Those that come after so
// many higher ones count as seen.
type window struct {
	high uint64
	bits [windowSize / 64]uint64
}

const windowSize = 1024

// fresh reports whether n was not seen before, and remembers it. 0 never is.
func (w *window) fresh(n uint64) bool {
	if n == 0 || n+windowSize <= w.high {
		return false
	}
	if n >= w.high+windowSize {
		*w = window{high: n - 1}
	}
	for w.high < n {
		w.high++
		w.bits[w.high%windowSize/64] &^= 1 << (w.high % 64)
	}
	word, bit := &w.bits[n%windowSize/64], uint64(1)<<(n%64)
	old := *word&bit != 0
	*word |= bit
	return !old
}
