package locks

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prytany/prytany/locks/internal/command"
)

// acquire asks for a lock and waits for it, unless how says otherwise. The
// request's id is the session with the number of the command.
func (w *world) acquire(lock, session string, how ...func(*AcquireCommand)) Result {
	w.t.Helper()
	c := &AcquireCommand{Request: req(fmt.Sprint(session, w.m.revision+1)), Lock: lock, Session: session, Wait: true}
	for _, h := range how {
		h(c)
	}
	return w.do(c)
}

func shared(c *AcquireCommand) { c.Shared = true }
func once(c *AcquireCommand)   { c.Wait = false }

func slots(n uint64) func(*AcquireCommand) { return func(c *AcquireCommand) { c.Slots = n } }

func campaign(value string) func(*AcquireCommand) {
	return func(c *AcquireCommand) { c.Campaign, c.Value = true, value }
}

// show returns the holders of a lock with their fences and what they publish,
// and its queue. Readers have an r.
func (w *world) show(lock string) string {
	l := w.lock(lock)
	var out []string
	r := map[Mode]string{Shared: "r"}
	for _, h := range l.Holders {
		out = append(out, fmt.Sprint(h.Session, h.Fence, r[h.Mode], h.Value))
	}
	out = append(out, "|")
	for _, x := range l.Waiters {
		out = append(out, x.Session+r[x.Mode]+x.Value)
	}
	return strings.Join(out, " ")
}

// happened returns the events of the last command.
func (w *world) happened() (out []string) {
	w.m.View(func(v View) {
		changes, _ := v.Changes(w.m.revision - 1)
		for _, c := range changes {
			out = append(out, shown(c.Events)...)
		}
	})
	return out
}

func (w *world) expect(step, lock, want string) {
	w.t.Helper()
	if got := w.show(lock); got != want {
		w.t.Errorf("%s: %s is %q; want %q", step, lock, got, want)
	}
}

func (w *world) refuses(step string, got Result, code Code) Result {
	w.t.Helper()
	if !got.Refused || got.Code != code {
		w.t.Errorf("%s: %+v; want code %d", step, got, code)
	}
	return got
}

func (w *world) release(lock, session string) {
	w.t.Helper()
	for _, h := range w.lock(lock).Holders {
		if h.Session == session {
			w.do(&ReleaseCommand{Lock: lock, Fence: h.Fence, Session: session})
			return
		}
	}
	w.t.Fatalf("%s does not hold %s", session, lock)
}

// expire ends a session as if its lease had run out.
func (w *world) expire(id string) {
	w.t.Helper()
	s, _ := w.m.sessions.Get(id)
	w.do(&ExpireCommand{Session: id, Ballot: b(1), Renewals: s.renewals})
	if w.alive(id) {
		w.t.Fatalf("%s did not expire", id)
	}
}

// ledWorld is a world with a leader and the sessions a to e, at revision 6.
func ledWorld(t *testing.T) *world {
	w := newWorld(t)
	w.lead(b(1))
	w.open("a", "b", "c", "d", "e")
	return w
}

func TestReadersAreGrantedTogether(t *testing.T) {
	w := ledWorld(t)
	w.acquire("l", "a") // 7
	w.acquire("l", "b", shared)
	w.acquire("l", "c", shared)
	w.acquire("l", "d")
	w.acquire("l", "e", shared)
	w.release("l", "a") // 12
	w.expect("the writer has left", "l", "b12r c12r | d er")
	want := []string{"unlock l a 7 false released", "lock l {b 12 true false }", "lock l {c 12 true false }"}
	if got := w.happened(); !slices.Equal(got, want) {
		t.Errorf("events %q; want %q", got, want)
	}
	w.refuses("whose of two", w.do(&ReleaseCommand{Lock: "l", Fence: 12}), SessionNeeded)
	w.refuses("whose it is not", w.do(&ReleaseCommand{Lock: "l", Fence: 12, Session: "a"}), StaleFence)
	w.do(&ReleaseCommand{Lock: "l", Fence: 12, Session: "c"})
	w.expect("one reader has left", "l", "b12r | d er")
	w.do(&ReleaseCommand{Lock: "l", Fence: 12}) // 16; only one is left
	w.expect("both readers have left", "l", "d16 | er")
	w.release("l", "d")
	w.expect("the second writer has left", "l", "e17r |")
	w.refuses("a writer tries", w.acquire("l", "a", once), LockHeld)
	w.acquire("l", "b", shared, once)
	w.expect("a reader comes", "l", "e17r b19r |")
}

