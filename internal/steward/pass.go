package steward

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// pass looks at the groups about which something has changed, or is left to do, and
// returns after how long to look again.
func (s *Steward) pass(ctx context.Context, now time.Time, errands *sync.WaitGroup) (time.Duration, error) {
	old := s.view
	s.view = s.cfg.Directory.View()
	s.mu.Lock()
	due, all := s.dirty, s.all || now.Sub(s.lookedAt) >= s.every() || lastRemoved(old) != lastRemoved(s.view)
	s.dirty, s.all = map[paxos.GroupID]bool{}, false
	s.mu.Unlock()
	for g := range due { //lint:ordered each by itself
		s.care(g).echo = echoes
	}
	changed(old, s.view, due)
	if all {
		s.lookedAt = now
		s.everything(due)
	}
	for g, c := range s.cares { //lint:ordered into a set
		if !c.busy && !now.Before(c.next) && !c.next.IsZero() {
			due[g] = true
		}
	}
	r := s.round(now)
	s.births.begin(now)
	if err := s.removed(now); err != nil {
		return 0, err
	}
	for _, g := range slices.Sorted(maps.Keys(due)) {
		if c := s.cares[g]; c != nil && c.busy {
			continue // it is looked at when the errand ends
		}
		if s.errands >= maxErrands {
			s.care(g).next = now // the end of an errand makes room
			continue
		}
		s.look(ctx, r, g, errands)
	}
	next := s.every()
	for _, c := range s.cares { //lint:ordered the least of them
		if !c.busy && s.errands < maxErrands {
			next = min(next, max(c.next.Sub(now), 0))
		}
	}
	if !s.outSince.IsZero() {
		next = min(next, againSoon)
	}
	return max(next, time.Millisecond), nil
}

// lastRemoved returns the node that was removed last.
func lastRemoved(v *directory.View) (r directory.Removed) {
	if v == nil || len(v.Removed()) == 0 {
		return r
	}
	return v.Removed()[len(v.Removed())-1]
}

// every is how often all groups are looked at: more often while a member may be due to
// be replaced.
func (s *Steward) every() time.Duration {
	if s.cfg.ReplaceAfter > 0 && len(s.dead) > 0 {
		return max(againLater, min(lookEvery, s.cfg.ReplaceAfter/2))
	}
	return lookEvery
}

// changed adds to due the groups that differ between two views.
func changed(from, to *directory.View, due map[paxos.GroupID]bool) {
	if from == to {
		return
	}
	for _, g := range to.Groups() {
		if from == nil || from.Group(g.ID) != g {
			due[g.ID] = true
		}
	}
	if from == nil {
		return
	}
	for _, g := range from.Groups() {
		if to.Group(g.ID) == nil {
			due[g.ID] = true
		}
	}
}

// everything adds all groups that are known or here.
func (s *Steward) everything(due map[paxos.GroupID]bool) {
	for _, g := range s.view.Groups() {
		due[g.ID] = true
	}
	here, _ := s.cfg.Host.Status()
	for _, g := range here {
		due[g.Group] = true
	}
}

// A round is what one pass knows about the world.
type round struct {
	now   time.Time
	list  []Peer // by ID
	peers map[synod.NodeID]Peer
	up    map[synod.NodeID]bool // by direct links, this node too

	changes int // that wait for leaders here, or are being begun
}

// round looks around.
func (s *Steward) round(now time.Time) *round {
	r := &round{now: now, list: s.cfg.Peers(), peers: map[synod.NodeID]Peer{}, up: map[synod.NodeID]bool{s.cfg.Self: true}}
	for _, p := range r.list {
		r.peers[p.ID] = p
	}
	_, links := s.cfg.Host.Status()
	for _, l := range links {
		r.up[l.Peer] = l.Up
	}
	for _, c := range s.cares { //lint:ordered counts
		if c.plan != 0 || c.adding != 0 {
			r.changes++
		}
	}
	for id := range s.dead { //lint:ordered each by itself
		if p, ok := r.peers[id]; ok && p.Gossip != "dead" {
			delete(s.dead, id)
		}
	}
	for id, p := range r.peers { //lint:ordered each by itself
		if _, ok := s.dead[id]; !ok && p.Gossip == "dead" {
			s.dead[id] = now
		}
	}
	return r
}

