package locks

import (
	"cmp"
	"container/heap"
	"hash/fnv"
	"slices"
	"time"

	"github.com/prytany/prytany/synod"
)

const (
	maxDue      = 100                    // commands that one Lead may return
	maxSmear    = 500 * time.Millisecond // a new leader spreads equal deadlines so far
	repeatAfter = 2 * time.Second        // a proposal of the leader that has not been applied is repeated
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
	started bool          // our LeadCommand is applied
	asked   time.Duration // when it was last proposed
	timers  map[timerKey]*timer
	due     timerHeap
	samples []sample // oldest first: which revision was when
}

type timerKey struct {
	lock bool // or a session
	name string
}

// A timer is the lease of a session or the lock-delay of a lock.
type timer struct {
	key      timerKey
	session  *session
	lock     *lock
	at       time.Duration // to propose its end
	proposed bool          // it was; until that is applied nobody knows
	index    int
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
func (m *Machine) Lead(b synod.Ballot, now time.Duration) (cmds [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := &m.lessor
	if !l.leading || l.ballot != b {
		*l = lessor{ballot: b, leading: true, asked: now}
		return [][]byte{Encode(&LeadCommand{b})}
	}
	if !l.started {
		if now-l.asked < repeatAfter {
			return nil
		}
		l.asked = now
		return [][]byte{Encode(&LeadCommand{b})}
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
		old.at, old.proposed, old.session, old.lock = at, false, t.session, t.lock
		heap.Fix(&l.due, old.index)
		return
	}
	t.at = at
	l.timers[t.key] = t
	heap.Push(&l.due, t)
}

func (l *lessor) remove(k timerKey) {
	if t := l.timers[k]; t != nil {
		delete(l.timers, k)
		heap.Remove(&l.due, t.index)
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
	for len(l.due) > 0 && l.due[0].at <= now && len(out) < maxDue {
		t := l.due[0]
		if t.lock != nil {
			out = append(out, &DelayCommand{t.lock.name, t.lock.delay})
		} else {
			out = append(out, &ExpireCommand{t.session.id, l.ballot, t.session.renewals})
		}
		t.proposed, t.at = true, now+repeatAfter
		heap.Fix(&l.due, t.index)
	}
	return out
}

// forgettable returns commands that drop answers which are old by this clock.
func (m *Machine) forgettable(now time.Duration) (out []Command) {
	l := &m.lessor
	if n := len(l.samples); n == 0 || now-l.samples[n-1].at >= sampleEvery {
		l.samples = append(l.samples, sample{m.revision, now})
		if upTo := l.asOf(now - keepAnswers); upTo > 0 && m.answers.oldest() > 0 && m.answers.oldest() <= upTo {
			out = append(out, &ForgetCommand{false, upTo})
		}
		if upTo := l.asOf(now - keepOwn); upTo > 0 && m.own.oldest() > 0 && m.own.oldest() <= upTo {
			out = append(out, &ForgetCommand{true, upTo})
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

// timerHeap is a heap of timers, the soonest first; see container/heap.
type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.at == b.at && a.key.lock != b.key.lock {
		return b.key.lock
	}
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.key.name, b.key.name)) < 0
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for package heap alone, which deals in values of any type.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop is for package heap alone.
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}
