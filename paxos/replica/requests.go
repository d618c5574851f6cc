package replica

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A request of a local caller, of a peer, or of the machine that leads. All
// but the first block is owned by the loop.
type request struct {
	gid     paxos.GroupID
	kind    RequestKind
	payload []byte
	change  func(paxos.Membership) (paxos.Membership, error) // kindChange
	heir    synod.NodeID                                     // kindHandOver: who should lead; once done, who does
	done    func(Result)                                     // of a local caller
	from    synod.NodeID                                     // else the peer that forwarded it,
	id      uint64                                           // its ID there
	hops    uint8                                            // and how often it may be forwarded yet
	own     bool                                             // or the machine's: nobody waits

	group    *group
	deadline time.Duration
	given    bool         // to a slot or to another node: it may happen
	tried    uint64       // group.round when it was forwarded last
	sentTo   synod.NodeID // forwarded to, as
	sentID   uint64       // 0 if it is not forwarded
	finished bool
}

// size returns the bytes of what r proposes, -1 if it has ended.
func (r *request) size() int {
	if r.finished {
		return -1
	}
	return len(r.payload)
}

// Requests that are never forwarded.
const (
	kindChange   RequestKind = 255 // for another configuration
	kindHandOver RequestKind = 254 // for another leader
)

// Submit hands over a request; done is called exactly once, from the loop (or
// at once, if the request is refused because too many are open or the host is
// closed), and must not block. payload must not change until then.
//
// A node that does not lead forwards the request to the leader, through a
// neighbour if need be, and waits for a leader if there is none. One that
// another node refuses, or that a change of leader has kept from happening, is
// kept and sent again when a leader is known, at most once a tick and once at
// each change of it. A request
// that has no answer RetryAfter after it reached the loop ends: a proposal
// that was given to a slot or to another node is then unknown, every other
// request has certainly not happened.
func (h *Host) Submit(g paxos.GroupID, k RequestKind, payload []byte, done func(Result)) {
	h.submit(&request{gid: g, kind: k, payload: payload, done: done})
}

func (h *Host) submit(r *request) {
	if !h.enter(r.kind) {
		r.done(Result{Err: paxos.ErrOverloaded})
		return
	}
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.taken.Put(r)
	}
	h.mu.Unlock()
	if closed {
		h.open.Add(-1)
		r.done(Result{Err: paxos.ErrStopped})
		return
	}
	h.ring()
}

// enter counts in a request without an answer, or refuses. Questions to the
// machine, which keep leases alive, find room when nothing else does: under load
// clients must not lose what they hold because others ask for more.
func (h *Host) enter(k RequestKind) bool {
	most := h.cfg.MaxPending
	if k == KindAsk {
		most += most/4 + 1
	}
	if h.open.Add(1) > int64(most) {
		h.open.Add(-1)
		return false
	}
	return true
}

// Propose is Submit of KindPropose that waits. See the errors of [Result];
// when ctx ends first the outcome is unknown.
func (h *Host) Propose(ctx context.Context, g paxos.GroupID, cmd []byte) (Result, error) {
	return h.wait(ctx, &request{gid: g, kind: KindPropose, payload: cmd})
}

// Barrier waits until a linearizable read may be served by the local machine,
// and returns a slot that it has applied by then.
func (h *Host) Barrier(ctx context.Context, g paxos.GroupID) (paxos.Slot, error) {
	res, err := h.wait(ctx, &request{gid: g, kind: KindBarrier})
	return res.Slot, err
}

// Ask is Submit of KindAsk that waits.
func (h *Host) Ask(ctx context.Context, g paxos.GroupID, req []byte) ([]byte, error) {
	res, err := h.wait(ctx, &request{gid: g, kind: KindAsk, payload: req})
	return res.Payload, err
}

// Reconfigure proposes the configuration that change makes of the present one,
// and waits until it is in force here. Only the leader can: no other node
// forwards it. Errors as Propose, and those of change, which runs on the loop.
func (h *Host) Reconfigure(ctx context.Context, g paxos.GroupID, change func(paxos.Membership) (paxos.Membership, error)) error {
	_, err := h.wait(ctx, &request{gid: g, kind: kindChange, change: change})
	return err
}

// wait submits r and waits until it or ctx ends.
func (h *Host) wait(ctx context.Context, r *request) (Result, error) {
	ended := make(chan Result, 1)
	r.done = func(res Result) { ended <- res }
	h.submit(r)
	select {
	case res := <-ended:
		return res, res.Err
	case <-ctx.Done():
		return Result{}, fmt.Errorf("%w: %w", paxos.ErrUnknownOutcome, context.Cause(ctx))
	}
}