// removed is an error if this node was removed and has no vote any more.
func (s *Steward) removed(now time.Time) error {
	if _, gone := s.view.RemovedNode(s.cfg.Self); !gone {
		return nil
	}
	for _, g := range s.view.Groups() {
		if seat(g.Members, s.cfg.Self) {
			s.outSince = time.Time{}
			return nil
		}
	}
	if s.outSince.IsZero() {
		s.outSince = now
	}
	out := now.Sub(s.outSince)
	if here, _ := s.cfg.Host.Status(); out < stopAfter || out < holdFor && needed(s.cfg.Self, here) {
		return nil
	}
	return ErrRemoved
}

// needed reports whether others may need what this node knows of a group: it believes
// to be a voter yet, or is not relieved.
func needed(self synod.NodeID, here []replica.GroupStatus) bool {
	return slices.ContainsFunc(here, func(g replica.GroupStatus) bool {
		return g.Membership.ID > 0 && (g.Membership.Seat(self) >= 0 || !g.Relieved)
	})
}

// look does what is to be done about one group.
func (s *Steward) look(ctx context.Context, r *round, id paxos.GroupID, errands *sync.WaitGroup) {
	p := s.picture(r, id)
	a := decide(p)
	c := s.cares[id]
	if a.kind == nothing && c != nil && c.echo > 0 {
		// What the event loop has told of may not be shown yet.
		c.echo--
		c.next, c.since, c.plan = r.now.Add(againSoon), time.Time{}, 0
		return
	}
	if a.kind == nothing {
		delete(s.cares, id)
		return
	}
	if c == nil {
		c = s.care(id)
	}
	s.wait(c, p, a)
	switch a.kind {
	case waits:
		c.next = r.now.Add(max(againSoon, a.after))
		return
	case learns:
		s.cfg.Host.Learn(id, a.from)
		c.next = r.now.Add(againLater)
		return
	case creates:
		if when, ok := s.births.take(id, r.now); !ok {
			c.next = when
			return
		}
	case begins, replaces:
		r.changes++
		if a.kind == replaces {
			s.replaced = append(s.replaced, r.now)
		}
	}
	c.busy = true
	c.adding = a.plan.Add.Node
	s.errands++
	errands.Go(func() {
		within, cancel := context.WithTimeout(ctx, errandTime)
		defer cancel()
		s.ended <- ended{id, a, s.run(within, id, p, a)}
	})
}

// wait keeps since when a group waits, and tells people why once.
func (s *Steward) wait(c *care, p picture, a act) {
	var plan uint64
	if p.group != nil && p.here && p.st.Leading {
		plan = p.group.Plan.ID
	}
	if c.since.IsZero() || c.plan != plan {
		c.since, c.plan, c.told, c.why = p.now, plan, "", ""
	}
	if a.kind != waits {
		c.why = ""
	} else if a.why != c.why {
		c.why, c.waits = a.why, p.now
	}
	if a.kind != waits || a.why == "" || a.why == c.told || p.now.Sub(c.since) < againLater {
		return
	}
	c.told = a.why
	s.tell(KindChangeWaits, p.group.Name, s.nameOf(a.node), a.why, fmt.Sprintf("the change of the members of %s waits", p.group.Name))
}

// picture is all that decide looks at.
func (s *Steward) picture(r *round, id paxos.GroupID) picture {
	p := picture{
		now: r.now, self: s.cfg.Self, id: id, group: s.view.Group(id), current: s.current, refused: s.refused[id],
		up: r.up, gone: s.view.RemovedNode,
		alive:    func(n synod.NodeID) bool { return r.peers[n].Alive },
		replaces: func() bool { return s.cfg.ReplaceAfter > 0 && s.mayReplace(r.now) },
		dead: func(n synod.NodeID) bool {
			since, ok := s.dead[n]
			return ok && r.now.Sub(since) >= s.cfg.ReplaceAfter
		},
		replaceFrom: s.cfg.ReplaceFrom,
	}
	p.st, p.here = s.cfg.Host.Group(id)
	if c := s.cares[id]; c != nil {
		p.since = c.since
		if p.group != nil && c.plan != p.group.Plan.ID && p.st.Leading {
			p.since = r.now
		}
	}
	if p.since.IsZero() {
		p.since = r.now
	}
	why, waited := "", time.Duration(0)
	if c := s.cares[id]; c != nil && p.group != nil && c.plan == p.group.Plan.ID {
		why, waited = c.why, r.now.Sub(c.waits)
	}
	p.stuck = func(w string) time.Duration {
		if w != why {
			return 0
		}
		return waited
	}
	p.busy = r.changes >= maxChanges
	p.spare = func(w wish) (paxos.Member, string, bool) { return s.spare(r, p.group, w) }
	p.worst = func() (synod.NodeID, string) { return s.worst(r, p.group, p.st.Membership) }
	return p
}