// Readers behind a queued writer wait, until it is gone without the lock.
func TestReadersJoinWhenTheQueuedWriterGoes(t *testing.T) {
	tests := []struct {
		name string
		goes func(w *world)
	}{
		{"it cancels", func(w *world) {
			w.do(&CancelCommand{Request: req("b8"), Lock: "l", Session: "b"})
		}},
		{"its session ends", func(w *world) { w.do(&EndCommand{ID: "b"}) }},
		{"its session expires", func(w *world) { w.expire("b") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := ledWorld(t)
			w.acquire("l", "a", shared) // 7
			w.acquire("l", "b")         // 8
			if got := w.acquire("l", "c", shared); !got.Queued || got.Position != 2 {
				t.Fatalf("a reader behind a writer: %+v", got)
			}
			w.refuses("who cannot wait", w.acquire("l", "d", shared, once), LockHeld)
			w.acquire("l", "d", shared)
			w.acquire("l", "e")
			w.expect("before", "l", "a7r | b cr dr e")
			tt.goes(w) // 13
			w.expect("after", "l", "a7r c13r d13r | e")
		})
	}
}

func TestSemaphore(t *testing.T) {
	w := ledWorld(t)
	w.acquire("s", "a", slots(2)) // 7
	w.acquire("s", "b", slots(2)) // 8
	if got := w.refuses("another number", w.acquire("s", "c", slots(3)), LimitMismatch); got.Slots != 2 {
		t.Errorf("the lock's slots: %+v; want 2", got)
	}
	w.refuses("a plain lock", w.acquire("s", "c"), LimitMismatch)
	w.refuses("a reader", w.acquire("s", "c", shared), LimitMismatch)
	w.refuses("a renewal with another number", w.acquire("s", "a", slots(3)), LimitMismatch)
	w.refuses("shared slots", w.acquire("t", "c", slots(2), shared), Invalid)
	w.refuses("slots of an election", w.acquire("t", "c", slots(2), campaign("v")), Invalid)
	w.refuses("no name", w.acquire("", "c"), Invalid)
	w.refuses("more than a lock can have", w.acquire("t", "c", slots(10_001)), Invalid)
	w.acquire("s", "c", slots(2)) // 17
	w.acquire("s", "d", slots(2))
	w.expect("both slots are taken", "s", "a7 b8 | c d")
	w.do(&ReleaseCommand{Lock: "s", Force: true}) // 19
	w.expect("broken", "s", "c19 d19 |")
	w.release("s", "c")
	w.refuses("while one slot is in use", w.acquire("s", "a", slots(1)), LimitMismatch)
	w.release("s", "d")
	if got := w.acquire("s", "a", slots(3)); got.Refused || got.Slots != 3 {
		t.Errorf("another number once the lock is idle: %+v", got)
	}
}

// The bound on holders keeps the order: who comes when it is reached waits or is
// refused, and who waits follows when one goes.
func TestReadersUpToTheBound(t *testing.T) {
	w := ledWorld(t)
	w.m.bounds.holders = 2
	w.acquire("l", "a")
	for _, id := range []string{"b", "c", "d"} {
		w.acquire("l", id, shared)
	}
	w.release("l", "a") // 11
	w.expect("as many as may", "l", "b11r c11r | dr")
	w.release("l", "b") // 12
	w.expect("one goes", "l", "c11r d12r |")
	w.refuses("one more", w.acquire("l", "e", shared), Overloaded)
	restored(t, w.m)
}

