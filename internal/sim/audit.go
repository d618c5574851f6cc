package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// An audit is a second, simple account of sessions, locks and keys. It takes
// each command as the first node applies it, and compares what that node
// answered with what the account says (I10, I11). It remembers every state, so
// that it can tell what a read after any number of commands must have seen.
type audit struct {
	w        *World
	count    int // commands taken: the revision
	lead     uint64
	sessions map[string]*sessionFacts
	locks    map[string]*lockFacts
	keys     map[string]*keyFacts
	answers  map[string]*given // first answers, by request id
}

type sessionFacts struct {
	alive    bool
	ttl      time.Duration
	renewals uint64
	kept     time.Duration // when the last renewal that was answered was asked for
}

type lockFacts struct {
	holder string // session, "" if the lock is free
	fence  uint64
	last   uint64 // the highest fence ever
	queue  []place
	past   []lockState
}

type place struct{ session, request string }

type lockState struct {
	count   int
	session string
	fence   uint64
}

type keyFacts struct {
	revision uint64 // 0 if there is no entry
	session  string
	past     []keyState
}

type keyState struct {
	count    int
	value    string
	revision uint64
}

// given is the first answer to a request. That to an acquire which got a place
// in a queue changes when its turn comes.
type given struct {
	result locks.Result
}

func newAudit(w *World) *audit {
	return &audit{w: w, sessions: make(map[string]*sessionFacts), locks: make(map[string]*lockFacts),
		keys: make(map[string]*keyFacts), answers: make(map[string]*given)}
}

func (a *audit) fail(invariant, format string, args ...any) {
	oracle.Fail(invariant, "command %d: %s", a.count, fmt.Sprintf(format, args...))
}

// applied takes the next command of the log and the first node's result.
func (a *audit) applied(n *node, slot paxos.Slot, cmd, result []byte) {
	a.count++
	c, err := locks.Decode(cmd)
	if err != nil {
		a.fail("I6", "%s applies at slot %d what is no command: %v", n.name, slot, err)
	}
	got, err := locks.DecodeResult(result)
	if err != nil {
		a.fail("I6", "%s: unreadable result at slot %d: %v", n.name, slot, err)
	}
	var want locks.Result
	switch c := c.(type) {
	case *locks.LeadCommand:
		a.lead = c.Ballot.Pack()
		return
	case *locks.ForgetCommand:
		return
	case *locks.DelayCommand:
		a.fail("I10", "a lock-delay ends that nobody asked for")
	case *locks.ExpireCommand:
		a.expire(c)
		return
	case *locks.CancelCommand:
		want = a.cancel(c)
	case *locks.OpenCommand:
		want = a.once(c.Request, func() locks.Result { return a.open(c) })
	case *locks.EndCommand:
		want = a.once(c.Request, func() locks.Result { return a.end(c) })
	case *locks.AcquireCommand:
		want = a.once(c.Request, func() locks.Result { return a.acquire(c) })
	case *locks.ReleaseCommand:
		want = a.once(c.Request, func() locks.Result { return a.release(c) })
	case *locks.PutCommand:
		want = a.once(c.Request, func() locks.Result { return a.put(c) })
	case *locks.DeleteCommand:
		want = a.once(c.Request, func() locks.Result { return a.remove(c.Key) })
	}
	a.compare(n, c, got, want)
}

// once returns the first answer to r again, or that of do.
func (a *audit) once(r locks.Request, do func() locks.Result) locks.Result {
	if g := a.answers[r.ID]; g != nil {
		res := g.result
		res.Repeated = true
		return res
	}
	g := &given{}
	a.answers[r.ID] = g // before do, which may amend it
	res := do()
	res.Revision = uint64(a.count)
	g.result = res
	return res
}

// compare fails if got is not want in anything that a client relies on.
func (a *audit) compare(n *node, c locks.Command, got, want locks.Result) {
	if got.Refused != want.Refused || got.Code != want.Code || got.Fence != want.Fence || got.Queued != want.Queued ||
		got.Current != want.Current || got.Repeated != want.Repeated || got.Revision != want.Revision {
		inv := "I10"
		if got.Repeated != want.Repeated {
			inv = "I11"
		}
		a.fail(inv, "%s answers %+v to %+v; want %+v", n.name, got, c, want)
	}
}

func refuse(c locks.Code) locks.Result { return locks.Result{Refused: true, Code: c} }