// mayReplace reports whether few enough dead members were replaced within a minute.
func (s *Steward) mayReplace(now time.Time) bool {
	s.replaced = slices.DeleteFunc(s.replaced, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	return len(s.replaced) < maxReplaced
}

// run is an errand.
func (s *Steward) run(ctx context.Context, id paxos.GroupID, p picture, a act) error {
	switch a.kind {
	case creates:
		return s.cfg.Host.Create(ctx, id, p.group.First)
	case drops, leaves:
		end := s.cfg.Host.Leave
		if a.kind == drops {
			end = s.cfg.Host.Drop
		}
		err := end(ctx, id)
		if err == nil {
			s.cfg.Log.Info("this node has no part in a group any more", "group", s.name(id), "why", a.why)
		}
		return err
	case adds, removes:
		return s.reconfigure(ctx, p, a)
	case handsOver:
		_, err := s.cfg.Host.HandOver(ctx, id, 0)
		return err
	case reports:
		_, err := s.command(ctx, &directory.Report{ID: id, Config: p.st.Membership.ID, Members: p.st.Membership.Voters})
		return err
	case begins, replaces:
		a.plan.Why = a.plan.Why[:min(len(a.plan.Why), directory.MaxText)]
		res, err := s.command(ctx, &directory.Begin{ID: id, Config: p.group.Config, Plan: a.plan})
		if err == nil && res.Code != directory.Busy && res.Code != directory.Stale {
			err = problemOf(res)
		}
		if err == nil && res.Code == directory.OK {
			s.tell(KindChangeBegun, p.group.Name, a.plan.Add.Name, a.plan.Why, fmt.Sprintf("the members of %s are to change", p.group.Name))
		}
		return err
	case givesUp:
		res, err := s.command(ctx, &directory.Cancel{ID: id, Plan: p.group.Plan.ID})
		if err == nil && res.Code == directory.OK {
			s.tell(KindChangeGivenUp, p.group.Name, s.nameOf(a.node), a.why, fmt.Sprintf("the change of the members of %s is given up", p.group.Name))
		}
		return err
	}
	return nil
}

// reconfigure proposes the next configuration of a group that this node leads.
func (s *Steward) reconfigure(ctx context.Context, p picture, a act) error {
	err := s.cfg.Host.Reconfigure(ctx, p.id, func(m paxos.Membership) (paxos.Membership, error) {
		if m.ID != p.st.Membership.ID {
			return m, fmt.Errorf("configuration %d is in force, not %d", m.ID, p.st.Membership.ID)
		}
		if a.kind == adds {
			return m.With(a.member, m.Ordinal(s.cfg.Self)), nil
		}
		return m.Without(a.node, m.Ordinal(s.cfg.Self)), nil
	})
	if err != nil {
		return err
	}
	if a.kind == adds {
		s.tell(KindVoterAdded, p.group.Name, a.member.Name, p.group.Plan.Why, fmt.Sprintf("%s is a voter of %s now", a.member.Name, p.group.Name))
	} else {
		s.tell(KindVoterRemoved, p.group.Name, s.nameOf(a.node), p.group.Plan.Why, fmt.Sprintf("%s is no voter of %s any more", s.nameOf(a.node), p.group.Name))
	}
	return nil
}

// The kinds of events.
const (
	KindChangeBegun   = "change-begun"    // of the members of the group
	KindChangeWaits   = "change-waits"    // for what the reason says
	KindChangeGivenUp = "change-given-up" // before it was carried out
	KindVoterAdded    = "voter-added"     // the peer, to the group
	KindVoterRemoved  = "voter-removed"   // the peer, from the group
)

func (s *Steward) tell(kind, group, peer, reason, text string) {
	s.cfg.Log.Info(text, "event", kind, "group", group, "peer", peer, "reason", reason)
	s.cfg.Event(api.NodeEvent{Kind: kind, Group: group, Peer: peer, Reason: reason, Text: text})
}

// seat reports whether node is among the members.
func seat(members []paxos.Member, node synod.NodeID) bool {
	return slices.ContainsFunc(members, func(m paxos.Member) bool { return m.Node == node })
}

var _ Host = (*replica.Host)(nil)