func TestUpgradeAndDowngrade(t *testing.T) {
	w := ledWorld(t)
	w.acquire("l", "a", shared) // 7
	w.acquire("l", "b", shared) // 8
	w.refuses("upgrade beside another reader", w.acquire("l", "a"), UpgradeRefused)
	w.release("l", "b")
	w.acquire("l", "c") // 11
	w.now += second
	if got := w.lock("l").Holders[0].Held; got != second {
		t.Errorf("held for %v; want %v", got, second)
	}
	if got := w.acquire("l", "a"); got.Fence != 12 || got.Shared {
		t.Errorf("upgrade of the only reader: %+v; want fence 12", got)
	}
	want := []string{"unlock l a 7 true upgraded", "lock l {a 12 false false }"}
	if got := w.happened(); !slices.Equal(got, want) {
		t.Errorf("events %q; want %q", got, want)
	}
	if got := w.lock("l").Holders[0].Held; got != 0 {
		t.Errorf("the new grant is held for %v; want 0", got)
	}
	if got := w.lock("l").Past[0]; got != (Past{"a", "a", 7, 12, "upgraded"}) {
		t.Errorf("remembered: %+v", got)
	}
	w.refuses("the old fence", w.do(&PutCommand{Key: "k", Guard: &Guard{Lock: "l", Fence: 7}}), StaleFence)
	w.refuses("the old fence", w.do(&ReleaseCommand{Lock: "l", Fence: 7}), StaleFence)
	w.acquire("l", "d", shared) // 15
	w.expect("upgraded", "l", "a12 | c dr")
	w.do(&CancelCommand{Request: req("c11"), Lock: "l", Session: "c"})
	if got := w.acquire("l", "a", shared); got.Fence != 12 || !got.Shared {
		t.Errorf("downgrade: %+v; want fence 12", got)
	}
	w.expect("downgraded", "l", "a12r d17r |")
	if got := w.lock("l").Changed; got != 17 {
		t.Errorf("the lock changed at %d; want 17", got)
	}
}

// One session may stand in a queue twice. The second place ends with the first.
func TestTwoPlacesOfOneSession(t *testing.T) {
	w := ledWorld(t)
	w.acquire("l", "a")               // 7
	w.acquire("l", "b", shared)       // 8
	w.acquire("l", "c")               // 9
	w.acquire("l", "b")               // 10
	w.acquire("l", "b", shared)       // 11
	w.acquire("l", "d", campaign("")) // 12
	w.acquire("l", "b", campaign("")) // 13
	w.release("l", "a")               // 14
	w.expect("the first place is served", "l", "b14r | c d")
	again := func(request string, how ...func(*AcquireCommand)) Result {
		return w.acquire("l", "b", append(how, func(c *AcquireCommand) { c.Request = req(request) })...)
	}
	if got := again("b8", shared); got.Fence != 14 || !got.Repeated {
		t.Errorf("the first: %+v", got)
	}
	if got := again("b11", shared); got.Fence != 14 || !got.Repeated {
		t.Errorf("the one of the same mode: %+v", got)
	}
	w.refuses("the one of the other mode", again("b10"), UpgradeRefused)
	w.refuses("the campaign", again("b13", campaign("")), UpgradeRefused)

	w.acquire("l", "d") // 19, behind its own campaign
	w.release("l", "b")
	w.release("l", "c") // 21
	w.expect("the candidate leads", "l", "d21 |")

	w.acquire("m", "a")
	w.acquire("m", "b")
	w.acquire("m", "c")
	w.acquire("m", "b", campaign("v"))
	w.release("m", "a") // 26
	w.expect("who stood as candidate too leads", "m", "b26v | c")
	want := []string{"unlock m a 22 false released", "lock m {b 26 false false }", "leader m {b 26 false true v}"}
	if got := w.happened(); !slices.Equal(got, want) {
		t.Errorf("events %q; want %q", got, want)
	}
	restored(t, w.m)
}

// A lock-delay keeps everybody out, though there are free slots, or only readers.
// Those who were granted a lock together have one fence, and yet the end of one's
// lock-delay is not that of the other's.
func TestLockDelayOfSharedLocks(t *testing.T) {
	for name, how := range map[string]func(*AcquireCommand){"readers": shared, "semaphore": slots(3)} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.lead(b(1))
			for id, delay := range map[string]time.Duration{"a": 5 * second, "b": 3 * second, "c": 0, "d": 0, "x": 0, "y": 0, "z": 0} {
				w.do(&OpenCommand{ID: id, TTL: time.Hour, LockDelay: delay})
			}
			if name == "readers" {
				w.acquire("l", "x")
			} else {
				w.acquire("l", "x", how)
				w.acquire("l", "y", how)
				w.acquire("l", "z", how)
			}
			w.acquire("l", "a", how)
			w.acquire("l", "b", how)
			w.acquire("l", "c", how)
			w.do(&ReleaseCommand{Lock: "l", Force: true})
			if l := w.lock("l"); len(l.Holders) != 3 || l.Holders[0].Fence != l.Holders[2].Fence {
				t.Fatalf("not granted together: %+v", l.Holders)
			}
			w.expire("a")
			w.acquire("l", "d", how)
			w.now += 5 * second
			first := w.m.Lead(b(1), w.now) // on its way when b expires
			if len(first) != 1 {
				t.Fatalf("%d commands; want the end of the delay", len(first))
			}
			w.expire("b")
			w.raw(first[0])
			w.release("l", "c")
			if got := w.acquire("l", "c", how, once); got.Code != LockHeld || !got.Delayed || got.Position != 2 {
				t.Fatalf("in the second delay: %+v", got)
			}
			w.m = restored(t, w.m)
			w.lead(b(2))
			w.lead(b(2))
			w.now += 5*second - 1 // the longer one
			if got := w.lead(b(2)); got != nil {
				t.Errorf("ended early: %v", got)
			}
			w.now++
			if w.lead(b(2)); len(w.lock("l").Holders) != 1 {
				t.Errorf("after the delay: %s", w.show("l"))
			}
		})
	}
}

