package transport

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// stallEvery is how often a control connection is looked at, at most.
	stallEvery = 30 * time.Millisecond
	// stallTime is how long, beside two round trips, a connection may deliver
	// nothing of what it was given. Acknowledgements are delayed by up to 40 ms.
	stallTime = 60 * time.Millisecond
)

// A progress is how far a connection's peer has acknowledged.
type progress struct {
	waits   bool          // something is unacknowledged
	backoff bool          // and was sent again after a time-out
	acked   uint64        // bytes, ever
	rtt     time.Duration // of its network
}

// A staller decides from what it is shown of a connection whether it stalls.
type staller struct {
	acked uint64
	since time.Time // something waits, and nothing was acknowledged; or zero
}

// stalls is shown p at now. wrote is when something was written first since it was shown
// something last; zero if nothing was.
func (s *staller) stalls(p progress, now, wrote time.Time) bool {
	switch {
	case !p.waits:
		s.since = time.Time{}
	case s.since.IsZero() && p.acked == s.acked && !wrote.IsZero():
		s.since = wrote // nothing waited before that, and nothing was acknowledged since
	case s.since.IsZero() || p.acked != s.acked:
		s.since = now
	}
	s.acked = p.acked
	return p.waits && (p.backoff || now.Sub(s.since) >= stallTime+2*p.rtt)
}

// A lookout watches a connection for whoever has something to send on it: only then
// does it matter whether it stalls, and heartbeats see to it that there is something
// often enough. A timer of its own would wake the process more often than all of them.
type lookout struct {
	ask     func(net.Conn) (progress, bool) // how a connection gets on: progressOf
	began   time.Time                       // what times are counted from
	wrote   atomic.Int64                    // when the first write since the last look ended, ns; 0: there was none
	writing atomic.Int64                    // when the write under way began, ns; 0: none

	mu      sync.Mutex
	conn    net.Conn  // nil: there is none to look at
	last    time.Time // look
	staller staller
}

// turn has o watch conn from now on, or nothing if that is nil.
func (o *lookout) turn(conn net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn, o.staller = conn, staller{}
	o.wrote.Store(0)
}

// begins notes that a write begins, and ends that it has ended. What was written counts as
// waiting from then on: the writer may lose the processor before it writes.
func (o *lookout) begins() { o.writing.Store(o.now()) }

func (o *lookout) ends() {
	o.writing.Store(0)
	o.wrote.CompareAndSwap(0, o.now())
}

func (o *lookout) now() int64 { return max(int64(time.Since(o.began)), 1) }

// look says whether the connection stalls; ok is false if it was looked at a moment ago,
// or there is none.
func (o *lookout) look(now time.Time) (stalled, ok bool) {
	if !o.mu.TryLock() {
		return false, false
	}
	defer o.mu.Unlock()
	if o.conn == nil || now.Sub(o.last) < stallEvery {
		return false, false
	}
	o.last = now
	begun := o.writing.Load()
	stalled = begun != 0 && now.Sub(o.began)-time.Duration(begun) >= stallTime
	var wrote time.Time
	if at := o.wrote.Swap(0); at != 0 {
		wrote = o.began.Add(time.Duration(at))
	}
	if p, known := o.ask(o.conn); known {
		stalled = o.staller.stalls(p, now, wrote) || stalled
	}
	return stalled, true
}
