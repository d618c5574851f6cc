package locks

import (
	"reflect"
	"strconv"
	"testing"
	"time"
)

const second = time.Second

func (w *world) alive(id string) bool {
	s, _ := w.m.alive(id)
	return s != nil
}

func (w *world) keepAlive(id string) LeaseState {
	w.t.Helper()
	a := w.ask(Question{Extend: true, Sessions: []string{id}})
	if a.NotYet {
		w.t.Fatal("the leader answers: not yet")
	}
	return a.Leases[0].State
}

func TestExpireIsVoid(t *testing.T) {
	tests := []struct {
		name   string
		before []Command
		expire ExpireCommand
		alive  bool
	}{
		{"the newest leader's", nil, ExpireCommand{Session: "a", Ballot: b(1), Renewals: 0}, false},
		{"an old leader's after a new one", []Command{&LeadCommand{Ballot: b(2)}}, ExpireCommand{Session: "a", Ballot: b(1), Renewals: 0}, true},
		{"a leader's that the log does not know", nil, ExpireCommand{Session: "a", Ballot: b(2), Renewals: 0}, true},
		{"from before a renewal", []Command{
			&AcquireCommand{Lock: "l", Session: "a"}, &AcquireCommand{Lock: "l", Session: "a"},
		}, ExpireCommand{Session: "a", Ballot: b(1), Renewals: 1}, true},
		{"from after all renewals", []Command{
			&AcquireCommand{Lock: "l", Session: "a"}, &AcquireCommand{Lock: "l", Session: "a"},
		}, ExpireCommand{Session: "a", Ballot: b(1), Renewals: 2}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.do(&LeadCommand{Ballot: b(1)})
			w.open("a")
			for _, c := range tt.before {
				w.do(c)
			}
			w.do(&tt.expire)
			if got := w.alive("a"); got != tt.alive {
				t.Errorf("alive is %v; want %v", got, tt.alive)
			}
		})
	}
}

func TestLeaseRunsByTheLeadersClock(t *testing.T) {
	w := newWorld(t)
	w.open("a", "b")
	w.now = 1000 * second
	if a := w.ask(Question{Sessions: []string{"a"}}); !a.NotYet {
		t.Fatalf("a node that does not lead answers %+v", a)
	}
	if got, want := w.lead(b(1)), []Command{&LeadCommand{Ballot: b(1)}}; !reflect.DeepEqual(got, want) {
		t.Fatalf("first: %v; want %v", got, want)
	}
	w.now += 9 * second
	if got := w.keepAlive("a"); got != LeaseAlive {
		t.Fatalf("keepalive: %v", got)
	}
	w.now += second - 1 // b has its full TTL, and the smear of a new leader
	if got := w.lead(b(1)); got != nil || !w.alive("b") {
		t.Fatalf("before the TTL: %v", got)
	}
	w.now += maxSmear + 1
	got, want := w.lead(b(1)), []Command{&ExpireCommand{Session: "b", Ballot: b(1), Renewals: 0}}
	if !reflect.DeepEqual(got, want) || w.alive("b") || !w.alive("a") {
		t.Fatalf("after the TTL: %v; want %v", got, want)
	}
	if got := w.keepAlive("b"); got != LeaseOver {
		t.Errorf("keepalive of an expired session: %v", got)
	}
	if got := w.keepAlive("c"); got != LeaseUnknown {
		t.Errorf("keepalive of a stranger: %v", got)
	}

	// A new leader starts what is left in full.
	w.m.Follow()
	w.now += 3 * second
	w.lead(b(2))
	w.now += 10*second - 1
	if got := w.lead(b(2)); got != nil {
		t.Fatalf("new leader, before the TTL: %v", got)
	}
}

// What somebody was told of the first lease, which a new leader smears, must
// stay true if a renewal comes of which nobody hears.
func TestRenewalNeverShortensALease(t *testing.T) {
	w := newWorld(t)
	w.open("a", "b", "c")
	w.lead(b(1))
	for _, id := range []string{"a", "b", "c"} {
		left := w.ask(Question{Sessions: []string{id}}).Leases[0].Remaining
		if got := w.ask(Question{Sessions: []string{id}, Extend: true}).Leases[0].Remaining; got < left {
			t.Errorf("session %s has %v left after a renewal; before it was %v", id, got, left)
		}
		w.now += left / 2
		w.keepAlive(id)
		if got, want := w.ask(Question{Sessions: []string{id}}).Leases[0], 10*second; got.Remaining < want {
			t.Errorf("session %s has %v left after a late renewal; want %v at least", id, got.Remaining, want)
		}
	}
}

