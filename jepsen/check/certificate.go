package check

import (
	"fmt"
	"maps"
	"slices"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/model"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// A proof replays the log and puts every answer to its place in it.
type proof struct {
	*facts
	agreement, effects, answers, reads, machine, time *verdict.Check

	state   *model.State
	m       Machine
	strange string                    // the first command that the model does not know
	byID    map[string][]int          // commands with a caller's request
	cancels map[string][]model.Answer // what giving up a place was answered
	at      []model.Answer            // of each command
	looks   map[uint64][]*look        // reads, by a revision that they may have seen
	all     []*look
	holders map[string][]locks.Event // of each lock, for L1
	slots   map[string]int
}

// A look is a read that waits for its state.
type look struct {
	point
	seen bool   // it fits one
	why  string // it does not fit the last that was tried
}

// certify makes the certificate, and fills in what the log tells of the run.
func certify(f *facts, log *decided.Log) []*verdict.Check {
	f.opened, f.dead, f.expired, f.grants = map[string]uint64{}, map[string]uint64{}, map[string]bool{}, map[grant]*span{}
	p := &proof{
		facts:     f,
		agreement: verdict.New("agreement", "all nodes have decided the same value in each slot"),
		effects:   verdict.New("effects", "a request has one effect if it was acknowledged, at most one if nobody knows, none if it failed"),
		answers:   verdict.New("answers", "each answer to a change is that of the log at its revision"),
		reads:     verdict.New("reads", "each read saw the state at its revision"),
		machine:   verdict.New("machine", "the lock machine does what the model does, on every command of the log"),
		time:      verdict.New("real-time", "the order of the log does not contradict the clock: what began later comes later"),
		state:     model.New(), byID: map[string][]int{}, cancels: map[string][]model.Answer{},
		looks: map[uint64][]*look{}, holders: map[string][]locks.Event{}, slots: map[string]int{},
	}
	checks := []*verdict.Check{p.agreement, p.effects, p.answers, p.reads, p.machine, p.time}
	if log == nil {
		return unknown(checks, "there is no log to compare with")
	}
	for _, c := range log.Conflicts {
		p.agreement.Fail(fmt.Sprintf("slot %d: %s", c.Slot, c.Text))
	}
	p.agreement.Counts["slots"], p.agreement.Counts["nodes"] = int64(len(log.Slots)), int64(len(log.Nodes))
	if err := log.Whole(); err != nil {
		return unknown(checks, err.Error())
	}
	f.log, f.final = log, log.Final()
	p.run()
	for _, o := range f.h.Ops {
		if o.Changes() {
			p.change(o)
		}
	}
	p.judgeReads()
	p.order()
	f.settle()
	if p.strange != "" {
		for _, c := range checks[1:] {
			c.Doubt("%s", p.strange)
		}
	}
	return checks
}

func unknown(checks []*verdict.Check, why string) []*verdict.Check {
	for _, c := range checks {
		c.Doubt("%s", why)
	}
	return checks
}

// run replays the log.
func (p *proof) run() {
	p.m = p.opts.NewMachine()
	for _, o := range p.h.Ops {
		p.await(o)
	}
	p.look(0)
	for i := range p.log.Commands {
		c := &p.log.Commands[i]
		if c.Request != "" && !c.Own {
			p.byID[c.Request] = append(p.byID[c.Request], i)
		}
		raw := p.m.Apply(paxos.Slot(c.Slot), c.Raw, 0)
		res, err := locks.DecodeResult(raw)
		if err != nil {
			p.machine.Fail(fmt.Sprintf("revision %d: the machine's answer cannot be read: %v", c.Revision, err))
		}
		p.at = append(p.at, p.apply(c, res))
		p.events(c.Revision)
		if p.strange == "" {
			p.compareLocks(c.Revision)
			p.look(c.Revision)
		}
	}
	if p.strange == "" {
		p.compareEnd()
	}
	p.machine.Counts["commands"] = int64(len(p.log.Commands))
	p.free = waiting(p.m)
	p.m.View(func(v locks.View) { _, p.oldest = v.Changes(p.log.Last()) })
}

// limited reports whether a refusal says that nothing happened because something was
// full, or because the request was too old: the model has no such limits.
func limited(r locks.Result) bool {
	return r.Refused && (r.Code == locks.Overloaded || r.Code == locks.TooLarge || r.Code == locks.OutcomeUnknown ||
		r.Code == locks.KeyReused)
}

// apply takes a command that the machine answered with res to the model, and compares.
func (p *proof) apply(c *decided.Command, res locks.Result) model.Answer {
	if p.strange != "" {
		return model.Answer{}
	}
	if limited(res) {
		p.machine.Counts["refused for a limit"]++
		p.state.Skip()
		return model.Answer{Code: codes[res.Code], Revision: c.Revision}
	}
	a, known := p.state.Apply(c.Command)
	if !known {
		p.strange = fmt.Sprintf("revision %d is a %T, which the model does not know: nothing is said from there on", c.Revision, c.Command)
		return a
	}
	if cancel, ok := c.Command.(*locks.CancelCommand); ok && !cancel.Request.Own {
		p.cancels[cancel.Request.ID] = append(p.cancels[cancel.Request.ID], a)
	}
	if a.Repeated && !res.Repeated && !res.Refused {
		p.effects.Fail(fmt.Sprintf("request %s was answered at revision %d and has a second effect at revision %d (slot %d)",
			c.Request, a.Revision, c.Revision, c.Slot))
	}
	if text := differs(c.Command, res, a); text != "" {
		p.machine.Fail(fmt.Sprintf("revision %d (slot %d), %T: %s", c.Revision, c.Slot, c.Command, text))
	}
	return a
}

// compareLocks compares the locks that a command changed.
func (p *proof) compareLocks(revision uint64) {
	slices.Sort(p.state.Changed)
	for _, name := range slices.Compact(p.state.Changed) {
		var got locks.Lock
		p.m.View(func(v locks.View) { got, _ = v.Lock(name, 0) })
		var is, must []string
		for _, h := range got.Holders {
			is = append(is, fmt.Sprintf("%s with fence %d, shared %v, value %q", h.Session, h.Fence, h.Mode == locks.Shared, h.Value))
		}
		if l := p.state.Locks[name]; l != nil {
			for _, g := range l.Holders {
				must = append(must, fmt.Sprintf("%s with fence %d, shared %v, value %q", g.Session, g.Fence, g.Shared, g.Value))
			}
		}
		if got.Yield != nil {
			is = append(is, fmt.Sprintf("asked to yield at %d", got.Yield.Since))
		}
		if l := p.state.Locks[name]; l != nil && l.Yield.Since != 0 {
			must = append(must, fmt.Sprintf("asked to yield at %d", l.Yield.Since))
		}
		if !slices.Equal(is, must) {
			p.machine.Fail(fmt.Sprintf("revision %d: lock %s is held by %v; in the model by %v", revision, name, is, must))
		}
	}
}

// compareEnd compares the registers and sessions that are left.
func (p *proof) compareEnd() {
	entries, sessions := map[string]model.Entry{}, map[string]bool{}
	p.m.View(func(v locks.View) {
		all, _ := v.Entries()
		for key, e := range all.From("") {
			entries[key] = model.Entry{Value: string(e.Value), Revision: e.Revision, Session: e.Session}
		}
		for s := range v.Sessions("") {
			sessions[s.ID] = true
		}
	})
	if !maps.Equal(entries, p.state.Entries) {
		p.machine.Fail(fmt.Sprintf("in the end the machine has the entries %v; the model %v", entries, p.state.Entries))
	}
	alive := map[string]bool{}
	for id := range p.state.Sessions {
		alive[id] = true
	}
	for resource, must := range p.state.Fences {
		var is uint64
		p.m.View(func(v locks.View) { is, _ = v.Fence(resource) })
		if is != must {
			p.machine.Fail(fmt.Sprintf("in the end resource %s has seen fence %d; in the model %d", resource, is, must))
		}
	}
	if !maps.Equal(sessions, alive) {
		p.machine.Fail(fmt.Sprintf("in the end the machine has the sessions %v; the model %v", sessions, alive))
	}
}

// events takes what a command did, as the machine tells it.
func (p *proof) events(revision uint64) {
	var changes []*locks.Change
	p.m.View(func(v locks.View) { changes, _ = v.Changes(revision - 1) })
	for _, ch := range changes {
		p.changes = append(p.changes, ch)
		for i := range ch.Events {
			p.event(&ch.Events[i], ch.Revision)
		}
		for i := range ch.Events { // a command may end one grant and make another
			p.exclusive(&ch.Events[i], ch.Revision)
		}
	}
}

func (p *proof) event(e *locks.Event, revision uint64) {
	g := grant{e.Name, e.Fence, e.Session}
	switch e.Type {
	case locks.EventSession:
		if e.Reason == "opened" {
			p.opened[e.Name] = revision
			return
		}
		p.dead[e.Name] = revision
		p.expired[e.Name] = e.Reason == locks.ReasonExpired
		for lock, held := range p.holders {
			for _, h := range held {
				if h.Session == e.Name {
					g := grant{lock, h.Fence, h.Session}
					if p.grants[g].to == 0 {
						p.grants[g].to = revision // or the event of its end is missing: exclusive notes that
					}
				}
			}
		}
	case locks.EventLock, locks.EventLeader:
		if p.grants[g] == nil {
			p.grants[g] = &span{from: revision}
		}
		held := slices.DeleteFunc(p.holders[e.Name], func(h locks.Event) bool { return h.Session == e.Session })
		p.holders[e.Name] = append(held, *e)
	case locks.EventUnlock:
		if s := p.grants[g]; s != nil {
			s.to = revision
		}
		p.holders[e.Name] = slices.DeleteFunc(p.holders[e.Name], func(h locks.Event) bool {
			return h.Session == e.Session && h.Fence == e.Fence
		})
	}
}

// exclusive looks whether a lock that e is about has more holders than it may, or
// dead ones.
func (p *proof) exclusive(e *locks.Event, revision uint64) {
	if e.Type == locks.EventSession && p.dead[e.Name] == revision {
		for lock, held := range p.holders {
			if slices.ContainsFunc(held, func(h locks.Event) bool { return h.Session == e.Name }) {
				p.breach = append(p.breach, breach{revision, fmt.Sprintf("session %s is over, and still holds %s", e.Name, lock)})
			}
		}
	}
	if e.Type != locks.EventLock && e.Type != locks.EventLeader {
		return
	}
	held := p.holders[e.Name]
	var slots int
	p.m.View(func(v locks.View) {
		l, _ := v.Lock(e.Name, 0)
		slots = max(l.Slots, 1)
	})
	writers := 0
	for _, h := range held {
		if h.Mode == locks.Exclusive {
			writers++
		}
		if p.dead[h.Session] != 0 {
			p.breach = append(p.breach, breach{revision, fmt.Sprintf("%s is granted to session %s, which is over since revision %d", e.Name, h.Session, p.dead[h.Session])})
		}
	}
	if writers > slots || writers > 0 && len(held) > slots {
		p.breach = append(p.breach, breach{revision, fmt.Sprintf("%s has %d slots and %d holders", e.Name, slots, len(held))})
	}
}

// await notes o as a read that waits for its state.
func (p *proof) await(o *ops.Op) {
	reads := o.F == history.Get || o.F == history.Holder || o.F == history.KeepAlive || o.F == history.GetFence
	if !reads || !o.Answered() {
		return
	}
	l := &look{point: point{op: o}}
	from, to, ok := p.log.At(o.Slot)
	switch {
	case o.Revision == 0 && o.Slot == 0:
		p.reads.Doubt("line %d names neither a revision nor a slot", o.Seq)
		return
	case o.Revision != 0:
		l.lo, l.hi = o.Revision, o.Revision
		if o.F != history.KeepAlive && ok && (o.Revision < from || o.Revision > to) {
			p.reads.Fail(fmt.Sprintf("slot %d has revisions %d to %d, and the answer names another", o.Slot, from, to), about(o))
		}
	case ok:
		l.lo, l.hi = from, to
	}
	if o.Revision == 0 && !ok || l.hi > p.log.Last() {
		p.reads.Fail("the answer is from a state that the log does not come to", about(o))
		return
	}
	p.all = append(p.all, l)
	p.points = append(p.points, l.point)
	for r := l.lo; r <= l.hi; r++ {
		p.looks[r] = append(p.looks[r], l)
	}
}

// look tries the reads that may have seen the present state.
func (p *proof) look(revision uint64) {
	for _, l := range p.looks[revision] {
		if !l.seen {
			l.why = misread(p.state, l.op)
			l.seen = l.why == ""
		}
	}
}

func (p *proof) judgeReads() {
	for _, l := range p.all {
		if !l.seen && (p.strange == "" || l.why != "") {
			p.reads.Fail(fmt.Sprintf("at revision %d: %s", l.hi, l.why), about(l.op))
		}
	}
	for _, o := range p.h.Ops { // those that were told of no place in the log
		told := o.Kind == history.Fail && o.Slot == 0 && o.F == history.KeepAlive
		if told && p.strange == "" && (o.Code == sessionExpired || o.Code == sessionUnknown) && !p.over(o) {
			p.reads.Fail("a session is said to be over, and in the log it is not", about(o))
		}
	}
	p.reads.Counts["reads"] = int64(len(p.all))
}

// over reports whether the session that o is about has an end in the log, or no
// beginning.
func (p *proof) over(o *ops.Op) bool {
	id := o.Session
	if id == "" {
		id = o.Key
	}
	return p.dead[id] != 0 || p.opened[id] == 0
}
