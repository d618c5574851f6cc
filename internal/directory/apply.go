package directory

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// apply does what c says, or says why not.
func (m *Machine) apply(c Command) Result {
	switch c := c.(type) {
	case *Create:
		return m.create(c)
	case *Delete:
		return m.delete(c)
	case *Resize:
		return m.resize(c)
	case *Begin:
		return m.begin(c)
	case *Cancel:
		return m.cancel(c)
	case *Report:
		return m.report(c)
	case *Remove:
		return m.remove(c)
	}
	return Result{Code: Unreadable, Detail: fmt.Sprintf("directory: no command: %T", c)}
}

func (m *Machine) create(c *Create) Result {
	v := m.view
	if r, ok := m.made(c); ok {
		return r
	}
	if g := v.Named(c.Name); g != nil { // whoever asks for it may have found no members
		return Result{Code: Exists, Detail: fmt.Sprintf("there is a group %s already", c.Name), Group: g}
	}
	if err := c.check(); err != nil {
		return Result{Code: Invalid, Detail: err.Error()}
	}
	for _, n := range c.Members {
		if r, ok := v.refused(n.Node); ok {
			return r
		}
	}
	if len(v.byID) >= MaxGroups {
		return Result{Code: Full, Detail: fmt.Sprintf("there are %d groups, which is as many as there may be", len(v.byID))}
	}
	voters := slices.SortedFunc(slices.Values(c.Members), func(a, b paxos.Member) int { return cmp.Compare(a.Node, b.Node) })
	for i := range voters {
		voters[i].Ordinal = synod.Ordinal(i + 1)
	}
	g := &Group{
		ID: v.next, Name: c.Name, Replicas: c.Replicas, Zones: c.Zones, Near: c.Near,
		First:  paxos.Membership{ID: 1, Voters: voters, Next: synod.Ordinal(len(voters) + 1)},
		Config: 1, Members: voters, Request: c.Request,
	}
	v = m.own()
	v.next++
	v.put(g)
	if g.Request != "" {
		m.requests[g.Request] = g.ID
	}
	return Result{Group: g}
}

// made finds the answer to a Create whose request was seen before.
func (m *Machine) made(c *Create) (r Result, ok bool) {
	if c.Request == "" {
		return r, false
	}
	if id, ok := m.requests[c.Request]; ok {
		g := m.view.Group(id)
		if g.Name != c.Name {
			return Result{Code: Invalid, Detail: fmt.Sprintf("the request made group %s before; it cannot make another", g.Name), Group: g}, true
		}
		return Result{Group: g}, true
	}
	i := slices.IndexFunc(m.view.past, func(d deleted) bool { return d.made == c.Request })
	if i < 0 {
		return r, false
	}
	return Result{Code: Unknown, Detail: fmt.Sprintf("the group that the request made, %d, was deleted since", m.view.past[i].id)}, true
}

// refused says that node n may have no part in anything, if so.
func (v *View) refused(n synod.NodeID) (r Result, ok bool) {
	gone, ok := v.RemovedNode(n)
	if !ok || mutant.On(mutant.ForgetsRemove) {
		return r, false
	}
	return Result{Code: NodeRemoved, Detail: fmt.Sprintf("node %v%s was removed from the cluster", n, parenthesis(gone.Name))}, true
}

