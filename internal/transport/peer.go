package transport

import (
	"sync"
	"time"

	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// A lane is one of the two connections to a peer.
type lane uint8

const (
	control lane = iota // everything on which the protocol's timing hangs
	bulk                // snapshots and long answers to catching up
	lanes
)

// String is for logs.
func (l lane) String() string {
	if l == bulk {
		return "bulk"
	}
	return "control"
}

// A peer is a node to which something was sent.
type peer struct {
	t     *Transport
	id    synod.NodeID
	links [lanes]*link

	detour detour // beside the control connection

	mu    sync.Mutex
	alive bool // a connection was established since the peer was last gone
	lost  bool // one has ended since the last was established
	is    life // of the process with which the last was established
	gone  life // of the process whose end was told last; zero: none, or it was there after all
}

func newPeer(t *Transport, id synod.NodeID) *peer {
	p := &peer{t: t, id: id}
	p.detour.t, p.detour.peer = t, p
	p.detour.queue = queue{maxBytes: detourBytes, maxPackets: detourPackets, ready: make(chan struct{}, 1)}
	for i := range p.links {
		p.links[i] = &link{
			t: t, peer: p, lane: lane(i),
			poke:    make(chan struct{}, 1),
			lookout: lookout{ask: progressOf, began: time.Now()},
			queue:   queue{maxBytes: t.cfg.QueueBytes, maxPackets: t.cfg.QueuePackets, ready: make(chan struct{}, 1)},
		}
	}
	return p
}

// relieved hands p, encoded, to the detour if the control connection stalls. It reports whether
// that connection needs no copy.
func (p *peer) relieved(packet replica.Packet, encoded []byte, urgent bool) bool {
	if p.t.cfg.Datagrams == nil {
		return false
	}
	if stalled, ok := p.links[control].lookout.look(time.Now()); ok {
		p.detour.judged(stalled)
	}
	return p.detour.open.Load() && p.detour.send(packet, encoded, urgent)
}

// established notes that a connection to the process l of the peer is there.
func (p *peer) established(l life) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l == p.gone { // it listens, so its end was none
		p.gone = life{}
	}
	p.alive, p.lost, p.is = true, false, l
}

// broke notes that an established connection has ended.
func (p *peer) broke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lost = true
}

// arrived notes a connection from the process l of the peer: it listens again by now, so
// that links which wait between dials need not wait any longer. One of a process whose end
// was told may have waited all the time to be accepted: it does not count as established,
// and its end is no news.
func (p *peer) arrived(l life) {
	p.mu.Lock()
	if l != p.gone {
		p.alive, p.lost, p.is = true, false, l
	}
	p.mu.Unlock()
	for _, l := range p.links {
		l.wake()
	}
}

// departed notes that a connection from the peer has ended. Unless a
// connection to it is there, which will tell, dialling finds out what happened.
func (p *peer) departed() {
	p.broke()
	p.links[control].redial.Store(true)
	p.links[control].wake()
}

// refused notes that nobody listens at the peer's address. After a loss this
// means that its process is gone, which is told once.
func (p *peer) refused() {
	p.mu.Lock()
	gone := p.alive && p.lost
	if gone {
		p.alive, p.gone = false, p.is
	}
	p.lost = false
	p.mu.Unlock()
	if gone {
		p.detour.close()
		p.t.closeInbound(p.id) // nothing it has said is news after this
		p.t.cfg.Log.Info("peer is gone: connection lost, next one refused", "peer", p.id)
		p.t.cfg.Disconnected(p.id)
	}
}
