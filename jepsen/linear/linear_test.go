package linear

import (
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/verdict"
)

// ms is a time of a small history.
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// put, get and the others are calls that end well, from one time to another.
func put(call, end int, value string, revision uint64) *ops.Op {
	return done(call, end, history.Put, "k", history.PutArgs{Value: value}, history.PutResult{Revision: revision})
}

func cas(call, end int, value string, seen, revision uint64) *ops.Op {
	return done(call, end, history.Put, "k", history.PutArgs{Value: value, IfRevision: &seen}, history.PutResult{Revision: revision})
}

func get(call, end int, value string, revision uint64) *ops.Op {
	return done(call, end, history.Get, "k", nil, history.GetResult{Found: value != "", Value: value, Revision: revision})
}

func done(call, end int, f, key string, args, result any) *ops.Op {
	return &ops.Op{F: f, Key: key, Kind: history.OK, Call: ms(call), End: ms(end), Ended: ms(end), Args: args, Result: result, Slot: 1}
}

// unknown is o without an end.
func unknown(o *ops.Op) *ops.Op {
	o.Kind, o.End, o.Result, o.Fence, o.Slot = history.Info, ops.Never, nil, 0, 0
	return o
}

func refused(o *ops.Op, code string, result any) *ops.Op {
	o.Kind, o.Code, o.Result, o.Fence = history.Fail, code, result, 0
	return o
}

func open(call, end int, session string) *ops.Op {
	o := done(call, end, history.Open, "", history.OpenArgs{TTL: int64(ms(100))}, history.OpenResult{TTL: int64(ms(100))})
	o.Session = session
	return o
}

func keep(call, end int, session string) *ops.Op {
	o := done(call, end, history.KeepAlive, session, nil, history.KeepAliveResult{TTL: int64(ms(100))})
	o.Session = session
	return o
}

func lock1(call, end int, session string, fence uint64) *ops.Op {
	o := done(call, end, history.Acquire, "l", history.AcquireArgs{}, history.AcquireResult{})
	o.Session, o.Fence = session, fence
	return o
}

func sem(call, end int, session string, fence uint64) *ops.Op {
	o := lock1(call, end, session, fence)
	o.Key, o.Args = "s", history.AcquireArgs{Slots: 2}
	return o
}

func seat(call, end int, session string, fence uint64, value string) *ops.Op {
	o := lock1(call, end, session, fence)
	o.Key, o.Args = "e", history.AcquireArgs{Value: value}
	return o
}

func transfer(call, end int, to string, fence uint64) *ops.Op {
	o := done(call, end, history.Transfer, "e", history.TransferArgs{To: to}, nil)
	o.Fence = fence
	return o
}

func leave(call, end int, fence uint64) *ops.Op {
	o := release(call, end, "y", fence)
	o.Key = "e"
	return o
}

func yield(call, end, within int) *ops.Op {
	return done(call, end, history.Yield, "e", history.YieldArgs{Within: int64(ms(within))}, nil)
}

// denied is what x is told when y holds the election with fence 4.
func denied(call, end int) *ops.Op {
	return refused(seat(call, end, "x", 0, "v"), "lock-held", history.AcquireResult{HeldBy: []history.Hold{{Session: "y", Fence: 4, Value: "w"}}})
}

func release(call, end int, session string, fence uint64) *ops.Op {
	o := done(call, end, history.Release, "l", history.ReleaseArgs{Fence: fence}, nil)
	o.Session, o.Fence = session, fence
	return o
}

func holder(call, end int, key string, holds ...history.Hold) *ops.Op {
	return done(call, end, history.Holder, key, nil, history.HolderResult{Holders: holds})
}

func txn(call, end int, guard uint64, ok bool, revision uint64, read string, readAt uint64) *ops.Op {
	return done(call, end, history.Txn, "t", history.TxnArgs{
		Guards: map[string]uint64{"a": guard}, Puts: map[string]string{"a": "x", "b": "y"}, Reads: []string{"b"},
	}, history.TxnResult{Done: ok, Revision: revision, Read: map[string]history.GetResult{"b": {Found: read != "", Value: read, Revision: readAt}}})
}

// A small history, and what a check says of it.
type small struct {
	name, check string
	want        verdict.Outcome
	ops         []*ops.Op
}

