package locks

import (
	"cmp"
	"time"
)

// Limits bounds everything a client can make the service keep or do. A zero
// field means its default.
//
// The bounds of replicated state (MaxSessions, MaxLocks, MaxWaiters,
// MaxPerSession, MaxState, MaxAnswers, KeepAnswers, History, MaxHolders,
// MaxEvents, KeepEvents) are the same on all nodes for all time, because they
// influence what commands do: their defaults are constants of the log's format,
// and values given here for them are not looked at.
type Limits struct {
	MaxName       int           // bytes of a lock name or config key. 512
	MaxValue      int           // bytes of a config value. 256 KiB
	MaxNote       int           // bytes of a lock's note, a session's name. 1 KiB
	MaxPublished  int           // bytes of what a candidate publishes. 4 KiB
	MinTTL        time.Duration // 2 s
	MaxTTL        time.Duration // 24 h
	DefaultTTL    time.Duration // 15 s
	MaxWait       time.Duration // of one request. 5 min
	MaxLockDelay  time.Duration // 60 s
	MaxYield      time.Duration // that a holder may be given to yield. 1 h
	MaxHold       time.Duration // of one keepalive. 5 min
	MaxNames      int           // locks in one AcquireAll. 128
	MaxTxn        int           // conditions and operations of a transaction. 128
	MaxTxnBytes   int           // of its keys and values together. 512 KiB
	MaxSessions   int           // 200,000
	MaxLocks      int           // locks and config entries together. 1,000,000
	MaxWaiters    int           // of one lock. 10,000
	MaxHolders    int           // of one lock: readers, or slots. 10,000
	MaxPerSession int           // locks held and waited for, and ephemeral entries, of one session. 10,000
	MaxState      int64         // bytes of names, values and notes together. 1 GiB
	MaxAnswers    int           // answers kept for Idempotency-Key. 100,000
	KeepAnswers   time.Duration // at least, unless MaxAnswers is reached. 10 min
	History       int           // last holders remembered per lock. 8
	MaxEvents     int           // revisions of which events are kept. 10,000
	KeepEvents    time.Duration // at most. 1 h
	MaxList       int           // items in one page. 1000
}

// WithDefaults returns l with the defaults of what is not given.
func (l Limits) WithDefaults() Limits {
	return Limits{
		MaxName:       cmp.Or(l.MaxName, 512),
		MaxValue:      cmp.Or(l.MaxValue, 256<<10),
		MaxNote:       cmp.Or(l.MaxNote, 1<<10),
		MinTTL:        cmp.Or(l.MinTTL, 2*time.Second),
		MaxTTL:        cmp.Or(l.MaxTTL, 24*time.Hour),
		DefaultTTL:    cmp.Or(l.DefaultTTL, 15*time.Second),
		MaxWait:       cmp.Or(l.MaxWait, 5*time.Minute),
		MaxLockDelay:  cmp.Or(l.MaxLockDelay, time.Minute),
		MaxPublished:  cmp.Or(l.MaxPublished, 4<<10),
		MaxYield:      cmp.Or(l.MaxYield, time.Hour),
		MaxHold:       cmp.Or(l.MaxHold, 5*time.Minute),
		MaxNames:      cmp.Or(l.MaxNames, 128),
		MaxTxn:        cmp.Or(l.MaxTxn, 128),
		MaxTxnBytes:   cmp.Or(l.MaxTxnBytes, 512<<10),
		MaxSessions:   formatBounds.sessions,
		MaxLocks:      formatBounds.locks,
		MaxWaiters:    formatBounds.waiters,
		MaxPerSession: formatBounds.perSession,
		MaxState:      formatBounds.bytes,
		MaxAnswers:    formatBounds.answers,
		KeepAnswers:   keepAnswers,
		History:       formatBounds.history,
		MaxHolders:    formatBounds.holders,
		MaxEvents:     formatBounds.changes,
		KeepEvents:    keepEvents,
		MaxList:       cmp.Or(l.MaxList, 1000),
	}
}

// KeepOwn is how long the answers to requests without an Idempotency-Key are
// remembered, at least.
const KeepOwn = keepOwn
