package replica

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/alarm"
	"github.com/prytany/prytany/paxos/replica/internal/image"
	"github.com/prytany/prytany/paxos/replica/internal/mailbox"
	"github.com/prytany/prytany/paxos/replica/internal/pulse"
	"github.com/prytany/prytany/paxos/replica/internal/seen"
	"github.com/prytany/prytany/synod"
)

// A Host runs all groups of a node in one event loop: one inbox, one durable
// write per turn for all groups, the heartbeat in the same loop.
type Host struct {
	cfg    Config
	open   atomic.Int64  // requests without an answer, bounded by cfg.MaxPending
	wake   chan struct{} // room for one: rings Run
	wanted atomic.Bool   // somebody reads Status
	shown  atomic.Pointer[published]

	// Guarded by mu: what others leave for the loop.
	mu     sync.Mutex
	inbox  mailbox.Box[inbound]
	taken  mailbox.Box[*request]
	calls  []func()
	health leader.Health
	closed bool
	over   chan struct{} // closed when the host is

	// Owned by the loop; nothing below may be touched from elsewhere.
	now       time.Duration
	groups    map[paxos.GroupID]*group
	order     []*group  // the same, by ID
	touched   []*group  // groups with something to do in this turn
	births    []birth   // groups that are to be created
	leaving   []leaving // groups that are to be dropped
	node      *leader.Node
	advice    leader.Output
	stirred   bool                // node was given something, see advice
	news      bool                // Status does not show all yet
	awake     []*group            // groups that take part in ticks
	spare     []*group            // its memory
	alarms    alarm.Clock[*group] // groups to be woken
	net       int                 // where in order the last tick has looked after sleepers
	trims     []*group            // groups with votes to drop, the next one first
	parting   []*group            // groups whose lead is being handed over
	stale     []*group            // groups of which Status shows an earlier state
	sweeping  bool                // storage has room of dropped groups to give back, as far as is known
	regrouped bool                // Status shows other groups than there are
	ticks     int
	links     []leader.Link
	well      leader.Health
	leadAt    time.Duration // when node wants its Tick
	tickAt    time.Duration // when groups and machines get theirs
	slack     time.Duration // by how much that may be late
	pending   []*request    // all unanswered ones by deadline, among answered ones
	forwards  map[uint64]*request
	forwardID uint64
	seen      map[synod.NodeID]*seen.Window // forwards of each peer
	updates   []paxos.Update
	fatal     error // storage failed or the log is corrupt: nothing may be said any more

	// Owned by the loop, set by Run alone: how well the node is.
	clock func() time.Duration // nil under a simulator: nothing is measured
	pulse pulse.Pulse
	saves sync.WaitGroup // snapshots being written or read

	// Owned by the loop: what is done beside it, see beside and readWish.
	busy    bool     // a snapshot is being written or read in
	queue   []*group // who wait for that to end
	reading *group   // of which a piece is being read for a peer; nil: none
	wishes  image.Wishes[*group]
}

type inbound struct {
	from synod.NodeID
	p    Packet
}

// NewHost loads every group that Storage knows. now is the process's clock.
func NewHost(cfg Config, now time.Duration) (*Host, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		start := time.Now()
		cfg.Clock = func() time.Duration { return now + time.Since(start) }
	}
	h := &Host{
		cfg:      cfg,
		wake:     make(chan struct{}, 1),
		over:     make(chan struct{}),
		health:   leader.Health{Disk: true, Loop: true},
		now:      now,
		tickAt:   now,
		leadAt:   now,
		groups:   map[paxos.GroupID]*group{},
		sweeping: true,
		node:     leader.NewNode(cfg.Leader, leader.Instant(now)),
		forwards: map[uint64]*request{},
		seen:     map[synod.NodeID]*seen.Window{},
		// An answer to a forward of an earlier life must not meet one of this.
		forwardID: cfg.Leader.Incarnation << 32,
	}
	h.shown.Store(&published{})
	ids, err := cfg.Storage.Groups()
	if err != nil {
		return nil, fmt.Errorf("replica: list groups: %w", err)
	}
	for _, id := range ids {
		if err := h.load(id); err != nil {
			return nil, err
		}
	}
	if len(ids) > 0 {
		h.cfg.Log.Info("groups loaded", "groups", len(ids))
	}
	h.publish()
	return h, nil
}