func (tt *small) judge(t *testing.T) {
	h := &ops.History{Ops: tt.ops, Until: time.Second}
	for i, o := range h.Ops {
		o.Seq, o.Process = uint64(i+1), i+1
	}
	checks, files := Check(h, Options{Patience: time.Minute})
	for _, c := range checks {
		if c.Name != tt.check {
			continue
		}
		if c.Outcome != tt.want {
			t.Errorf("%s: %s is %s %v; want %s", tt.name, c.Name, c.Outcome, c.Offenders, tt.want)
		}
		if c.Outcome == verdict.Failed && len(files) == 0 {
			t.Errorf("%s: there is no visualisation", tt.name)
		}
	}
}

func TestSmallHistories(t *testing.T) {
	const bad, good = verdict.Failed, verdict.Passed
	for _, tt := range []small{
		{"read after write", "linear-registers", good, []*ops.Op{put(1, 2, "a", 5), get(3, 4, "a", 5)}},
		{"stale read", "linear-registers", bad, []*ops.Op{put(1, 2, "a", 5), put(3, 4, "b", 6), get(5, 6, "a", 5)}},
		{"concurrent writes in either order", "linear-registers", good, []*ops.Op{put(1, 9, "a", 6), put(1, 9, "b", 5), get(10, 11, "a", 6)}},
		{"equal times are concurrent", "linear-registers", good, []*ops.Op{put(1, 5, "a", 5), get(5, 6, "", 0)}},
		{"revisions fall", "linear-registers", bad, []*ops.Op{put(1, 2, "a", 6), put(3, 4, "b", 5)}},
		{"compare and set", "linear-registers", good, []*ops.Op{put(1, 2, "a", 5), cas(3, 4, "b", 5, 7), get(5, 6, "b", 7)}},
		{"compare and set over another", "linear-registers", bad, []*ops.Op{put(1, 2, "a", 5), put(3, 4, "b", 6), cas(5, 6, "c", 5, 7)}},
		{"a mismatch that is none", "linear-registers", bad, []*ops.Op{put(1, 2, "a", 5), refused(cas(3, 4, "b", 5, 0), "revision-mismatch", history.PutResult{Current: 4})}},
		{"a mismatch", "linear-registers", good, []*ops.Op{put(1, 2, "a", 5), refused(cas(3, 4, "b", 4, 0), "revision-mismatch", history.PutResult{Current: 5})}},
		{"an unknown write is seen late", "linear-registers", good, []*ops.Op{unknown(put(1, 2, "a", 0)), get(3, 4, "", 0), get(5, 6, "a", 5)}},
		{"an unknown write is seen, and then not", "linear-registers", bad, []*ops.Op{
			put(0, 1, "b", 2), unknown(put(1, 2, "a", 0)), get(3, 4, "a", 5), get(5, 6, "b", 2),
		}},
		{"an unknown write before its call", "linear-registers", bad, []*ops.Op{get(1, 2, "a", 5), unknown(put(3, 4, "a", 0))}},
		{"transactions", "linear-transactions", good, []*ops.Op{txn(1, 2, 0, true, 5, "y", 5), txn(3, 4, 0, false, 0, "y", 5)}},
		{"two transactions on one guard", "linear-transactions", bad, []*ops.Op{txn(1, 2, 0, true, 5, "y", 5), txn(3, 4, 0, true, 6, "y", 6)}},
		{"half a transaction", "linear-transactions", bad, []*ops.Op{txn(1, 2, 0, true, 5, "y", 5), txn(3, 4, 7, false, 0, "", 0)}},

		{"one holder after another", "linear-locks", good, []*ops.Op{open(0, 1, "x"), open(0, 1, "y"), lock1(2, 3, "x", 3), release(4, 5, "x", 3), lock1(6, 7, "y", 4)}},
		{"two holders", "linear-locks", bad, []*ops.Op{open(0, 1, "x"), open(0, 1, "y"), lock1(2, 3, "x", 3), lock1(6, 7, "y", 4)}},
		{"the next after the lease", "linear-locks", good, []*ops.Op{open(0, 1, "x"), lock1(2, 3, "x", 3), open(4, 5, "y"), lock1(106, 107, "y", 4)}},
		{"the next before its end", "linear-locks", bad, []*ops.Op{open(0, 1, "x"), keep(20, 21, "x"), lock1(2, 3, "x", 3), open(4, 5, "y"), lock1(106, 107, "y", 4)}},
		{"fence used again", "linear-locks", bad, []*ops.Op{open(0, 1, "x"), lock1(2, 3, "x", 3), release(4, 5, "x", 3), lock1(6, 7, "x", 3)}},
		{"held after the end was told", "linear-locks", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), keep(60, 61, "y"), lock1(2, 3, "x", 3), refused(lock1(105, 106, "x", 0), "session-expired", nil),
			refused(lock1(110, 111, "y", 0), "lock-held", nil),
		}},
		{"refused although free", "linear-locks", bad, []*ops.Op{open(0, 1, "x"), refused(lock1(2, 3, "x", 0), "lock-held", nil)}},
		{"an unknown holder", "linear-locks", good, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), unknown(lock1(2, 3, "x", 0)), refused(lock1(4, 5, "y", 0), "lock-held", nil),
		}},
		{"an unknown holder is seen", "linear-locks", good, []*ops.Op{
			open(0, 1, "x"), unknown(lock1(2, 3, "x", 0)), holder(4, 5, "l", history.Hold{Session: "x", Fence: 9}),
		}},
		{"an unknown release", "linear-locks", good, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), lock1(2, 3, "x", 3), unknown(release(4, 5, "x", 3)), lock1(6, 7, "y", 4),
		}},
		{"a reader sees nobody", "linear-locks", bad, []*ops.Op{open(0, 1, "x"), lock1(2, 3, "x", 3), holder(4, 5, "l")}},
		{"two in a semaphore", "linear-semaphores", good, []*ops.Op{open(0, 1, "x"), open(0, 1, "y"), sem(2, 3, "x", 3), sem(4, 5, "y", 4)}},
		{"three in a semaphore of two", "linear-semaphores", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), open(0, 1, "z"), sem(2, 3, "x", 3), sem(4, 5, "y", 4), sem(6, 7, "z", 5),
		}},
		{"a leader's value", "linear-elections", good, []*ops.Op{open(0, 1, "x"), seat(2, 3, "x", 3, "v"), holder(4, 5, "e", history.Hold{Session: "x", Fence: 3, Value: "v"})}},
		{"another's value", "linear-elections", bad, []*ops.Op{open(0, 1, "x"), seat(2, 3, "x", 3, "v"), holder(4, 5, "e", history.Hold{Session: "x", Fence: 3, Value: "w"})}},
		{"a leader campaigns again, unknown", "linear-elections", good, []*ops.Op{
			open(0, 1, "x"), seat(2, 3, "x", 3, "v"), unknown(seat(4, 5, "x", 0, "w")), holder(6, 7, "e", history.Hold{Session: "x", Fence: 3, Value: "w"}),
		}},

		{"granted, seen, and taken away before that was told", "linear-elections", good, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), refused(seat(2, 9, "x", 0, "v"), "lock-held", history.AcquireResult{HeldBy: []history.Hold{{Session: "y", Fence: 4, Value: "w"}}}),
			holder(3, 4, "e", history.Hold{Session: "x", Fence: 3, Value: "v"}), seat(5, 8, "y", 4, "w"), transfer(6, 7, "y", 4),
		}},
		{"granted, seen, and taken away by nobody", "linear-elections", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), refused(seat(2, 9, "x", 0, "v"), "lock-held", history.AcquireResult{HeldBy: []history.Hold{{Session: "y", Fence: 4, Value: "w"}}}),
			holder(3, 4, "e", history.Hold{Session: "x", Fence: 3, Value: "v"}), seat(5, 8, "y", 4, "w"),
		}},
		{"granted, and told otherwise after it was taken away", "linear-elections", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), refused(seat(2, 9, "x", 0, "v"), "lock-held", history.AcquireResult{HeldBy: []history.Hold{{Session: "x", Fence: 3, Value: "u"}}}),
			holder(3, 4, "e", history.Hold{Session: "x", Fence: 3, Value: "v"}), seat(5, 8, "y", 4, "w"), transfer(6, 7, "y", 4),
		}},
		{"granted, taken away, and free when that is told", "linear-elections", good, []*ops.Op{
			open(0, 1, "x"), refused(seat(2, 30, "x", 0, "v"), "lock-held", history.AcquireResult{}),
			holder(3, 4, "e", history.Hold{Session: "x", Fence: 3, Value: "v"}), yield(5, 6, 5), holder(20, 21, "e"),
		}},
		{"granted after the answer that it is not", "linear-elections", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), seat(1, 2, "y", 4, "w"), denied(3, 9), transfer(5, 6, "y", 4), leave(7, 8, 4),
			holder(12, 13, "e", history.Hold{Session: "x", Fence: 5, Value: "v"}),
		}},
		{"a transfer that failed takes nothing away", "linear-elections", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), seat(1, 2, "y", 4, "w"), denied(3, 9), refused(transfer(5, 6, "z", 0), "stale-fence", nil), leave(7, 8, 4),
			holder(12, 13, "e", history.Hold{Session: "x", Fence: 5, Value: "v"}),
		}},
		{"a fence that falls behind one that was denied", "linear-elections", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), seat(1, 2, "y", 4, "w"), denied(3, 9), transfer(5, 6, "y", 4), leave(7, 8, 4), seat(12, 13, "x", 2, "v"),
		}},
		{"a fence that falls behind an unknown one", "linear-elections", bad, []*ops.Op{
			open(0, 1, "x"), open(0, 1, "y"), seat(1, 2, "y", 4, "w"), leave(3, 4, 4), unknown(seat(5, 6, "x", 0, "v")),
			holder(7, 8, "e", history.Hold{Session: "x", Fence: 3, Value: "v"}),
		}},

		{"a session lives", "linear-sessions", good, []*ops.Op{open(0, 1, "x"), keep(50, 51, "x"), keep(140, 141, "x")}},
		{"a session ends", "linear-sessions", good, []*ops.Op{open(0, 1, "x"), refused(keep(150, 151, "x"), "session-expired", nil)}},
		{"a session ends early", "linear-sessions", bad, []*ops.Op{open(0, 1, "x"), refused(keep(50, 51, "x"), "session-expired", nil)}},
		{"a session comes back", "linear-sessions", bad, []*ops.Op{open(0, 1, "x"), refused(keep(150, 151, "x"), "session-expired", nil), keep(160, 161, "x")}},
		{"a session is opened twice", "linear-sessions", bad, []*ops.Op{open(0, 1, "x"), open(2, 3, "x")}},
	} {
		tt.judge(t)
	}
}