func TestKeepaliveNeverPromisesWhatTheLogMayBreak(t *testing.T) {
	w := newWorld(t)
	w.lead(b(1))
	w.open("a")
	w.do(&AcquireCommand{Lock: "l", Session: "a"})
	w.now += 10 * second
	cmds := w.m.Lead(b(1), w.now) // proposed and not applied yet
	if len(cmds) != 1 {
		t.Fatalf("%d commands; want one expiry", len(cmds))
	}
	if got := w.keepAlive("a"); got != LeaseEnding {
		t.Fatalf("keepalive while the expiry is under way: %v", got)
	}
	// A renewal gets into the log first: the expiry is void, the lease is new.
	w.do(&AcquireCommand{Lock: "l", Session: "a"})
	w.now += second
	w.raw(cmds[0])
	if got := w.keepAlive("a"); got != LeaseAlive || !w.alive("a") {
		t.Fatalf("keepalive after a void expiry: %v", got)
	}
	w.now += 10*second - 1
	if got := w.m.Lead(b(1), w.now); len(got) != 0 {
		t.Errorf("the lease was not begun anew: %q", got)
	}
	// A lost proposal is repeated.
	w.now += 1
	if got := w.m.Lead(b(1), w.now); len(got) != 1 {
		t.Fatalf("%d commands; want the expiry", len(got))
	}
	w.now += repeatAfter - 1
	if got := w.m.Lead(b(1), w.now); len(got) != 0 {
		t.Errorf("repeated too soon: %q", got)
	}
	w.now += 1
	if got := w.lead(b(1)); len(got) != 1 || w.alive("a") {
		t.Errorf("not repeated: %v", got)
	}
}

func TestMassExpiryIsRateLimitedOldestFirst(t *testing.T) {
	w := newWorld(t)
	w.lead(b(1))
	for i := range maxDue + 5 {
		w.open(strconv.Itoa(1000 - i))
		w.now++
	}
	w.now += 20 * second
	first := w.lead(b(1))
	if len(first) != maxDue || !reflect.DeepEqual(first[0], &ExpireCommand{Session: "1000", Ballot: b(1), Renewals: 0}) {
		t.Errorf("first call: %d commands, first %+v", len(first), first[0])
	}
	if rest := w.lead(b(1)); len(rest) != 5 || w.m.sessions.Len() != 0 {
		t.Errorf("second call: %d commands, %d sessions left", len(rest), w.m.sessions.Len())
	}
}

// TestOldLeadersEndsAreVoid: a new leader gives lock-delays and holders who are
// asked to yield their time again, and says so. What an old leader proposed
// before that, and is chosen after it, must not cut it short.
func TestOldLeadersEndsAreVoid(t *testing.T) {
	w := ledWorld(t)
	w.do(&OpenCommand{ID: "x", TTL: second, LockDelay: second}) // 7
	w.acquire("l", "x")
	w.acquire("s", "a")
	w.do(&YieldCommand{Lock: "s", Within: second}) // 10
	w.expire("x")                                  // 11
	w.now += 2 * second
	late := w.m.Lead(b(1), w.now)
	w.lead(b(2))
	for _, cmd := range late {
		w.raw(cmd)
	}
	a := w.ask(Question{Locks: []string{"l", "s"}})
	if len(late) != 2 || a.Delays[0] != second || a.Yields[1] != second {
		t.Errorf("after %d commands of the old leader there are %v left of lock-delays and %v to yield; want a second of each", len(late), a.Delays, a.Yields)
	}
	w.now += second
	w.lead(b(2))
	if r := w.acquire("l", "b"); r.Refused || len(w.lock("s").Holders) != 0 {
		t.Errorf("when that is over: %+v, %+v", r, w.lock("s"))
	}
}