func TestNoUpgradeInALockDelay(t *testing.T) {
	w := ledWorld(t)
	w.do(&OpenCommand{ID: "x", TTL: second, LockDelay: second}) // 7
	w.acquire("l", "x", shared)
	w.acquire("l", "a", shared) // 9
	w.expire("x")               // 10
	w.refuses("in the delay", w.acquire("l", "a"), UpgradeRefused)
	w.do(&DelayCommand{Lock: "l", Since: 9, Ballot: b(1)})
	w.refuses("in the delay", w.acquire("l", "b", shared, once), LockHeld)
	w.do(&DelayCommand{Lock: "l", Since: 10, Ballot: b(1)})
	if got := w.acquire("l", "a"); got.Refused || got.Fence != 15 {
		t.Errorf("after it: %+v", got)
	}
}

func TestYieldEndsOnlyGrantsFromBefore(t *testing.T) {
	w := ledWorld(t)
	w.acquire("s", "a", slots(3)) // 7
	w.acquire("s", "b", slots(3)) // 8
	w.refuses("nobody holds it", w.do(&YieldCommand{Lock: "x"}), LockUnknown)
	w.do(&YieldCommand{Lock: "s", Within: 4 * second, Reason: "deploy"}) // 10
	want := []string{"yield s 7 a 4s deploy", "yield s 8 b 4s deploy"}
	if got := w.happened(); !slices.Equal(got, want) {
		t.Errorf("events %q; want %q", got, want)
	}
	w.acquire("s", "c", slots(3)) // 11
	w.now += 3 * second
	if got := w.ask(Question{Locks: []string{"s", "x"}}).Yields; !slices.Equal(got, []time.Duration{second, 0}) {
		t.Errorf("remaining: %v", got)
	}
	w.m = restored(t, w.m)
	w.lead(b(2))
	w.lead(b(2)) // a new leader gives all the time again
	w.now += 4*second - 1
	if got := w.lead(b(2)); got != nil {
		t.Errorf("before the time is over: %v", got)
	}
	w.now++
	if got, want := w.lead(b(2)), []Command{&EndYieldCommand{Lock: "s", Since: 10, Ballot: b(2)}}; !reflect.DeepEqual(got, want) {
		t.Errorf("when it is over: %v; want %v", got, want)
	}
	w.expect("after", "s", "c11 |")
	l := w.lock("s")
	if l.Yield != nil || len(l.Past) != 2 || l.Past[0].Reason != "yielded: deploy" || l.Past[0].Session != "b" {
		t.Errorf("the lock is %+v", l)
	}
	w.now += 10 * second
	if got := w.ask(Question{Locks: []string{"s"}}).Yields; got[0] != 0 {
		t.Errorf("nobody is asked, and %v remain", got)
	}
}

// A second request with less time does not give more than is left of the first;
// one that is about more holders begins anew.
func TestYieldAskedAgain(t *testing.T) {
	w := ledWorld(t)
	left := func(step string, want time.Duration) {
		t.Helper()
		if got := w.ask(Question{Locks: []string{"l"}}).Yields[0]; got != want {
			t.Errorf("%s: %v remain; want %v", step, got, want)
		}
	}
	w.acquire("l", "a", shared)
	w.do(&YieldCommand{Lock: "l", Within: 6 * second})
	w.now += 2 * second
	w.do(&YieldCommand{Lock: "l", Within: 5 * second})
	left("less time, but not sooner", 4*second)
	w.do(&YieldCommand{Lock: "l", Within: 3 * second}) // 10
	left("sooner", 3*second)
	w.acquire("l", "b", shared)
	w.do(&YieldCommand{Lock: "l", Within: 5 * second}) // 12
	left("of a new holder too", 5*second)
	w.now += 5 * second
	late := w.m.Lead(b(1), w.now)                      // on its way when the next request comes
	w.do(&YieldCommand{Lock: "l", Within: 4 * second}) // 13
	for _, cmd := range late {
		w.raw(cmd)
	}
	w.expect("the end of an older request", "l", "a7r b11r |")
	if got, want := w.lead(b(1)), []Command{&EndYieldCommand{Lock: "l", Since: 13, Ballot: b(1)}}; !reflect.DeepEqual(got, want) {
		t.Errorf("the time was over: %v; want %v", got, want)
	}
	w.expect("after it", "l", "|")
}

