package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica/internal/image"
	"github.com/prytany/prytany/synod"
)

// Errors of [Host.Create].
var (
	// ErrGroupExists says that this node has a part in the group already.
	ErrGroupExists = errors.New("replica: the group exists")
	// ErrGroupDropped says that this node had a part in the group and gave it up. An
	// acceptor that has forgotten what it voted for must not begin again with the first
	// configuration; see [Host.Learn] for the way back.
	ErrGroupDropped = errors.New("replica: the group was dropped")
)

// beginAtOnce is how many groups are created with one write. The loop does other
// things before the next ones.
const beginAtOnce = 16

// A birth is a group that is to be created.
type birth struct {
	id    paxos.GroupID
	m     paxos.Membership
	ended chan<- error
}

// Create makes this node a voter of the new group g with its first configuration
// m, as [Host.Bootstrap] does, while the host runs: call it on every voter of m with
// the same m. It returns once that is durable.
//
// Errors: ErrGroupExists, ErrGroupDropped, [ErrNotVoter] if m does not name this
// node, paxos.ErrOverloaded if the loop is far behind: nothing has happened. When
// ctx ends first it may still happen.
func (h *Host) Create(ctx context.Context, g paxos.GroupID, m paxos.Membership) error {
	if err := m.CheckFirst(g); err != nil {
		return fmt.Errorf("replica: create group %d: %w", g, err)
	}
	if m.Seat(h.cfg.Self) < 0 {
		return ErrNotVoter
	}
	m.Voters = slices.Clone(m.Voters)
	return h.call(ctx, func(ended chan<- error) { h.births = append(h.births, birth{g, m, ended}) })
}

// Drop ends this node's part in g for ever: its requests end, peers hear of it no
// more, and storage forgets it. To drop a group that is unknown here makes only
// [Host.Create] and [Host.Learn] refuse it. It returns once that is durable; a
// snapshot that is being written or read is waited for.
//
// Error: paxos.ErrOverloaded if the loop is far behind: nothing has happened. When
// ctx ends first it may still happen.
func (h *Host) Drop(ctx context.Context, g paxos.GroupID) error {
	if g == 0 {
		return errors.New("replica: drop group 0: there is none")
	}
	return h.call(ctx, func(ended chan<- error) { h.drop(g, paxos.Forever, ended) })
}

// Leave is Drop with a way back: [Host.Learn] makes this node a learner of g again.
// It then votes only in configurations later than the last one that it knows of now.
// A node that has a seat in that one is missing there from now on, as if it had
// failed for good. To leave a group that is unknown here does nothing.
func (h *Host) Leave(ctx context.Context, g paxos.GroupID) error {
	return h.call(ctx, func(ended chan<- error) {
		if known := h.groups[g]; known != nil {
			st := known.core.Brief()
			h.drop(g, max(st.Membership.ID, st.Floor), ended)
		} else {
			ended <- nil
		}
	})
}

// call has the loop run f and waits until f's channel has an answer.
func (h *Host) call(ctx context.Context, f func(ended chan<- error)) error {
	ended := make(chan error, 1)
	end := paxos.ErrStopped
	if err := h.post(func() { end = paxos.ErrUnknownOutcome; f(ended) }); err != nil {
		return err
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", paxos.ErrUnknownOutcome, context.Cause(ctx))
	case <-h.over:
		select {
		case ended <- end:
		default: // it was the last that the loop has answered
		}
		return <-ended
	}
}

// refused returns why g cannot be created, or storage's error.
func (h *Host) refused(g paxos.GroupID) (why, err error) {
	if h.groups[g] != nil {
		return ErrGroupExists, nil
	}
	_, dropped, err := h.dropped(g)
	if dropped {
		return ErrGroupDropped, err
	}
	return nil, err
}

// dropped returns what is left of g if it was dropped, or will be in a moment.
func (h *Host) dropped(g paxos.GroupID) (t Tombstone, ok bool, err error) {
	for _, l := range h.leaving {
		if l.group.id == g {
			return Tombstone{Floor: l.floor}, true, nil
		}
	}
	if t, ok, err = h.cfg.Storage.Dropped(g); err != nil {
		return t, false, fmt.Errorf("replica: look for group %d: %w", g, err)
	}
	return t, ok, nil
}

// bear creates some of the groups that are to be, with one write.
func (h *Host) bear() error {
	if len(h.births) == 0 {
		return nil
	}
	births := h.births[:min(beginAtOnce, len(h.births))]
	h.births = h.births[len(births):]
	var begin []Beginning
	ended := map[paxos.GroupID]chan<- error{}
	for _, b := range births {
		why, err := h.refused(b.id)
		if err != nil {
			return err
		}
		if ended[b.id] != nil {
			why = ErrGroupExists
		}
		if why != nil {
			b.ended <- why
			continue
		}
		first, err := h.beginning(b.id, b.m)
		if err != nil {
			return err
		}
		begin = append(begin, first)
		ended[b.id] = b.ended
	}
	if err := h.begin(begin); err != nil {
		return err
	}
	h.publish()
	for _, b := range begin {
		h.cfg.Log.Info("group created", "group", b.Group, "voters", len(b.Header.Membership.Voters))
		ended[b.Group] <- nil
	}
	return nil
}

// beginning returns the first state of g: slot 1 is taken by decree. It is the
// snapshot of the empty machine, which carries m to whoever joins later.
func (h *Host) beginning(g paxos.GroupID, m paxos.Membership) (Beginning, error) {
	data, err := image.Encoded(h.cfg.NewMachine(g).Snapshot())
	if err != nil {
		return Beginning{}, fmt.Errorf("replica: create group %d: %w", g, err)
	}
	return Beginning{
		Group:    g,
		Snapshot: paxos.Snapshot{Slot: 1, Membership: m, Data: data},
		Header:   paxos.Header{Membership: m, Decided: 1, Snapshot: 1, Trimmed: 2},
	}, nil
}

