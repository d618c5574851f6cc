package locks

import "time"

// Next returns when [Machine.Lead] has something to do again, as things are: before
// at it would return no command. ok is false if that is never. It is asked while this
// node leads; Apply, Ask and Restore may bring the moment nearer.
//
// Lead takes note of which revision was reached when, and forgets by that what is
// old. So it must be called once more after the last change, or the clock by which
// that grows old does not begin to run.
func (m *Machine) Next(now time.Duration) (at time.Duration, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	l := &m.lessor
	if !l.leading {
		return now, true
	}
	if !l.started {
		return 0, false // the log decides whether this node will lead
	}
	at, ok = l.timers.Next()
	earlier := func(t time.Duration) {
		if !ok || t < at {
			at, ok = t, true
		}
	}
	known, last, sampled := l.samples.Last()
	if !sampled {
		return now, true
	}
	if known < m.revision {
		earlier(last + sampleEvery)
	}
	old := func(revision uint64, any bool, keep time.Duration) {
		if reached, known := l.samples.Reached(revision); any && known {
			earlier(max(reached+keep, last+sampleEvery))
		}
	}
	revision, any := m.answers.Oldest()
	old(revision, any, keepAnswers)
	revision, any = m.own.Oldest()
	old(revision, any, keepOwn)
	revision, any = m.history.Oldest()
	old(revision, any, keepEvents)
	return at, ok
}