func TestYieldIsOverWhenTheHoldersLetGo(t *testing.T) {
	w := ledWorld(t)
	asked := func(step string, within time.Duration, since uint64) {
		t.Helper()
		if y := w.lock("l").Yield; y == nil || y.Within != within || y.Since != since {
			t.Errorf("%s: %+v; want %v since %d", step, y, within, since)
		}
	}
	w.acquire("l", "a", shared)                          // 7
	w.acquire("l", "b", shared)                          // 8
	w.do(&YieldCommand{Lock: "l"})                       // 9
	asked("only asked", 0, 9)                            //
	w.do(&YieldCommand{Lock: "l", Within: 5 * second})   // 10
	asked("asked with a time", 5*second, 10)             //
	w.do(&YieldCommand{Lock: "l"})                       // 11
	asked("asked once more without", 5*second, 10)       //
	w.do(&YieldCommand{Lock: "l", Within: 5 * second})   // 12
	asked("asked once more", 5*second, 10)               //
	w.do(&YieldCommand{Lock: "l", Within: 4 * second})   // 13
	asked("asked to hurry", 4*second, 13)                //
	w.acquire("l", "c", shared)                          // 14
	w.do(&YieldCommand{Lock: "l", Within: 5 * second})   // 15
	asked("asked together with a new one", 5*second, 15) //
	w.acquire("l", "d")                                  // 16
	w.release("l", "a")                                  //
	w.do(&ReleaseCommand{Lock: "l", Fence: 8})           //
	asked("while one is left", 5*second, 15)             //
	w.acquire("l", "c")                                  // 19: an upgrade
	if y := w.lock("l").Yield; y != nil || w.show("l") != "c19 | d" {
		t.Errorf("after the last has upgraded: %+v, %s", y, w.show("l"))
	}
	w.do(&YieldCommand{Lock: "l", Within: 5 * second, Reason: "why"}) // 20
	w.release("l", "c")
	w.do(&EndYieldCommand{Lock: "l", Since: 20, Ballot: b(1)})
	w.expect("a left-over end", "l", "d21 |")
	w.now += 9 * second
	if got := w.lead(b(1)); got != nil {
		t.Errorf("proposed for nobody: %v", got)
	}
	restored(t, w.m)
}

func TestTransfer(t *testing.T) {
	w := ledWorld(t)
	w.do(&AcquireCommand{Lock: "e", Session: "o", Open: true, TTL: second, Campaign: true, Value: "vo"}) // 7
	w.acquire("e", "a")                                                                                  // 8
	w.acquire("e", "b", campaign("vb"))                                                                  // 9
	w.acquire("e", "c", campaign("vc"))                                                                  // 10
	w.refuses("to who stands in the queue only", w.do(&TransferCommand{Lock: "e", To: "a"}), NotCandidate)
	w.refuses("to a stranger", w.do(&TransferCommand{Lock: "e", To: "d"}), NotCandidate)
	w.refuses("in an election that nobody knows", w.do(&TransferCommand{Lock: "x", To: "b"}), NotCandidate)
	w.refuses("in another term", w.do(&TransferCommand{Lock: "e", Fence: 6, To: "b"}), StaleFence)
	if got := w.do(&TransferCommand{Lock: "e", Fence: 7, To: "o"}); got.Fence != 7 {
		t.Errorf("to who leads: %+v", got)
	}
	if got := w.do(&TransferCommand{Lock: "e", Fence: 7, To: "c"}); got.Refused || got.Fence != 16 || got.Session != "c" {
		t.Errorf("to a candidate: %+v; want fence 16", got)
	}
	w.expect("transferred", "e", "c16vc | a bvb")
	want := []string{"unlock e o 7 false transferred", "leader e {c 16 false true vc}", "session o transferred"}
	if got := w.happened(); !slices.Equal(got, want) {
		t.Errorf("events %q; want %q", got, want)
	}
	if w.alive("o") {
		t.Error("the session that was made for the old leadership lives")
	}
	if got := w.refuses("the old leader proclaims", w.do(&ProclaimCommand{Lock: "e", Fence: 7, Value: "x"}), StaleFence); got.Current != 16 {
		t.Errorf("the old leader is told %+v", got)
	}
	w.do(&ProclaimCommand{Lock: "e", Fence: 16, Value: "new"}) // 18
	w.expect("proclaimed", "e", "c16new | a bvb")
	if got := w.lock("e").Changed; got != 18 {
		t.Errorf("the election changed at %d; want 18", got)
	}
	w.do(&AcquireCommand{Lock: "e", Session: "c", Campaign: true, Value: "newer"})
	w.expect("renewed with another value", "e", "c16newer | a bvb")
	w.refuses("who leads shares", w.do(&AcquireCommand{Lock: "e", Session: "c", Shared: true}), Invalid)
	w.do(&EndCommand{ID: "c"}) // 21
	w.expect("resigned", "e", "a21 | bvb")
	w.refuses("from who did not campaign", w.do(&TransferCommand{Lock: "e", To: "b"}), NotCandidate)
	w.refuses("without campaign", w.do(&ProclaimCommand{Lock: "e", Fence: 21, Value: "x"}), StaleFence)
	restored(t, w.m)
}