// accept takes a request onto the loop.
func (h *Host) accept(r *request) {
	r.group = h.groups[r.gid]
	r.deadline = h.now + h.cfg.RetryAfter
	g := r.group
	if g == nil {
		h.finish(r, Result{Err: &paxos.NotLeaderError{}})
		return
	}
	g.open++
	h.pending = append(h.pending, r)
	switch r.kind {
	case KindPropose:
		g.proposals = append(g.proposals, r)
	case kindChange:
		g.changes = append(g.changes, r)
	case kindHandOver:
		h.beginHandOver(g, r)
	default:
		g.reads = append(g.reads, r)
	}
	h.touch(g)
}

// finish ends r, unless it has ended.
func (h *Host) finish(r *request, res Result) {
	if r.finished {
		return
	}
	r.finished, r.payload = true, nil
	if r.own {
		return
	}
	if r.sentID != 0 {
		delete(h.forwards, r.sentID)
	}
	if r.group != nil {
		r.group.open--
	}
	h.open.Add(-1)
	if r.done != nil {
		r.done(res)
		return
	}
	h.cfg.Transport.Send(r.from, Packet{r.gid, answerOf(r.id, res)})
}

// outcome is what becomes of r if it ends now, unanswered.
func (h *Host) outcome(r *request) error {
	proposal := r.kind == KindPropose || r.kind == kindChange
	switch {
	case r.kind == kindHandOver:
		return ErrNotHandedOver
	case proposal && r.given:
		return paxos.ErrUnknownOutcome
	case proposal && r.group.status.Leading:
		return paxos.ErrOverloaded // no room in the window all the time
	}
	return &paxos.NotLeaderError{Leader: h.hint(r.group)}
}

// expire ends the requests whose time is over. All wait equally long, so the
// first to have come is the first to go.
func (h *Host) expire() {
	n := 0
	for _, r := range h.pending {
		if !r.finished && r.deadline > h.now {
			break
		}
		n++
		h.finish(r, Result{Err: h.outcome(r)})
	}
	h.pending = h.pending[n:]
	if int64(len(h.pending)) > 2*h.open.Load()+1024 {
		h.pending = slices.DeleteFunc(h.pending, func(r *request) bool { return r.finished })
	}
}

// read answers all reads that wait by the lease, or asks for one confirmation of
// leadership for them, unless one is under way: the next is for all that have come
// meanwhile.
func (h *Host) read(g *group) {
	requests := slices.DeleteFunc(g.reads, func(r *request) bool { return r.finished })
	if len(requests) == 0 {
		g.reads = nil
		return
	}
	if h.readByLease(g, requests) {
		g.reads = nil
		return
	}
	if g.reads = requests; g.rounds.Shut(len(g.reading) > 0) {
		return
	}
	seq, err := g.core.Read(&g.out)
	if err != nil {
		return // the leader's place is lost or not yet certain
	}
	g.reads = nil
	g.reading = append(g.reading, reading{seq: seq, requests: requests})
}

// confirmed takes the answer to a confirmation.
func (h *Host) confirmed(g *group, read paxos.Read) {
	i := slices.IndexFunc(g.reading, func(r reading) bool { return r.seq == read.Seq })
	if i < 0 {
		return
	}
	requests := g.reading[i].requests
	g.reading = slices.Delete(g.reading, i, i+1)
	if read.Err != nil {
		h.againAll(requests)
		return
	}
	h.readable(g, read.Index, requests)
}

// readable says that reads may be served once index is applied.
func (h *Host) readable(g *group, index paxos.Slot, requests []*request) {
	for _, r := range requests {
		if r.kind == KindBarrier && r.from != 0 {
			h.finish(r, Result{Slot: index}) // whoever reads waits for its own machine
		} else {
			g.indexed = append(g.indexed, indexed{index, r})
		}
	}
}

// loseReads takes back the reads whose confirmation will not come.
func (h *Host) loseReads(g *group) {
	lost := g.reading
	g.reading = nil
	for _, read := range lost {
		h.againAll(read.requests)
	}
}

// serveReads ends the reads whose index is applied. Only a machine that leads
// is asked.
func (h *Host) serveReads(g *group) {
	if len(g.indexed) == 0 {
		return
	}
	due := g.indexed
	g.indexed = nil
	for _, x := range due {
		r := x.request
		switch leads := g.led != (tenure{}); {
		case r.finished:
		case r.kind == KindAsk && !leads && !g.status.Leading:
			h.again(r)
		case x.index > g.applied, r.kind == KindAsk && !leads:
			g.indexed = append(g.indexed, x)
		case r.kind == KindAsk:
			h.finish(r, Result{Payload: g.machine.Ask(r.payload, h.now), Slot: g.applied})
		default:
			h.finish(r, Result{Slot: g.applied})
		}
	}
}