// TestLargePartitionsAreNamed makes a register with more calls than are decided quickly.
func TestLargePartitionsAreNamed(t *testing.T) {
	h := &ops.History{Until: time.Second}
	for i := range MaxOps + 1 {
		h.Ops = append(h.Ops, get(2*i, 2*i+1, "", 0))
	}
	checks, _ := Check(h, Options{Patience: time.Minute})
	if c := checks[0]; c.Outcome != verdict.Passed || !strings.Contains(c.Detail, "1 of 1 partitions have more than 200 calls") {
		t.Errorf("%s: %s", c.Outcome, c.Detail)
	}
}

// TestSearchesAreBounded bounds the search for an order by steps, of which it takes as
// many as it must and no more, and by time.
func TestSearchesAreBounded(t *testing.T) {
	two := []*ops.Op{put(1, 2, "a", 5), get(3, 4, "a", 5)}
	endless := []*ops.Op{get(100, 101, "z", 5)} // nobody has put what it reads, in whatever order others come
	for i := range 40 {
		endless = append(endless, unknown(put(1, 2, string(rune('A'+i)), 0)))
	}
	for _, tt := range []struct {
		name string
		ops  []*ops.Op
		o    Options
		want verdict.Outcome
	}{
		{"enough steps", two, Options{Patience: time.Minute, Steps: 2}, verdict.Passed},
		{"one step too few", two, Options{Patience: time.Minute, Steps: 1}, verdict.Undecided},
		{"too many orders for steps", endless, Options{Patience: time.Minute, Steps: 1000}, verdict.Undecided},
		{"too many orders for time", endless, Options{Patience: 10 * time.Millisecond}, verdict.Undecided},
	} {
		checks, files := Check(&ops.History{Ops: tt.ops, Until: time.Second}, tt.o)
		if c := checks[0]; c.Outcome != tt.want || len(files) > 0 {
			t.Errorf("%s: %s is %s: %s; want %s", tt.name, c.Name, c.Outcome, c.Detail, tt.want)
		}
	}
}
