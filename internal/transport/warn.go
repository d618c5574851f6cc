package transport

import (
	"log/slog"
	"sync"
	"time"
)

const (
	warnEvery = 30 * time.Second // between two lines about the same thing
	warnAbout = 256              // things remembered
)

// A limiter logs the same warning at most once in warnEvery.
type limiter struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]time.Time
}

// warn logs msg, unless it did so about the same key a short time ago.
func (l *limiter) warn(key, msg string, args ...any) {
	l.mu.Lock()
	now := time.Now()
	last, known := l.last[key]
	due := !known || now.Sub(last) >= warnEvery
	if due {
		if l.last == nil || len(l.last) >= warnAbout {
			l.last = make(map[string]time.Time)
		}
		l.last[key] = now
	}
	l.mu.Unlock()
	if due {
		l.log.Warn(msg, args...)
	}
}