// alive returns the session, or the refusal if it is not alive.
func (a *audit) alive(id string) (*sessionFacts, locks.Result) {
	switch s := a.sessions[id]; {
	case s == nil:
		return nil, refuse(locks.SessionUnknown)
	case !s.alive:
		return nil, refuse(locks.SessionExpired)
	default:
		return s, locks.Result{}
	}
}

func (a *audit) open(c *locks.OpenCommand) locks.Result {
	if a.sessions[c.ID] == nil {
		a.sessions[c.ID] = &sessionFacts{alive: true, ttl: c.TTL, kept: -1}
	}
	return locks.Result{}
}

func (a *audit) end(c *locks.EndCommand) locks.Result {
	if s, no := a.alive(c.ID); s == nil {
		return no
	}
	a.over(c.ID)
	return locks.Result{}
}

// expire ends a session if the command is not void. It must not come before
// the lease that its client knows of has run out (L4).
func (a *audit) expire(c *locks.ExpireCommand) {
	s := a.sessions[c.Session]
	if s == nil || !s.alive || c.Ballot.Pack() != a.lead || c.Renewals != s.renewals {
		return
	}
	least := s.ttl - s.ttl*time.Duration(a.w.opt.MaxDrift)/1e6
	if s.kept >= 0 && a.w.now < s.kept+least {
		a.fail("L4", "session %s expires at %v; it was renewed at %v for %v", c.Session, a.w.now, s.kept, s.ttl)
	}
	a.w.stats.Expired++
	a.over(c.Session)
}

// over ends a session with all that is its own, in this one command.
func (a *audit) over(id string) {
	a.sessions[id].alive = false
	for _, k := range a.keys {
		if k.revision != 0 && k.session == id {
			a.setKey(k, "", 0, "")
		}
	}
	for _, l := range a.locks {
		l.queue = slices.DeleteFunc(l.queue, func(p place) bool {
			if p.session == id {
				a.answers[p.request] = &given{result: a.stamped(refuse(locks.SessionExpired))}
			}
			return p.session == id
		})
		if l.holder == id {
			a.pass(l)
		}
	}
}

// stamped returns r as given at the present revision.
func (a *audit) stamped(r locks.Result) locks.Result {
	r.Revision = uint64(a.count)
	return r
}

func (a *audit) lock(name string) *lockFacts {
	l := a.locks[name]
	if l == nil {
		l = &lockFacts{}
		a.locks[name] = l
	}
	return l
}

// grant gives the free lock l to a session.
func (a *audit) grant(l *lockFacts, session string) {
	if s := a.sessions[session]; l.holder != "" || s == nil || !s.alive {
		a.fail("I10", "a lock held by %q is granted to %q", l.holder, session)
	}
	fence := uint64(a.count)
	if fence <= l.last {
		a.fail("I10", "fence %d follows %d", fence, l.last)
	}
	l.holder, l.fence, l.last = session, fence, fence
	l.past = append(l.past, lockState{a.count, session, fence})
}

// pass takes l from its holder and gives it to the first in the queue.
func (a *audit) pass(l *lockFacts) {
	l.holder, l.fence = "", 0
	l.past = append(l.past, lockState{count: a.count})
	if len(l.queue) == 0 {
		return
	}
	first := l.queue[0].session
	a.grant(l, first)
	l.queue = slices.DeleteFunc(l.queue, func(p place) bool {
		if p.session == first {
			a.answers[p.request] = &given{result: a.stamped(locks.Result{Fence: l.fence})}
		}
		return p.session == first
	})
}

func (a *audit) acquire(c *locks.AcquireCommand) locks.Result {
	s, no := a.alive(c.Session)
	if s == nil {
		return no
	}
	l := a.lock(c.Lock)
	switch {
	case l.holder == c.Session:
		s.renewals++
	case l.holder == "":
		s.renewals++
		a.grant(l, c.Session)
	case !c.Wait:
		return refuse(locks.LockHeld)
	default:
		l.queue = append(l.queue, place{c.Session, c.Request.ID})
		return locks.Result{Queued: true}
	}
	return locks.Result{Fence: l.fence}
}