// begin makes groups durable and loads them.
func (h *Host) begin(groups []Beginning) error {
	if len(groups) == 0 {
		return nil
	}
	if err := h.saveFirst(groups); err != nil {
		return fmt.Errorf("replica: create groups: %w", err)
	}
	for _, b := range groups {
		if err := h.load(b.Group); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) saveFirst(groups []Beginning) error {
	if s, ok := h.cfg.Storage.(Beginner); ok {
		return s.Begin(groups)
	}
	var updates []paxos.Update
	for _, b := range groups {
		// The snapshot first: without its header it is still a whole beginning.
		if err := h.cfg.Storage.SaveSnapshot(b.Group, b.Snapshot); err != nil {
			return err
		}
		updates = append(updates, paxos.Update{Group: b.Group, Dirty: true, Header: b.Header})
	}
	return h.cfg.Storage.Save(updates)
}

// A leaving is a group that is dropped once nothing of it is being written.
type leaving struct {
	group *group
	floor paxos.ConfigID
	ended chan<- error
}

// drop takes g out of the loop. What its member wanted to save or say in this turn
// is forgotten with it: nobody has heard of it.
func (h *Host) drop(id paxos.GroupID, floor paxos.ConfigID, ended chan<- error) {
	g := h.groups[id]
	if g == nil {
		g = &group{id: id, gone: true}
	} else {
		h.endAll(g)
		if g.led != (tenure{}) {
			g.led = tenure{}
			g.machine.Follow()
		}
		h.node.DropGroup(uint64(id))
		g.gone = true
		h.forget(g)
	}
	h.leaving = append(h.leaving, leaving{g, floor, ended})
}

// endAll ends all requests of g: what was given to a slot or to another node may
// happen, all others have not.
func (h *Host) endAll(g *group) {
	if g.parting != nil {
		h.endHandOver(g, 0, &paxos.NotLeaderError{})
	}
	for _, r := range h.pending {
		switch {
		case r.group != g || r.finished:
		case r.given && (r.kind == KindPropose || r.kind == kindChange):
			h.finish(r, Result{Err: paxos.ErrUnknownOutcome})
		default:
			h.finish(r, Result{Err: &paxos.NotLeaderError{}})
		}
	}
}

// bury drops what is leaving from storage, unless something of it is being written or
// read.
func (h *Host) bury() error {
	if len(h.leaving) == 0 {
		return nil
	}
	h.publish() // without them
	waiting := h.leaving[:0]
	for _, l := range h.leaving {
		if l.group.saving || h.reading == l.group {
			waiting = append(waiting, l)
			continue
		}
		if err := h.cfg.Storage.Drop(l.group.id, l.floor); err != nil {
			return fmt.Errorf("replica: drop group %d: %w", l.group.id, err)
		}
		h.sweeping = true
		h.cfg.Log.Info("group dropped", "group", l.group.id, "floor", l.floor)
		h.cfg.Forget(l.group.id)
		l.ended <- nil
	}
	clear(h.leaving[len(waiting):])
	h.leaving = waiting
	return nil
}

// Bootstrap creates group g with its first configuration m, whose ID is 1 and
// whose Start is 0, on an empty storage. Call it before Run, with the same m
// on every voter of m and with a NewMachine that starts all alike.
func (h *Host) Bootstrap(g paxos.GroupID, m paxos.Membership) error {
	why := m.CheckFirst(g)
	if why == nil {
		var err error
		if why, err = h.refused(g); err != nil {
			return err
		}
	}
	if why != nil {
		return fmt.Errorf("replica: bootstrap group %d: %w", g, why)
	}
	first, err := h.beginning(g, m)
	if err != nil {
		return err
	}
	h.wanted.Store(true)
	return h.begin([]Beginning{first})
}

// Learn makes this node a learner of group g, if it has no part in it yet;
// from are members to catch up from. Until a snapshot has arrived nothing is
// saved, and a later call replaces from: a node that restarts before must be
// told again. A member, a removed one too, asks all that it knows and those in from
// once more: call it now and then while nobody leads, for every voter that this node
// has heard of may have been replaced meanwhile.
//
// A group that this node has left, see [Host.Leave], is learned once storage has
// given back what its earlier part took: until then, call it again. One that was
// dropped here is refused. Both with a line in the log.
func (h *Host) Learn(g paxos.GroupID, from []synod.NodeID) {
	from = slices.Clone(from)
	_ = h.post(func() {
		known := h.groups[g]
		switch {
		case g == 0:
			return
		case known != nil:
			known.core.SetPeers(from)
			known.core.Rejoin()
			known.core.AskAround()
			h.touch(known)
			return
		}
		switch t, dropped, err := h.dropped(g); {
		case err != nil:
			h.fatal = err
		case t.Floor == paxos.Forever:
			h.cfg.Log.Warn("group not joined: it was dropped here", "group", g)
		case dropped && !t.Swept:
			h.cfg.Log.Debug("group not joined yet: what was left of it here is being deleted", "group", g)
		default:
			h.learn(g, from, t.Floor)
		}
	})
}

// Group is Status of one group; ok is false if this node has no part in it. It costs
// the same however many groups there are.
func (h *Host) Group(g paxos.GroupID) (s GroupStatus, ok bool) {
	h.wanted.Store(true)
	p := h.shown.Load()
	i, ok := p.index[g]
	if !ok {
		return GroupStatus{}, false
	}
	return p.groups[i], true
}
