package transport

import (
	"context"
	"net"
	"time"
)

const (
	// stallEvery is how often a control connection is looked at.
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

func (s *staller) stalls(p progress, now time.Time) bool {
	switch {
	case !p.waits:
		s.since = time.Time{}
	case s.since.IsZero() || p.acked != s.acked:
		s.since = now
	}
	s.acked = p.acked
	return p.waits && (p.backoff || now.Sub(s.since) >= stallTime+2*p.rtt)
}

// watch tells the detour whether conn stalls, until ctx ends.
func (l *link) watch(ctx context.Context, conn net.Conn) {
	var s staller
	ticker := time.NewTicker(stallEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		begun := l.writing.Load()
		stalled := begun != 0 && now.UnixNano()-begun >= int64(stallTime)
		if p, ok := progressOf(conn); ok {
			stalled = s.stalls(p, now) || stalled
		}
		l.peer.detour.judged(stalled)
	}
}