func (a *audit) cancel(c *locks.CancelCommand) locks.Result {
	l := a.lock(c.Lock)
	i := slices.Index(l.queue, place{c.Session, c.Request.ID})
	if i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
		no := a.stamped(refuse(locks.LockHeld))
		a.answers[c.Request.ID] = &given{result: no}
		return no
	}
	if l.holder == c.Session && c.Session != "" {
		return a.stamped(locks.Result{Fence: l.fence})
	}
	g := a.answers[c.Request.ID]
	if g == nil {
		no := a.stamped(refuse(locks.LockHeld))
		a.answers[c.Request.ID] = &given{result: no}
		return no
	}
	if g.result.Refused {
		return a.stamped(g.result)
	}
	if s, no := a.alive(c.Session); s == nil {
		return a.stamped(no)
	}
	return a.stamped(refuse(locks.LockHeld))
}

func (a *audit) release(c *locks.ReleaseCommand) locks.Result {
	l := a.lock(c.Lock)
	if l.holder == "" || l.fence != c.Fence {
		no := refuse(locks.StaleFence)
		no.Current = l.fence
		return no
	}
	fence := l.fence
	a.pass(l)
	return locks.Result{Fence: fence}
}

func (a *audit) key(name string) *keyFacts {
	k := a.keys[name]
	if k == nil {
		k = &keyFacts{}
		a.keys[name] = k
	}
	return k
}

func (a *audit) setKey(k *keyFacts, value string, revision uint64, session string) {
	k.revision, k.session = revision, session
	k.past = append(k.past, keyState{a.count, value, revision})
}

func (a *audit) put(c *locks.PutCommand) locks.Result {
	k := a.key(c.Key)
	if g := c.Guard; g != nil {
		if l := a.lock(g.Lock); l.holder == "" || l.fence != g.Fence {
			no := refuse(locks.StaleFence)
			no.Current = l.fence
			return no
		}
	}
	if c.IfRevision != nil && *c.IfRevision != k.revision {
		no := refuse(locks.RevisionMismatch)
		no.Current = k.revision
		return no
	}
	if c.Session != "" {
		if s, no := a.alive(c.Session); s == nil {
			return no
		}
	}
	a.setKey(k, string(c.Value), uint64(a.count), c.Session)
	return locks.Result{}
}

func (a *audit) remove(name string) locks.Result {
	if k := a.key(name); k.revision != 0 {
		a.setKey(k, "", 0, "")
	}
	return locks.Result{}
}

// look returns what a read of o's lock or key sees after count commands.
func (a *audit) look(o *op, count int) answer {
	if o.kind == opGet {
		past := a.key(o.name).past
		for i := len(past) - 1; i >= 0; i-- {
			if p := past[i]; p.count <= count {
				return answer{ok: true, exists: p.revision != 0, value: p.value, revision: p.revision}
			}
		}
		return answer{ok: true}
	}
	past := a.lock(o.name).past
	for i := len(past) - 1; i >= 0; i-- {
		if p := past[i]; p.count <= count {
			return answer{ok: true, session: p.session, fence: p.fence}
		}
	}
	return answer{ok: true}
}

// kept notes that a client was told that its lease begins anew; it asked at.
func (a *audit) kept(session string, at time.Duration) {
	if s := a.sessions[session]; s != nil {
		s.kept = max(s.kept, at)
	}
}

// toldDead checks that a session that a client is told is over is over (L7).
func (a *audit) toldDead(session string) {
	if s := a.sessions[session]; s != nil && s.alive {
		a.fail("L7", "a client is told that its session %s is over; it is not", session)
	}
}

// final notes for every operation of the history whether it is in the log, and
// checks that each one that was acknowledged is. Operations whose outcome their
// client does not know get it from the log: that is what the log is for, and it
// keeps the search for a linearization short.
func (a *audit) final() {
	h := &a.w.history
	for i := range h.Ops {
		p := &h.Ops[i]
		if p.reads() {
			continue
		}
		g := a.answers[p.ID]
		p.Applied = g != nil
		if p.Applied && !p.Known {
			p.Out = Outcome{OK: !g.result.Refused, Fence: g.result.Fence}
			if p.Out.Revision = g.result.Revision; g.result.Refused {
				p.Out.Revision = g.result.Current
			}
		}
		if p.Known && !p.Applied && p.Kind != opCancel.String() {
			a.fail("E2", "operation %s was acknowledged and is not in the log", p.ID)
		}
	}
	if a.count != a.w.oracle.Commands() {
		a.fail("E1", "%d commands are chosen, %d are applied", a.w.oracle.Commands(), a.count)
	}
}
