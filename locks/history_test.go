package locks

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/locks/internal/history"
	"github.com/prytany/prytany/locks/internal/timers"
)

// revisions returns those whose changes are kept after revision, and the oldest
// of which that is known.
func revisions(m *Machine, after uint64) (out []uint64, oldest uint64) {
	m.View(func(v View) {
		var changes []*Change
		changes, oldest = v.Changes(after)
		for _, c := range changes {
			out = append(out, c.Revision)
		}
	})
	return out, oldest
}

func (w *world) kept(step string, after uint64, want []uint64, wantOldest uint64) {
	w.t.Helper()
	for _, m := range []*Machine{w.m, restored(w.t, w.m)} { // a restored node tells the same
		if got, oldest := revisions(m, after); !slices.Equal(got, want) || oldest != wantOldest {
			w.t.Errorf("%s: kept are %v from %d; want %v from %d", step, got, oldest, want, wantOldest)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	w := newWorld(t)
	w.m.bounds.changes = 4
	w.kept("nothing", 0, nil, 1)
	for i := range 4 {
		w.do(&PutCommand{Key: "k", Value: []byte{byte(i)}}) // 1 to 4
	}
	w.do(&AdvanceCommand{Resource: "r"}) // 5: nobody is told
	w.kept("as many as may be", 0, []uint64{1, 2, 3, 4}, 1)
	w.do(&PutCommand{Key: "k"}) // 6
	w.kept("one more", 0, []uint64{2, 3, 4, 6}, 2)
	w.kept("after one of them", 3, []uint64{4, 6}, 2)
	w.kept("after none of them", 5, []uint64{6}, 2)
	w.kept("after all", 6, nil, 2)
	w.do(&CompactCommand{UpTo: 3}) // 7
	w.kept("compacted", 0, []uint64{4, 6}, 4)
	w.do(&CompactCommand{UpTo: 5}) // 8
	w.kept("compacted between two", 0, []uint64{6}, 5)
	w.do(&CompactCommand{UpTo: 1 << 60}) // 9
	w.kept("all compacted", 0, nil, 7)
	w.do(&PutCommand{Key: "k"}) // 10
	w.kept("after that", 0, []uint64{10}, 7)

	w.m.bounds.eventSize = w.m.history.Size() + history.Overhead
	w.do(&PutCommand{Key: "k", Value: []byte(strings.Repeat("v", history.Overhead))}) // 11
	w.kept("too many bytes", 0, []uint64{11}, 11)
	w.do(&PutCommand{Key: "k", Value: make([]byte, 3*history.Overhead)}) // 12
	w.kept("too many bytes in one", 0, nil, 13)
	if w.m.history.Size() != 0 {
		t.Errorf("no events have %d bytes", w.m.history.Size())
	}
}

func TestHistoryIsCompactedByTheLeadersClock(t *testing.T) {
	w := newWorld(t)
	w.lead(b(1))
	w.lead(b(1))
	w.do(&PutCommand{Key: "k"}) // 2
	w.now += second
	w.lead(b(1))
	w.do(&PutCommand{Key: "k"}) // 3
	w.now += keepEvents - second
	if got := w.lead(b(1)); got != nil {
		t.Errorf("before an hour has passed: %v", got)
	}
	w.now += second
	if got, want := w.lead(b(1)), []Command{&CompactCommand{UpTo: 2}}; !reflect.DeepEqual(got, want) {
		t.Errorf("after an hour: %v; want %v", got, want)
	}
	w.kept("after an hour", 0, []uint64{3}, 3)
}

// The session ends, then what was its own goes, then others get its locks: in
// the order of names.
func TestEventsOfASessionsEnd(t *testing.T) {
	w := ledWorld(t)
	w.do(&PutCommand{Key: "y", Session: "a"})
	w.do(&PutCommand{Key: "x", Session: "a"})
	w.acquire("m", "a")                 // 9
	w.acquire("l", "a", campaign("v"))  // 10
	w.acquire("l", "b", campaign("vb")) // 11
	w.acquire("m", "c", shared)
	w.acquire("m", "d", shared)
	w.acquire("k", "b", shared) // 14
	w.acquire("k", "a")
	w.acquire("k", "e", shared)
	w.expire("a") // 17
	want := []string{
		"session a expired", "expire x a", "expire y a",
		"lock k {e 17 true false }",
		"unlock l a 10 false expired", "leader l {b 17 false true vb}",
		"unlock m a 9 false expired", "lock m {c 17 true false }", "lock m {d 17 true false }",
	}
	if got := w.happened(); !slices.Equal(got, want) {
		t.Errorf("events %q\nwant   %q", got, want)
	}
}

func TestRepeatedCommandsHaveTheFirstAnswer(t *testing.T) {
	r := Request{ID: "again", Hash: 7}
	before := func(w *world) { // at revision 6
		w.acquire("l", "a", campaign("v")) // 7
		w.acquire("l", "b", campaign("w")) // 8
		w.do(&AdvanceCommand{Resource: "r", Fence: 4})
	}
	tests := []Command{
		&AcquireAllCommand{Request: r, Session: "a", Locks: []string{"x", "y"}},
		&AcquireAllCommand{Request: r, Session: "c", Locks: []string{"x", "l"}},
		&ReleaseCommand{Request: r, Lock: "l", Fence: 7, Session: "a"},
		&ReleaseCommand{Request: r, Lock: "l", Force: true, Reason: "why"},
		&YieldCommand{Request: r, Lock: "l", Within: second},
		&ProclaimCommand{Request: r, Lock: "l", Fence: 7, Value: "new"},
		&ProclaimCommand{Request: r, Lock: "l", Fence: 6, Value: "new"},
		&TransferCommand{Request: r, Lock: "l", To: "b"},
		&TransferCommand{Request: r, Lock: "l", To: "c"},
		&AdvanceCommand{Request: r, Resource: "r", Fence: 5},
		&AdvanceCommand{Request: r, Resource: "r", Fence: 3},
		&ForgetFenceCommand{Request: r, Resource: "r", Fence: 4},
		&TxnCommand{Request: r, If: []If{{Kind: IfAbsent, Name: "k"}}, Then: []Op{put("k", "v")}, Else: []Op{put("k", "w")}},
		&TxnCommand{Request: r, Then: []Op{{Kind: OpPut, Key: "k", Session: "x"}}},
	}
	for i, c := range tests {
		t.Run(fmt.Sprintf("%d %T", i, c), func(t *testing.T) {
			w := ledWorld(t)
			before(w)
			first := w.raw(Encode(c))
			w.m = restored(t, w.m)
			w.acquire("l", "c") // something else happens
			w.do(&PutCommand{Key: "k", Value: []byte("other")})
			state := w.m.entries
			again := w.raw(Encode(c))
			if first.Repeated = true; again != first {
				t.Errorf("again: %+v\nfirst: %+v", again, first)
			}
			if w.happened() != nil || w.m.entries != state {
				t.Errorf("it had another effect: %v", w.happened())
			}
		})
	}
}

func TestTenThousandSessionsExpireInTurn(t *testing.T) {
	const many = 10_000
	w := newWorld(t)
	w.lead(b(1))
	for i := range many {
		w.do(&OpenCommand{ID: fmt.Sprint(many*10 - i), TTL: 10*second + time.Duration(i%7)})
		w.now++
	}
	w.now += 20 * second
	last, calls := time.Duration(0), 0
	for ; w.m.sessions.Len() > 0; calls++ {
		cmds := w.m.Lead(b(1), w.now)
		if n := len(cmds); n != maxDue {
			t.Fatalf("call %d: %d commands; want %d", calls, n, maxDue)
		}
		for _, cmd := range cmds {
			c, _ := Decode(cmd)
			x, ok := c.(*ExpireCommand)
			if !ok || x.Ballot != b(1) {
				t.Fatalf("call %d: %+v", calls, c)
			}
			i := many*10 - atoi(t, x.Session)
			at := 10*second + time.Duration(i%7+i)
			if at < last {
				t.Fatalf("call %d: %s was due at %v, after one due at %v", calls, x.Session, at, last)
			}
			last = at
			if again, _, _ := w.m.lessor.timers.At(timers.Key{Kind: timerLease, Name: x.Session}); again != w.now+repeatAfter {
				t.Fatalf("%s is proposed again at %v", x.Session, again)
			}
			w.raw(cmd)
		}
	}
	if calls != many/maxDue || w.m.lessor.timers.Len() != 0 {
		t.Errorf("%d calls, %d timers left", calls, w.m.lessor.timers.Len())
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
