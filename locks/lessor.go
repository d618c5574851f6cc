package locks

import (
	"time"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/locks/internal/timers"
	"github.com/prytany/prytany/synod"
)

const (
	maxDue      = 50                     // ends that one Lead proposes: at a tick of 50 ms, 1,000 a second
	maxSmear    = 500 * time.Millisecond // a new leader spreads equal deadlines so far
	repeatAfter = 2 * time.Second        // an end that is proposed and has not been applied is proposed again
	keepAnswers = 10 * time.Minute       // answers to callers' keys, at least
	keepOwn     = time.Minute            // answers to the service's own ids, at least
	keepEvents  = time.Hour              // at most
	sampleEvery = time.Second
)

// A lessor is the leader's private memory of when leases, lock-delays and times
// to yield run out, by its own clock: no deadline is replicated, and no two
// clocks are compared. It proposes; only the log ends anything. A new leader
// starts all of them in full, so a change of leader lengthens and never shortens
// them. The zero lessor does not lead.
type lessor struct {
	ballot  synod.Ballot
	leading bool
	started bool // our LeadCommand is applied
	timers  timers.Timers
	samples timers.Samples
}

// What ends with a timer.
const (
	timerLease uint8 = iota // that of a session
	timerDelay              // the lock-delay of a lock
	timerYield              // the time that a lock's holders have to let go
)

// Lead is called when this node begins to lead with ballot b, and again and
// again while it does. It returns commands to propose: first a [LeadCommand];
// once that is applied, the end of what has run out, leases, lock-delays and
// times to yield, oldest first and at most 50 at a time, and of old answers and
// events. now is the same clock as Apply's.
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
	for _, k := range l.timers.Propose(now, maxDue, repeatAfter) {
		cmds = append(cmds, Encode(m.endOf(k)))
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
	for _, s := range m.sessions.From("") {
		at := m.now + s.ttl + timers.Smear(s.id, maxSmear)
		if mutant.On(mutant.ShortTTL) {
			at = m.now
		}
		l.timers.Set(timers.Key{Kind: timerLease, Name: s.id}, at)
	}
	for _, lk := range m.delayed {
		l.delay(lk, m.now)
	}
	for _, lk := range m.yielding {
		l.yield(lk, m.now)
	}
}

// extend gives s another full TTL from now. It never shortens the lease, which a
// new leader may have begun with more than the TTL.
func (l *lessor) extend(s *session, now time.Duration) {
	if !l.started {
		return
	}
	k, at := timers.Key{Kind: timerLease, Name: s.id}, now+s.ttl
	if before, proposed, ok := l.timers.At(k); ok && !proposed {
		at = max(at, before)
	}
	l.timers.Set(k, at)
}

// spared says that an expiry of s, proposed in ballot b, was void.
func (l *lessor) spared(s *session, b synod.Ballot, now time.Duration) {
	if _, proposed, _ := l.timers.At(timers.Key{Kind: timerLease, Name: s.id}); proposed && l.ballot == b {
		l.extend(s, now)
	}
}

func (l *lessor) ended(s *session) { l.timers.Remove(timers.Key{Kind: timerLease, Name: s.id}) }

// delay starts the lock-delay of lk in full.
func (l *lessor) delay(lk *lock, now time.Duration) {
	if l.started {
		l.timers.Set(timers.Key{Kind: timerDelay, Name: lk.name}, now+lk.delayFor)
	}
}

// yield starts the time that lk's holders have to let go: in full, unless they
// were asked before and that time is over sooner.
func (l *lessor) yield(lk *lock, now time.Duration) {
	if l.started {
		k := timers.Key{Kind: timerYield, Name: lk.name}
		at := now + lk.yield.within
		if before, proposed, ok := l.timers.At(k); proposed {
			at = now
		} else if ok {
			at = min(at, before)
		}
		l.timers.Set(k, at)
	}
}

// left returns how long something of a lock has to run, 0 if it does not.
func (l *lessor) left(kind uint8, lock string, now time.Duration) time.Duration {
	if at, proposed, ok := l.timers.At(timers.Key{Kind: kind, Name: lock}); ok && !proposed {
		return max(at-now, 0)
	}
	return 0
}

// endOf returns the command that ends what has run out.
func (m *Machine) endOf(k timers.Key) Command {
	if k.Kind == timerLease {
		s, _ := m.sessions.Get(k.Name)
		return &ExpireCommand{Session: k.Name, Ballot: m.lessor.ballot, Renewals: s.renewals}
	}
	l, _ := m.locks.Get(k.Name)
	if k.Kind == timerDelay {
		return &DelayCommand{Lock: k.Name, Since: l.delay, Ballot: m.lessor.ballot}
	}
	return &EndYieldCommand{Lock: k.Name, Since: l.yield.since, Ballot: m.lessor.ballot}
}

// forgettable returns commands that drop answers and events which are old by
// this clock.
func (m *Machine) forgettable(now time.Duration) (out []Command) {
	l := &m.lessor
	if !l.samples.Add(m.revision, now, sampleEvery, keepEvents) {
		return nil
	}
	if upTo := l.samples.AsOf(now - keepAnswers); m.answers.Older(upTo) {
		out = append(out, &ForgetCommand{UpTo: upTo})
	}
	if upTo := l.samples.AsOf(now - keepOwn); m.own.Older(upTo) {
		out = append(out, &ForgetCommand{Own: true, UpTo: upTo})
	}
	if upTo := l.samples.AsOf(now - keepEvents); m.history.Older(upTo) {
		out = append(out, &CompactCommand{UpTo: upTo})
	}
	return out
}
