package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
)

// A group without anything to do sleeps: it takes no part in ticks. Whatever is done
// to it wakes it. For whatever does not, a few of those that sleep are ticked at each
// tick, all of them in netTicks.
const netTicks = 256

// A Sleeper is a [Machine] that knows when Lead wants to be called next: not before
// at, unless Apply, Ask or Restore is called meanwhile; ok is false if there is
// nothing to wait for. A leader's machine that is none is asked at every tick.
type Sleeper interface {
	Next(now time.Duration) (at time.Duration, ok bool)
}

// rouse makes g take part in ticks.
func (h *Host) rouse(g *group) {
	if g.awake || g.gone {
		return
	}
	g.awake = true
	h.awake = append(h.awake, g)
	h.alarms.Set(&g.alarm, 0)
}

// tickGroups ticks the groups that are awake and some of the others.
func (h *Host) tickGroups() {
	for g, ok := h.alarms.Due(h.now); ok; g, ok = h.alarms.Due(h.now) {
		h.rouse(g) // it may be awake already
	}
	awake := h.awake
	h.awake, h.spare = h.spare[:0], awake
	for _, g := range awake {
		if g.gone {
			continue
		}
		h.tickGroup(g)
		if h.idle(g) {
			g.awake = false
		} else {
			h.awake = append(h.awake, g)
		}
	}
	for range (len(h.order) + netTicks - 1) / netTicks {
		h.net = (h.net + 1) % len(h.order)
		if g := h.order[h.net]; !g.awake {
			h.tickGroup(g)
			if !h.idle(g) {
				h.rouse(g)
			}
			h.look(g)
		}
	}
}

// idle reports whether there is nothing to do for g until something wakes it, and
// sets its alarm. It may have a part in the present turn: what a leader asks those who
// are out of reach wakes nobody.
func (h *Host) idle(g *group) bool {
	switch {
	case g.open+g.own > 0 || g.queued()+len(g.waiting)+len(g.reading)+len(g.leasing)+len(g.indexed) > 0:
		return false
	case g.parting != nil || g.saving || g.coming != nil || g.arrived != nil:
		return false
	case !g.core.Quiet(h.linkUp):
		return false
	}
	node, content := h.node.Leader(uint64(g.id))
	if !content || g.status.Leading != (node == h.cfg.Self) {
		return false // one that will be replaced, or wants to be, or finds a way around
	}
	return h.leadIdle(g)
}

// leadIdle reports whether g's machine, if it leads, wants nothing yet.
func (h *Host) leadIdle(g *group) bool {
	if !g.status.Leading {
		return true
	}
	m, ok := g.machine.(Sleeper)
	if !ok || g.led == (tenure{}) {
		return false
	}
	at, ok := m.Next(h.now)
	if ok && at <= h.now {
		return false
	}
	if ok {
		h.alarms.Set(&g.alarm, at)
	}
	return true
}

// heard wakes the groups that an event of the leader machine is about. A link that
// is lost concerns those alone whose leader is behind it, of which there are events;
// one that is back, those that are led here: a voter may have missed something.
func (h *Host) heard(e leader.Event) {
	if e.Group != 0 {
		if g := h.groups[paxos.GroupID(e.Group)]; g != nil {
			h.rouse(g)
			h.stain(g)
		}
		return
	}
	if e.Kind != leader.EvLinkUp {
		return
	}
	for _, g := range h.order {
		if g.status.Leading && g.status.Membership.Seat(e.Node) >= 0 {
			g.core.Relinked(e.Node)
			h.rouse(g)
		}
	}
}

// forget takes g out of all that knows it.
func (h *Host) forget(g *group) {
	h.alarms.Set(&g.alarm, 0)
	gone := func(x *group) bool { return x == g }
	delete(h.groups, g.id)
	for _, list := range []*[]*group{&h.order, &h.touched, &h.awake, &h.trims, &h.parting, &h.stale, &h.queue} {
		*list = slices.DeleteFunc(*list, gone)
	}
	h.wishes.Forget(g)
	h.regrouped = true
}

// How much of what is superfluous storage deletes: of so many groups in one tick, and
// of dropped groups in one tick of so many.
const (
	trimGroups = 2
	sweepEvery = 4
)

// toTrim takes note that votes of g are to be dropped.
func (h *Host) toTrim(g *group) {
	if !g.trimming && g.trimTo > g.trimmed {
		g.trimming = true
		h.trims = append(h.trims, g)
	}
}

// giveBack has storage delete some of what is superfluous.
func (h *Host) giveBack() error {
	for range min(trimGroups, len(h.trims)) {
		g := h.trims[0]
		h.trims, g.trimming = h.trims[1:], false
		if err := h.trim(g); err != nil {
			return fmt.Errorf("replica: group %d: %w", g.id, err)
		}
		h.toTrim(g)
	}
	if !h.sweeping || h.ticks%sweepEvery != 0 || slices.ContainsFunc(h.awake, func(g *group) bool { return g.saving }) {
		return nil
	}
	more, err := h.cfg.Storage.Sweep()
	if err != nil {
		return fmt.Errorf("replica: sweep: %w", err)
	}
	h.sweeping = more
	return nil
}