// parenthesis puts a name that is known behind an id.
func parenthesis(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

func (m *Machine) delete(c *Delete) Result {
	if c.Request != "" {
		if i := slices.IndexFunc(m.view.past, func(d deleted) bool { return d.gone == c.Request }); i >= 0 {
			return Result{Version: m.view.past[i].version}
		}
	}
	if err := checkText("request", c.Request); err != nil {
		return Result{Code: Invalid, Detail: err.Error()}
	}
	g := m.view.Group(c.ID)
	switch {
	case g == nil:
		return unknown(c.ID)
	case c.ID == paxos.Main:
		return Result{Code: IsMain, Detail: "group main cannot be deleted: the other groups are listed in it", Group: g}
	}
	v := m.own()
	v.drop(g)
	delete(m.requests, g.Request)
	v.past = bounded(append(v.past, deleted{g.ID, g.Request, c.Request, v.Version}), MaxDeleted)
	return Result{}
}

// bounded returns the last n of s.
func bounded[T any](s []T, n int) []T { return s[max(0, len(s)-n):] }

func unknown(id paxos.GroupID) Result {
	return Result{Code: Unknown, Detail: fmt.Sprintf("there is no group with id %d", id)}
}

func (m *Machine) resize(c *Resize) Result {
	g := m.view.Group(c.ID)
	if g == nil {
		return unknown(c.ID)
	}
	if err := checkReplicas(c.Replicas); err != nil {
		return Result{Code: Invalid, Detail: err.Error(), Group: g}
	}
	if g.Replicas == c.Replicas {
		return Result{Code: Unneeded, Detail: fmt.Sprintf("group %s has that size already: %d", g.Name, c.Replicas), Group: g}
	}
	return m.change(g, func(g *Group) { g.Replicas = c.Replicas })
}

// change replaces g by a copy that f has changed.
func (m *Machine) change(g *Group, f func(g *Group)) Result {
	next := *g
	f(&next)
	m.own().put(&next)
	return Result{Group: &next}
}

func (m *Machine) begin(c *Begin) Result {
	g := m.view.Group(c.ID)
	if g == nil {
		return unknown(c.ID)
	}
	if g.Plan.ID != 0 {
		return Result{Code: Busy, Detail: fmt.Sprintf("change %d of group %s is under way: %s", g.Plan.ID, g.Name, g.Plan.Why), Group: g}
	}
	if (g.Config != c.Config || c.Config == 0) && !mutant.On(mutant.StaleChange) {
		return Result{Code: Stale, Detail: fmt.Sprintf("group %s is in configuration %d; the change is meant for %d", g.Name, g.Config, c.Config), Group: g}
	}
	if err := c.Plan.check(g); err != nil {
		return Result{Code: Invalid, Detail: fmt.Sprintf("group %s: %v", g.Name, err), Group: g}
	}
	if c.Replicas > MaxReplicas {
		return Result{Code: Invalid, Detail: checkReplicas(c.Replicas).Error(), Group: g}
	}
	if r, ok := m.view.refused(c.Plan.Add.Node); ok {
		r.Group = g
		return r
	}
	plan := c.Plan
	plan.Add.Ordinal = 0
	plan.ID = m.view.plans + 1
	r := m.change(g, func(g *Group) { g.Plan, g.Replicas = plan, max(g.Replicas, c.Replicas) })
	m.view.plans++
	return r
}

func (m *Machine) cancel(c *Cancel) Result {
	g := m.view.Group(c.ID)
	if g == nil {
		return unknown(c.ID)
	}
	if c.Plan == 0 || g.Plan.ID != c.Plan {
		return Result{Code: Stale, Detail: fmt.Sprintf("change %d of group %s is not under way", c.Plan, g.Name), Group: g}
	}
	return m.change(g, func(g *Group) { g.Plan = Plan{} })
}

func (m *Machine) report(c *Report) Result {
	g := m.view.Group(c.ID)
	switch {
	case g == nil:
		return unknown(c.ID)
	case c.Config < g.Config:
		return Result{Code: Stale, Detail: fmt.Sprintf("group %s has reported configuration %d; this is %d", g.Name, g.Config, c.Config), Group: g}
	case c.Config == g.Config:
		return Result{Code: Unneeded, Detail: fmt.Sprintf("group %s has reported configuration %d already", g.Name, c.Config), Group: g}
	}
	if err := checkMembers(c.Members, MaxReplicas+1); err != nil {
		return Result{Code: Invalid, Detail: fmt.Sprintf("group %s: %v", g.Name, err), Group: g}
	}
	return m.change(g, func(g *Group) {
		g.Config, g.Members = c.Config, c.Members
		if g.Plan.carried(g.Members) {
			g.Plan = Plan{}
		}
	})
}

func (m *Machine) remove(c *Remove) Result {
	v := m.view
	if err := c.check(); err != nil {
		return Result{Code: Invalid, Detail: err.Error()}
	}
	at, gone := slices.BinarySearch(v.gone, c.Node)
	if gone {
		return Result{Code: Unneeded, Detail: fmt.Sprintf("node %v%s was removed already", c.Node, parenthesis(c.Name))}
	}
	if r, ok := v.refused(c.By); ok {
		return r
	}
	if len(v.gone) >= MaxGone {
		return Result{Code: Full, Detail: fmt.Sprintf("%d nodes were removed, which is as many as can be remembered", len(v.gone))}
	}
	v = m.own()
	v.gone = slices.Insert(slices.Clone(v.gone), at, c.Node) // others may see the old one
	v.removed = bounded(append(v.removed, Removed(*c)), MaxRemoved)
	for _, g := range v.byID {
		if g.Plan.Add.Node == c.Node {
			next := *g
			next.Plan = Plan{}
			v.put(&next)
		}
	}
	return Result{}
}
