package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Errors of [Host.HandOver] beside *paxos.NotLeaderError.
var (
	ErrNotVoter      = errors.New("replica: not a voter of the group")
	ErrNoHeir        = errors.New("replica: no voter is in reach, fit and up to date")
	ErrNotHandedOver = errors.New("replica: the other node did not begin to lead in time")
	ErrHandingOver   = errors.New("replica: the lead of the group is being handed over already")
)

const (
	holdFor  = 500 * time.Millisecond // the longest that proposals wait for the heir to hold everything
	beginFor = time.Second            // the longest that a heir may take to begin after the release
)

// A handOver is a lead on its way to another node. Until the release the lead
// is held: nothing new is proposed. From then on this node leads no longer,
// whatever becomes of the heir: its ballot is given up for ever.
type handOver struct {
	to       synod.NodeID
	from     tenure
	until    time.Duration // the end of the present step
	released bool
	request  *request
}

// A HandOverEvent tells Config.Observe how a hand-over ended.
type HandOverEvent struct {
	Ballot   synod.Ballot // of the leader that gave up, or wanted to
	To       synod.NodeID // who leads; after an error, who should have
	Released bool         // the lead was given up
	Err      error
}

// HandOver has the voter to lead group g instead of this node; 0 means whichever
// suits best. It returns the node that leads once it does: another one than to,
// if that was faster. For as long as it takes, a few round trips and one durable
// write, proposals wait. Only the leader can.
//
// ErrNotVoter, ErrNoHeir and ErrHandingOver mean that nothing has happened.
// After ErrNotHandedOver this node leads as before, if the other one was too far
// behind; or it has given up the lead and the voters elect whom they can. That
// goes on after ctx has ended.
func (h *Host) HandOver(ctx context.Context, g paxos.GroupID, to synod.NodeID) (synod.NodeID, error) {
	r := &request{gid: g, kind: kindHandOver, heir: to}
	switch _, err := h.wait(ctx, r); {
	case errors.Is(err, paxos.ErrUnknownOutcome):
		return 0, fmt.Errorf("%w: %w", ErrNotHandedOver, context.Cause(ctx))
	case err != nil:
		return 0, err
	}
	return r.heir, nil
}

// beginHandOver begins what r asks for, or refuses it.
func (h *Host) beginHandOver(g *group, r *request) {
	refuse := func(err error) { h.finish(r, Result{Err: err}) }
	st := &g.status
	switch {
	case !st.Leading:
		refuse(&paxos.NotLeaderError{Leader: h.hint(g)})
		return
	case g.parting != nil:
		refuse(ErrHandingOver)
		return
	case r.heir == h.cfg.Self:
		h.finish(r, Result{}) // it leads
		return
	case r.heir == 0:
		if r.heir = h.node.Heir(uint64(g.id)); r.heir == 0 {
			refuse(ErrNoHeir)
			return
		}
	case st.Membership.Seat(r.heir) < 0:
		refuse(ErrNotVoter)
		return
	}
	g.parting = &handOver{to: r.heir, from: g.tenure(), until: h.now + holdFor, request: r}
	h.parting = append(h.parting, g)
	h.rouse(g)
}

// stepHandOvers takes every hand-over as far as it goes. It is called between
// turns; a group with a turn to come has its step after that.
func (h *Host) stepHandOvers() {
	for _, g := range slices.Clone(h.parting) {
		if g.parting != nil && !g.touched {
			h.stepHandOver(g)
		}
	}
}

func (h *Host) stepHandOver(g *group) {
	p := g.parting
	switch leads := g.tenure(); {
	case !p.released && leads != p.from:
		h.endHandOver(g, 0, &paxos.NotLeaderError{Leader: h.hint(g)})
	case p.released && g.successor() != 0:
		h.endHandOver(g, g.successor(), nil)
	case p.released && leads != tenure{}: // elected again, under a higher ballot
		h.endHandOver(g, 0, ErrNotHandedOver)
	case h.now >= p.until, p.request.finished, !p.released && !h.linkUp(p.to):
		h.endHandOver(g, 0, ErrNotHandedOver)
	case !p.released && g.core.Holds(p.to):
		h.release(g)
	}
}

// release gives up the lead. All that was proposed is chosen and applied here,
// and the heir has voted for it and was sent the watermark. The leader machine
// ends the lease before its token leaves. What waits is sent on as soon as the
// new leader is followed.
func (h *Host) release(g *group) {
	p := g.parting
	if !h.node.Release(uint64(g.id), p.to, leader.Instant(h.now), &h.advice) {
		h.endHandOver(g, 0, ErrNotHandedOver)
		return
	}
	h.stirred = true
	g.core.StepDown(&g.out)
	h.touch(g)
	p.released, p.until = true, h.now+beginFor
}

// endHandOver ends g's hand-over. If nothing was released proposals go on.
func (h *Host) endHandOver(g *group, to synod.NodeID, err error) {
	p := g.parting
	g.parting = nil
	h.parting = slices.DeleteFunc(h.parting, func(x *group) bool { return x == g })
	h.touch(g)
	if err != nil {
		h.cfg.Log.Warn("lead not handed over", "group", g.id, "to", p.to, "released", p.released, "err", err)
	} else {
		h.cfg.Log.Info("lead handed over", "group", g.id, "to", to, "ballot", p.from.ballot)
	}
	if err == nil {
		p.to = to
	}
	h.cfg.Observe(g.id, HandOverEvent{p.from.ballot, p.to, p.released, err})
	p.request.heir = p.to
	h.finish(p.request, Result{Err: err})
}

// holds reports whether g proposes nothing for the sake of a hand-over.
func (g *group) holds() bool { return g.parting != nil && !g.parting.released }

// tenure returns the present leadership of g, as of the last turn.
func (g *group) tenure() tenure {
	if st := &g.status; st.Leading {
		return tenure{st.Membership.ID, st.Ballot}
	}
	return tenure{}
}

// successor returns the node that has begun to lead after this one, as far as
// it was heard; 0 if none.
func (g *group) successor() synod.NodeID {
	st := &g.status
	next := tenure{st.Membership.ID, st.Heard}
	if st.Heard.IsZero() || st.Heard != st.Promised || next == g.parting.from || st.Leading {
		return 0
	}
	return st.Membership.Node(st.Heard.Member)
}
