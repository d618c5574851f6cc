package locks

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"github.com/prytany/prytany/locks/internal/due"
	"github.com/prytany/prytany/synod"
)

const (
	maxDue      = 100                    // commands that one Lead may return
	maxSmear    = 500 * time.Millisecond // a new leader spreads equal deadlines so far
	repeatAfter = 2 * time.Second        // an end that is proposed and has not been applied is proposed again
	keepAnswers = 10 * time.Minute       // answers to callers' keys, at least
	keepOwn     = time.Minute            // answers to the service's own ids, at least
	sampleEvery = time.Second
)

// A lessor is the leader's private memory of when leases and lock-delays run
// out, by its own clock: no deadline is replicated, and no two clocks are
// compared. It proposes; only the log ends anything. A new leader starts every
// lease and lock-delay in full, so a change of leader lengthens and never
// shortens them. The zero lessor does not lead.
type lessor struct {
	ballot  synod.Ballot
	leading bool
	started bool // our LeadCommand is applied
	timers  map[timerKey]*timer
	due     due.Queue[*timer]
	samples []sample // oldest first: which revision was when
}

type timerKey struct {
	lock bool // or a session
	name string
}

// A timer is the lease of a session or the lock-delay of a lock.
type timer struct {
	key       timerKey
	session   *session
	lock      *lock
	proposed  bool // its end is proposed; until that is applied nobody knows
	due.Place      // At is when to propose its end
}

// Before orders timers by when they are due, then by name.
func (t *timer) Before(o *timer) bool {
	if t.At == o.At && t.key.lock != o.key.lock {
		return o.key.lock
	}
	return cmp.Or(cmp.Compare(t.At, o.At), cmp.Compare(t.key.name, o.key.name)) < 0
}

type sample struct {
	revision uint64
	at       time.Duration
}

// Lead is called when this node begins to lead with ballot b, and again and
// again while it does. It returns commands to propose: first a [LeadCommand];
// once that is applied, the end of leases and lock-delays that have run out,
// oldest first and at most 100 at a time, and of old answers. now is the same
// clock as Apply's.
//
// The LeadCommand is proposed once. A second one could be left over in a slot
// that was not chosen, and be taken up long after another has led: with it, an
// expiry left over behind it would count again, and end a session that the
// other leader had kept alive.
func (m *Machine) Lead(b synod.Ballot, now time.Duration) (cmds [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &m.lessor
	if !l.leading || l.ballot != b {
		*l = lessor{ballot: b, leading: true}
		return [][]byte{Encode(&LeadCommand{Ballot: b})}
	}
	if !l.started {
		return nil // it is in a slot, or this node will not lead for long
	}
	for _, c := range l.expire(now) {
		cmds = append(cmds, Encode(c))
	}
	for _, c := range m.forgettable(now) {
		cmds = append(cmds, Encode(c))
	}
	return cmds
}

// Follow is called when leadership has ended.
func (m *Machine) Follow() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lessor = lessor{}
}

// applyLead begins a leadership: expiries of earlier leaders are void from
// here on, and if it is our own, all leases begin anew.
func (m *Machine) applyLead(c *LeadCommand) {
	m.lead = c.Ballot.Pack()
	l := &m.lessor
	if !l.leading || l.started || l.ballot != c.Ballot {
		return
	}
	l.started = true
	l.timers = map[timerKey]*timer{}
	for _, s := range m.sessions.From("") {
		h := fnv.New32a()
		h.Write([]byte(s.id))
		l.set(&timer{key: timerKey{false, s.id}, session: s}, m.now+s.ttl+time.Duration(h.Sum32())%maxSmear)
	}
	for _, lk := range m.delayed {
		l.delay(lk, m.now)
	}
}

// set arms t, in place of one with the same key.
func (l *lessor) set(t *timer, at time.Duration) {
	if old := l.timers[t.key]; old != nil {
		old.proposed, old.session, old.lock = false, t.session, t.lock
		l.due.Move(old, at)
		return
	}
	l.timers[t.key] = t
	l.due.Add(t, at)
}

func (l *lessor) remove(k timerKey) {
	if t := l.timers[k]; t != nil {
		delete(l.timers, k)
		l.due.Remove(t)
	}
}

// extend gives s another full TTL from now.
func (l *lessor) extend(s *session, now time.Duration) {
	if l.started {
		l.set(&timer{key: timerKey{false, s.id}, session: s}, now+s.ttl)
	}
}

// spared says that an expiry of s, proposed in ballot b, was void.
func (l *lessor) spared(s *session, b synod.Ballot, now time.Duration) {
	if t := l.timers[timerKey{false, s.id}]; t != nil && t.proposed && l.ballot == b {
		l.extend(s, now)
	}
}

func (l *lessor) ended(s *session) { l.remove(timerKey{false, s.id}) }

// delay starts the lock-delay of lk in full.
func (l *lessor) delay(lk *lock, now time.Duration) {
	if l.started {
		l.set(&timer{key: timerKey{true, lk.name}, lock: lk}, now+lk.delayFor)
	}
}

func (l *lessor) undelayed(lk *lock) { l.remove(timerKey{true, lk.name}) }

// expire returns what has run out by now.
func (l *lessor) expire(now time.Duration) (out []Command) {
	for t, ok := l.due.First(); ok && t.At <= now && len(out) < maxDue; t, ok = l.due.First() {
		if t.lock != nil {
			out = append(out, &DelayCommand{Lock: t.lock.name, Fence: t.lock.delay})
		} else {
			out = append(out, &ExpireCommand{Session: t.session.id, Ballot: l.ballot, Renewals: t.session.renewals})
		}
		t.proposed = true
		l.due.Move(t, now+repeatAfter)
	}
	return out
}

// forgettable returns commands that drop answers which are old by this clock.
func (m *Machine) forgettable(now time.Duration) (out []Command) {
	l := &m.lessor
	if n := len(l.samples); n == 0 || now-l.samples[n-1].at >= sampleEvery {
		l.samples = append(l.samples, sample{m.revision, now})
		if upTo := l.asOf(now - keepAnswers); m.answers.Older(upTo) {
			out = append(out, &ForgetCommand{UpTo: upTo})
		}
		if upTo := l.asOf(now - keepOwn); m.own.Older(upTo) {
			out = append(out, &ForgetCommand{Own: true, UpTo: upTo})
		}
		for len(l.samples) > 1 && l.samples[1].at <= now-keepAnswers {
			l.samples = l.samples[1:]
		}
	}
	return out
}

// asOf returns the newest revision known to have been reached by at, or 0.
func (l *lessor) asOf(at time.Duration) uint64 {
	i, found := slices.BinarySearchFunc(l.samples, at, func(s sample, at time.Duration) int { return int(s.at - at) })
	if found {
		i++
	}
	if i == 0 {
		return 0
	}
	return l.samples[i-1].revision
}