func TestTransferWaitsForTheLockDelay(t *testing.T) {
	w := ledWorld(t)
	w.do(&OpenCommand{ID: "x", TTL: second, LockDelay: second})
	w.acquire("e", "x", campaign("vx"))
	w.acquire("e", "a", campaign("va"))
	w.expire("x")
	if got := w.refuses("in the delay", w.do(&TransferCommand{Lock: "e", To: "a"}), LockHeld); !got.Delayed {
		t.Errorf("it is told %+v", got)
	}
}

func TestAcquireAllOrNone(t *testing.T) {
	w := ledWorld(t)
	w.acquire("mine", "a")                                             // 7
	w.acquire("theirs", "b", func(c *AcquireCommand) { c.Note = "n" }) // 8
	w.acquire("read", "a", shared)                                     // 9
	w.acquire("slots", "a", slots(2))                                  // 10
	w.acquire("theirs", "c")                                           // 11
	all := func(names ...string) Result { return w.do(&AcquireAllCommand{Session: "a", Locks: names, Note: "all"}) }
	got := w.refuses("some are held", all("free", "mine", "theirs", "read", "slots"), LockHeld) // 12
	held, err := command.DecodeHeld(got.Body)
	want := []command.HeldLock{
		{Name: "theirs", Holder: command.Holder{Session: "b", Owner: "b", Fence: 8, Note: "n"}, Position: 2},
		{Name: "read", Holder: command.Holder{Session: "a", Owner: "a", Fence: 9, Shared: true}, Position: 1},
		{Name: "slots", Holder: command.Holder{Session: "a", Owner: "a", Fence: 10}, Position: 1},
	}
	if err != nil || !slices.Equal(held, want) || w.happened() != nil {
		t.Errorf("held: %+v, %v; events %v", held, err, w.happened())
	}
	if l := w.lock("free"); l.Name != "" {
		t.Errorf("one was granted: %+v", l)
	}
	got = all("z", "mine", "f") // 13
	held, err = command.DecodeHeld(got.Body)
	want = []command.HeldLock{
		{Name: "z", Holder: command.Holder{Session: "a", Fence: 13}},
		{Name: "mine", Holder: command.Holder{Session: "a", Fence: 7}},
		{Name: "f", Holder: command.Holder{Session: "a", Fence: 13}},
	}
	if err != nil || got.Refused || !slices.Equal(held, want) || w.lock("z").Holders[0].Note != "all" {
		t.Errorf("granted: %+v, %+v, %v", got, held, err)
	}
	if got, want := w.happened(), []string{"lock z {a 13 false false }", "lock f {a 13 false false }"}; !slices.Equal(got, want) {
		t.Errorf("events %q; want %q", got, want)
	}
	w.refuses("the same twice", all("x", "x"), Invalid)
	w.refuses("no name", all("x", ""), Invalid)
	w.refuses("a stranger", w.do(&AcquireAllCommand{Session: "x", Locks: []string{"x"}}), SessionUnknown)
	w.m.bounds.perSession, w.m.bounds.bytes = 6, w.m.bytes-1
	w.refuses("more than a session may have", all("x", "y"), Overloaded)
	if got := all("mine", "z"); got.Refused {
		t.Errorf("a renewal at the limit: %+v", got)
	}
}
