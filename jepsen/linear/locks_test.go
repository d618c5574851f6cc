package linear

import (
	"testing"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// on is o with another lock.
func on(o *ops.Op, key string) *ops.Op {
	o.Key = key
	return o
}

// rw is an acquire of a lock that some share.
func rw(call, end int, session string, fence uint64, shared bool) *ops.Op {
	o := lock1(call, end, session, fence)
	o.Key, o.Args = "rw", history.AcquireArgs{Shared: shared}
	return o
}

func proclaim(call, end int, session string, fence uint64, value string) *ops.Op {
	o := done(call, end, history.Proclaim, "e", history.ProclaimArgs{Fence: fence, Value: value}, nil)
	o.Session, o.Fence = session, fence
	return o
}

// inTerm is a transfer in a term.
func inTerm(o *ops.Op, term uint64) *ops.Op {
	a, _ := history.Decode[history.TransferArgs](o.Args)
	a.Fence = term
	o.Args = a
	return o
}

func held(o *ops.Op, by ...history.Hold) *ops.Op {
	return refused(o, "lock-held", history.AcquireResult{HeldBy: by})
}

// TestGrantsTakenAway is about who loses a lock, and when: by a time to let go that is
// over, which is for those alone who held it when they were asked.
func TestGrantsTakenAway(t *testing.T) {
	const bad, good = verdict.Failed, verdict.Passed
	x, y := open(0, 1, "x"), open(0, 1, "y")
	asked := []*ops.Op{x, y, seat(1, 2, "y", 4, "w"), yield(3, 4, 5)}
	left := append(asked[:4:4], leave(6, 7, 4))
	plain := []*ops.Op{x, y, lock1(1, 2, "y", 4), on(yield(3, 4, 5), "l"), release(6, 7, "y", 4)}
	for _, tt := range []small{
		{"the time to let go is over", "linear-elections", good, append(asked[:4:4], seat(20, 21, "x", 8, "v"))},
		{"it was over before it was", "linear-elections", bad, append(asked[:4:4], seat(6, 7, "x", 8, "v"))},
		{"a grant after it was asked for", "linear-elections", bad, append(left[:5:5], seat(20, 21, "x", 8, "v"), seat(22, 23, "y", 9, "w"))},
		{"a plain one, too", "linear-locks", bad, append(plain[:5:5], lock1(20, 21, "x", 8), lock1(22, 23, "y", 9))},
		{"nobody holds what was granted after that", "linear-locks", bad, append(plain[:5:5], lock1(20, 21, "x", 8), holder(22, 23, "l"))},
		{"a leader that was asked and leads on", "linear-elections", good, append(asked[:4:4], seat(5, 6, "y", 4, "w"), seat(20, 21, "x", 8, "v"))},
		{"refused although free, after that", "linear-elections", bad, append(left[:5:5], held(seat(20, 21, "x", 0, "v")))},
		{"a plain one, too", "linear-locks", bad, append(plain[:5:5], held(lock1(20, 21, "x", 0)))},
		{"shared: denied, and holds all the same", "linear-locks", bad, []*ops.Op{
			x, y, rw(1, 2, "y", 4, true), on(yield(2, 3, 50), "rw"), held(rw(4, 9, "x", 0, true)),
			holder(12, 13, "rw", history.Hold{Session: "y", Fence: 4}, history.Hold{Session: "x", Fence: 5}),
		}},
	} {
		tt.judge(t)
	}
}

// TestFencesOfUnknownGrants shows that a grant that nobody was told of has no fence that is
// over already.
func TestFencesOfUnknownGrants(t *testing.T) {
	const bad, good = verdict.Failed, verdict.Passed
	x, y := open(0, 1, "x"), open(0, 1, "y")
	unsure := []*ops.Op{x, y, seat(1, 2, "y", 4, "w"), leave(3, 4, 4), unknown(seat(5, 6, "x", 0, "v"))}
	again := []*ops.Op{x, lock1(1, 2, "x", 2), release(3, 4, "x", 2), unknown(lock1(5, 6, "x", 0))}
	for _, tt := range []small{
		{"a transfer to who may lead tells its fence", "linear-elections", good, append(unsure[:5:5], transfer(7, 8, "x", 5))},
		{"a transfer to who may lead tells a fence that falls", "linear-elections", bad, append(unsure[:5:5], transfer(7, 8, "x", 3))},
		{"a transfer in a term that is over", "linear-elections", bad, []*ops.Op{x, seat(1, 2, "x", 7, "u"), inTerm(transfer(3, 4, "x", 7), 3)}},
		{"a transfer to who leads", "linear-elections", good, []*ops.Op{x, seat(1, 2, "x", 7, "u"), inTerm(transfer(3, 4, "x", 7), 7)}},
		{"a release of an old fence", "linear-locks", bad, append(again[:4:4], release(7, 8, "x", 2))},
		{"a release of a new one", "linear-locks", good, append(again[:4:4], release(7, 8, "x", 3), lock1(9, 10, "x", 4))},
		{"a grant below a fence that was released", "linear-locks", bad, append(again[:4:4], release(7, 8, "x", 5), lock1(9, 10, "x", 4))},
		{"a proclamation in an old term", "linear-elections", bad, append(unsure[:5:5], proclaim(7, 8, "x", 4, "z"))},
		{"a proclamation in the new one", "linear-elections", good, append(unsure[:5:5], proclaim(7, 8, "x", 5, "z"))},
		{"a holder with fence 0", "linear-elections", bad, append(unsure[:5:5], holder(7, 8, "e", history.Hold{Session: "x", Value: "v"}))},
		{"a first slot with fence 0", "linear-semaphores", bad, []*ops.Op{x, sem(5, 6, "x", 0)}},
	} {
		tt.judge(t)
	}
}

// TestRefusals is about acquires that were told who holds the lock.
func TestRefusals(t *testing.T) {
	const bad, good = verdict.Failed, verdict.Passed
	x, y := open(0, 1, "x"), open(0, 1, "y")
	by := func(session string, fence uint64) history.Hold { return history.Hold{Session: session, Fence: fence} }
	for _, tt := range []small{
		{"a holder is told that the lock is held", "linear-locks", bad, []*ops.Op{x, lock1(1, 2, "x", 2), held(lock1(3, 4, "x", 0), by("x", 2))}},
		{"a reader that would write is told of the others", "linear-locks", good, []*ops.Op{
			x, y, rw(1, 2, "x", 2, true), rw(3, 4, "y", 3, true), held(rw(5, 6, "x", 0, false), by("y", 3)),
		}},
		{"a writer is refused though nobody reads", "linear-locks", bad, []*ops.Op{x, y, rw(1, 2, "y", 4, true), on(release(3, 4, "y", 4), "rw"), held(rw(6, 7, "x", 0, false))}},
		{"a reader is refused though nobody holds the lock", "linear-locks", bad, []*ops.Op{
			x, y, rw(1, 2, "y", 4, true), on(release(3, 4, "y", 4), "rw"), held(rw(6, 7, "x", 0, true)),
		}},
		{"a reader waits behind a writer", "linear-locks", good, []*ops.Op{x, y, rw(1, 2, "y", 4, true), held(rw(6, 7, "x", 0, true), by("y", 4))}},
		{"a holder twice, and one missing", "linear-semaphores", bad, []*ops.Op{x, y, sem(2, 3, "x", 3), sem(4, 5, "y", 4), holder(6, 7, "s", by("x", 3), by("x", 3))}},
	} {
		tt.judge(t)
	}
}