// Deliver hands over a packet from a peer. It never blocks; what does not fit
// in the inbox is dropped, as a network would.
func (h *Host) Deliver(from synod.NodeID, p Packet) {
	h.mu.Lock()
	if h.inbox.Len() < h.cfg.MaxInbox && !h.closed {
		h.inbox.Put(inbound{from, p})
	}
	h.mu.Unlock()
	h.ring()
}

// Disconnected says that peer's process is gone: connection reset, redial
// refused. What was forwarded to it ends.
func (h *Host) Disconnected(peer synod.NodeID) {
	_ = h.post(func() {
		h.node.Disconnected(peer, leader.Instant(h.now), &h.advice)
		h.stirred = true
		h.abandon(peer)
	})
}

// Gossip says what gossip thinks of peer.
func (h *Host) Gossip(peer synod.NodeID, g leader.Gossip) {
	_ = h.post(func() {
		h.node.SetGossip(peer, g, leader.Instant(h.now), &h.advice)
		h.stirred = true
	})
}

// SetHealth says how this node is, as far as its owner knows; without it disk
// and loop are well and the node is not draining. Run adds what it sees: the
// disk is unwell for 2 s after a write that took more than 500 ms, the loop is
// while its timer fired later than half of Leader.Silence three times in a row.
func (h *Host) SetHealth(hl leader.Health) {
	h.mu.Lock()
	h.health = hl
	h.mu.Unlock()
	h.ring()
}

// Freeze makes the loop stand still until the channel is closed, as if the
// process were stopped: for tests and demonstrations of exactly that.
func (h *Host) Freeze(until <-chan struct{}) { _ = h.post(func() { <-until }) }

// post leaves a call for the loop, or says why not. Calls are rare; a loop that has
// fallen MaxPending of them behind loses more.
func (h *Host) post(call func()) error { return h.leave(call, h.cfg.MaxPending) }

// tell has the loop call f, however much others have left for it, unless the host
// is closed.
func (h *Host) tell(f func()) { _ = h.leave(f, math.MaxInt) }

func (h *Host) leave(call func(), most int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return paxos.ErrStopped
	case len(h.calls) >= most:
		return paxos.ErrOverloaded
	}
	h.calls = append(h.calls, call)
	h.ring()
	return nil
}

// ring wakes Run, unless it has been rung already.
func (h *Host) ring() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run owns the host until ctx ends or storage fails, and ends all requests
// before it returns. After any error but ctx's the process must end: its
// acceptors are unsure what they wrote and must not speak again.
func (h *Host) Run(ctx context.Context) error {
	defer h.saves.Wait()
	defer h.Close()
	h.clock, h.slack = h.cfg.Clock, h.cfg.TickEvery/tickSlack
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		began := time.Now()        // of the runtime, which costs no system call
		next, err := h.Poll(h.now) // reads the clock itself
		if err != nil {
			return err
		}
		timer.Reset(max(0, next-h.now-time.Since(began)))
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-h.wake:
		case <-timer.C:
			h.pulse.Woken(h.clock()-next, time.Duration(h.cfg.Leader.Silence))
		}
	}
}

// Close ends all requests: proposals that were given away are unknown, all
// others have not happened. Run calls it; whoever drives a host by Poll calls
// it instead. The host is of no use afterwards.
func (h *Host) Close() {
	h.mu.Lock()
	if !h.closed {
		close(h.over)
	}
	h.closed = true
	taken := h.taken.Empty()
	h.mu.Unlock()
	if h.fatal == nil {
		h.fatal = paxos.ErrStopped
	}
	for _, r := range h.pending {
		h.finish(r, Result{Err: h.outcome(r)})
	}
	for _, r := range taken {
		h.finish(r, Result{Err: paxos.ErrStopped})
	}
	h.pending = nil
}