func TestLockDelayFollowsExpiryOnly(t *testing.T) {
	w := newWorld(t)
	w.lead(b(1)) // revision 1
	w.do(&OpenCommand{ID: "a", TTL: 10 * second, LockDelay: 5 * second})
	w.open("b")
	w.do(&AcquireCommand{Lock: "l", Session: "a"})
	w.do(&ReleaseCommand{Lock: "l", Fence: 4})
	w.do(&AcquireCommand{Lock: "l", Session: "a"}) // no delay after a release
	w.do(&AcquireCommand{Request: req("1"), Lock: "l", Session: "b", Wait: true})
	w.now += 9 * second
	w.keepAlive("b")
	w.now += second
	w.lead(b(1)) // a expires at 8
	held := w.do(&AcquireCommand{Lock: "l", Session: "b"})
	if want := (Result{Refused: true, Code: LockHeld, Position: 2, Delayed: true}); held != want {
		t.Fatalf("in the delay: %+v; want %+v", held, want)
	}
	w.now += 2 * second
	if got := w.ask(Question{Locks: []string{"l"}}).Delays; !reflect.DeepEqual(got, []time.Duration{3 * second}) {
		t.Errorf("remaining %v", got)
	}
	w.lead(b(2)) // a new leader starts the delay in full
	w.now += 5*second - 1
	if got := w.lead(b(2)); got != nil {
		t.Errorf("the delay ended early: %v", got)
	}
	w.now++
	if got, want := w.lead(b(2)), []Command{&DelayCommand{Lock: "l", Since: 8, Ballot: b(2)}}; !reflect.DeepEqual(got, want) {
		t.Errorf("at its end: %v; want %v", got, want)
	}
	got := w.lock("l")
	want := Lock{
		Name: "l", Slots: 1, Changed: 11,
		Holders: []Holder{{Session: "b", Owner: "b", Fence: 11, Since: 11, ExpiresIn: -1}},
		Past:    []Past{{"a", "a", 6, 8, "expired"}, {"a", "a", 4, 5, "released"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("lock is %+v\nwant    %+v", got, want)
	}
}

func TestAnswersAreForgottenByTheLeadersClock(t *testing.T) {
	w := newWorld(t)
	w.lead(b(1))
	put := func(r Request) Result { return w.do(&PutCommand{Request: r, Key: "k"}) }
	mine, theirs := Request{ID: "x", Own: true}, Request{ID: "x", Hash: 7}
	if a, b := put(mine).Version, put(theirs).Version; a != 1 || b != 2 {
		t.Fatalf("versions %d and %d; want 1 and 2: the tables are apart", a, b)
	}
	if got, want := put(theirs), (Result{Repeated: true, Version: 2, Created: 2}); got != want {
		t.Fatalf("repeated: %+v; want %+v", got, want)
	}
	if got := put(Request{ID: "x", Hash: 8}); got.Code != KeyReused || !got.Refused {
		t.Fatalf("another request with the same key: %+v", got)
	}
	w.m = restored(t, w.m)
	w.lead(b(2))
	since := w.m.revision
	put(Request{ID: "y", Own: true})
	w.lead(b(2))
	if n := w.m.Counts(); n.Answers != 1 || n.Own != 2 {
		t.Errorf("%+v; want one answer to a caller's key and two to our own", n)
	}
	w.now += keepOwn + second
	w.lead(b(2))
	if n := w.m.Counts(); n.Answers != 1 || n.Own != 0 {
		t.Errorf("%+v; want the answer to the caller's key alone", n)
	}
	if got := put(Request{ID: "y", Own: true, Retry: true, Since: since}); got.Code != OutcomeUnknown {
		t.Errorf("a retry whose answer is forgotten: %+v; want refused as unknown", got)
	}
	if got := put(theirs); !got.Repeated {
		t.Errorf("a caller's key was forgotten after a minute: %+v", got)
	}
	w.now += keepAnswers
	w.lead(b(2))
	if got := put(theirs); got.Repeated {
		t.Errorf("a caller's key is remembered for ever: %+v", got)
	}
}

func TestBounds(t *testing.T) {
	w := newWorld(t)
	w.m.bounds = bounds{
		sessions: 3, locks: 3, waiters: 1, holders: 4, perSession: 2, bytes: 100, answers: 2, ownAnswers: 2,
		history: 1, idle: 2, ended: 1, changes: 10, eventSize: 1 << 20, answerSize: 1 << 20,
	}
	w.open("a", "b", "c")
	steps := []struct {
		name string
		cmd  Command
		want Code // 0: done
	}{
		{"sessions", &OpenCommand{ID: "d"}, Overloaded},
		{"lock", &AcquireCommand{Lock: "1", Session: "a"}, 0},
		{"entry", &PutCommand{Key: "k", Session: "a"}, 0},
		{"per session", &AcquireCommand{Lock: "2", Session: "a"}, Overloaded},
		{"lock of another", &AcquireCommand{Lock: "2", Session: "b"}, 0},
		{"locks and entries", &PutCommand{Key: "k2"}, Overloaded},
		{"fences", &AdvanceCommand{Resource: "r"}, Overloaded},
		{"several locks", &AcquireAllCommand{Session: "c", Locks: []string{"4"}}, Overloaded},
		{"an entry of a transaction", &TxnCommand{Then: []Op{{Kind: OpPut, Key: "k2"}}}, Overloaded},
		{"the same entry", &PutCommand{Key: "k", Session: "a"}, 0},
		{"waiter", &AcquireCommand{Lock: "1", Session: "b", Wait: true}, 0},
		{"waiters", &AcquireCommand{Lock: "1", Session: "c", Wait: true}, Overloaded},
		{"bytes", &PutCommand{Key: "k", Value: make([]byte, 100)}, TooLarge},
		{"bytes of a reason", &YieldCommand{Lock: "1", Reason: string(make([]byte, 100))}, TooLarge},
		{"bytes of a note", &AcquireAllCommand{Session: "a", Locks: []string{"1"}, Note: string(make([]byte, 100))}, 0},
		{"shrinking", &ReleaseCommand{Lock: "2", Fence: 8}, 0},
		{"after that", &AcquireCommand{Lock: "3", Session: "c"}, 0},
	}
	for _, s := range steps {
		if got := w.do(s.cmd); got.Code != s.want || got.Refused != (s.want != 0) {
			t.Errorf("%s: %+v; want code %d", s.name, got, s.want)
		}
	}
	w.do(&EndCommand{ID: "a"})
	w.do(&EndCommand{ID: "b"})
	w.do(&EndCommand{ID: "c"})
	if n := w.m.locks.Len(); n != 2 {
		t.Errorf("%d free locks are remembered; want 2", n)
	}
	if _, no := w.m.alive("a"); no.Code != SessionUnknown {
		t.Errorf("the oldest ended session: %+v; want forgotten", no)
	}
	if _, no := w.m.alive("c"); no.Code != SessionExpired {
		t.Errorf("the last ended session: %+v; want remembered", no)
	}
	restored(t, w.m)
}
