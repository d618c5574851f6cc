package service

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

func TestReadersAreWokenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, writer := held(t)
		ask := func(name string, mode locks.Mode) <-chan acquired {
			return acquire(t, s, Acquire{Name: "l", Session: open(t, s, name), Mode: mode, Wait: time.Minute})
		}
		r1, r2 := ask("r1", locks.Shared), ask("r2", locks.Shared)
		w, late := ask("w", locks.Exclusive), ask("late", locks.Shared)
		if !waits(r1) || !waits(r2) || !waits(w) || !waits(late) {
			t.Fatal("somebody holds the lock beside its writer")
		}
		if _, err := s.Release(t.Context(), Release{Name: "l", Fence: writer.Fence}); err != nil {
			t.Fatal(err)
		}
		g1, g2 := <-r1, <-r2
		if g1.err != nil || g2.err != nil || g1.Fence != g2.Fence || g1.Mode != locks.Shared || g1.Fence <= writer.Fence {
			t.Errorf("readers: %+v and %+v; want one fence, above %d", g1, g2, writer.Fence)
		}
		if !waits(w) || !waits(late) {
			t.Error("a writer, or the reader behind it, came along with the readers")
		}
		if _, err := s.Release(t.Context(), Release{Name: "l", Fence: g1.Fence}); codeOf(err) != "code 17" {
			t.Errorf("release of a shared fence without saying whose: %v; want session needed", err)
		}
		for _, g := range []acquired{g1, g2} {
			if !waits(w) {
				t.Error("the writer was granted the lock beside a reader")
			}
			if _, err := s.Release(t.Context(), Release{Name: "l", Fence: g.Fence, Session: g.Session}); err != nil {
				t.Error(err)
			}
		}
		gw := <-w
		if gw.err != nil || gw.Mode != locks.Exclusive || !waits(late) {
			t.Errorf("the writer after them: %+v", gw)
		}
		if _, err := s.EndSession(t.Context(), gw.Session, Common{}); err != nil {
			t.Fatal(err)
		}
		if g := <-late; g.err != nil || g.Fence <= gw.Fence {
			t.Errorf("the reader behind the writer: %+v", g)
		}
		if n := l.m.Counts(); n.Locks != 1 || n.Waiters != 0 {
			t.Errorf("%+v; want one grant and nobody waiting", n)
		}
	})
}

func TestSemaphore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ask := func(slots int, wait time.Duration) <-chan acquired {
			return acquire(t, s, Acquire{Name: "l", TTL: time.Hour, Slots: slots, Wait: wait})
		}
		a, b := <-ask(2, 0), <-ask(2, time.Minute)
		if a.err != nil || b.err != nil || a.Slots != 2 || b.Waited != 0 {
			t.Fatalf("%+v, %+v; want both at once", a, b)
		}
		third := <-ask(2, time.Second)
		e, ok := errors.AsType[*locks.Error](third.err)
		if !ok || e.Code != locks.LockHeld || e.Held.QueuePosition != 1 || e.Held.Holder == nil || e.Held.Holder.Session != a.Session {
			t.Errorf("the third: %+v; want held by the first", third.err)
		}
		for _, slots := range []int{0, 1, 3} {
			other := <-ask(slots, time.Minute)
			if e, ok := errors.AsType[*locks.Error](other.err); !ok || e.Code != locks.LimitMismatch || e.Slots != 2 {
				t.Errorf("with %d slots: %v; want limit mismatch with 2", slots, other.err)
			}
		}
		c, d := ask(2, time.Minute), ask(2, time.Minute)
		if _, err := s.Release(t.Context(), Release{Name: "l", Fence: b.Fence}); err != nil {
			t.Fatal(err)
		}
		if g := <-c; g.err != nil || g.Slots != 2 || !waits(d) {
			t.Errorf("after one release: %+v; want the next alone", g)
		}
		if _, err := s.Release(t.Context(), Release{Name: "l", Force: true, Reason: "drill"}); err != nil {
			t.Fatal(err)
		}
		if g := <-d; g.err != nil {
			t.Errorf("after it was broken: %+v", g)
		}
		if lk := l.lock("l"); len(lk.Holders) != 1 || len(lk.Past) != 3 || lk.Past[0].Reason != "forced: drill" {
			t.Errorf("%+v; want one holder after three", lk)
		}
	})
}

func TestOneSessionWaitsTwice(t *testing.T) {
	tests := []struct {
		name          string
		first, second locks.Mode
		want          string // of the second
	}{
		{"in the same mode", locks.Shared, locks.Shared, "ok"},
		{"to read, then to write", locks.Shared, locks.Exclusive, "code 16"},
		{"to write, then to read", locks.Exclusive, locks.Shared, "code 16"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l, holder := held(t)
				id := open(t, s, "x")
				one := acquire(t, s, Acquire{Name: "l", Session: id, Mode: tt.first, Wait: time.Minute})
				two := acquire(t, s, Acquire{Name: "l", Session: id, Mode: tt.second, Wait: time.Minute})
				if _, err := s.Release(t.Context(), Release{Name: "l", Fence: holder.Fence}); err != nil {
					t.Fatal(err)
				}
				got, other := <-one, <-two
				if got.err != nil || got.Mode != tt.first {
					t.Errorf("the first: %+v", got)
				}
				if c := codeOf(other.err); c != tt.want || c == "ok" && other.Fence != got.Fence {
					t.Errorf("the second: %+v; want %s", other, tt.want)
				}
				if lk := l.lock("l"); len(lk.Holders) != 1 || len(lk.Waiters) != 0 {
					t.Errorf("%+v; want one grant, and no place left", lk)
				}
			})
		})
	}
}

func TestChangeOfMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		r := Acquire{Name: "l", Session: open(t, s, "a"), Wait: time.Minute}
		first := <-acquire(t, s, r)
		reader := acquire(t, s, Acquire{Name: "l", Session: open(t, s, "b"), Mode: locks.Shared, Wait: time.Minute})
		if !waits(reader) {
			t.Fatal("a reader beside a writer")
		}
		r.Mode = locks.Shared
		down := <-acquire(t, s, r)
		if down.err != nil || down.Fence != first.Fence || down.Mode != locks.Shared {
			t.Errorf("downgrade: %+v; want fence %d", down, first.Fence)
		}
		other := <-reader
		if other.err != nil || other.Fence <= first.Fence {
			t.Errorf("who waited to read: %+v", other)
		}
		r.Mode = locks.Exclusive
		start := time.Now()
		if up := <-acquire(t, s, r); codeOf(up.err) != "code 16" || time.Since(start) != 0 {
			t.Errorf("upgrade beside a reader: %+v after %v; want refused at once", up, time.Since(start))
		}
		if _, err := s.Release(t.Context(), Release{Name: "l", Fence: other.Fence}); err != nil {
			t.Fatal(err)
		}
		up := <-acquire(t, s, r)
		if up.err != nil || up.Fence <= other.Fence || up.Mode != locks.Exclusive {
			t.Errorf("upgrade alone: %+v; want a fence above %d", up, other.Fence)
		}
		if p := l.lock("l").Past; len(p) != 2 || p[0].Reason != locks.ReasonUpgraded || p[0].Fence != first.Fence {
			t.Errorf("past %+v; want the grant to read upgraded", p)
		}
	})
}

func TestCampaign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		r := Acquire{Name: "e", Session: open(t, s, "a"), Campaign: true, Value: "a:1", Wait: time.Minute}
		first := <-acquire(t, s, r)
		next := acquire(t, s, Acquire{Name: "e", Session: open(t, s, "b"), Campaign: true, Value: "b:1", Wait: time.Minute})
		want := func(session, value string, term uint64) {
			t.Helper()
			lk, _, err := s.GetLock(t.Context(), "e", Read{})
			if err != nil || len(lk.Holders) != 1 {
				t.Fatalf("%+v, %v", lk, err)
			}
			if h := lk.Holders[0]; h.Session != session || h.Value != value || h.Fence != term || !h.Elected {
				t.Errorf("led by %+v; want %s with %q in term %d", h, session, value, term)
			}
		}
		want(r.Session, "a:1", first.Fence)
		r.Value = "a:2"
		if g := <-acquire(t, s, r); g.err != nil || g.Fence != first.Fence {
			t.Errorf("renewal: %+v", g)
		}
		want(r.Session, "a:2", first.Fence)
		if w := l.lock("e").Waiters; len(w) != 1 || !w[0].Campaign || w[0].Value != "b:1" {
			t.Errorf("candidates %+v", w)
		}
		if _, err := s.Release(t.Context(), Release{Name: "e", Fence: first.Fence}); err != nil {
			t.Fatal(err)
		}
		g := <-next
		want(g.Session, "b:1", g.Fence)
		if g.Fence <= first.Fence {
			t.Errorf("term %d after %d", g.Fence, first.Fence)
		}
	})
}

func TestInvalidAcquires(t *testing.T) {
	s := newService(newFakeLog())
	tests := []struct {
		field string
		r     Acquire
	}{
		{"slots", Acquire{Slots: -1}},
		{"slots", Acquire{Slots: 10_001}},
		{"slots", Acquire{Slots: 2, Mode: locks.Shared}},
		{"mode", Acquire{Mode: 2}},
		{"mode", Acquire{Slots: 2, Campaign: true}},
		{"mode", Acquire{Mode: locks.Shared, Campaign: true}},
		{"value", Acquire{Value: "v"}},
		{"value", Acquire{Value: string(make([]byte, 4097)), Campaign: true}},
		{"note", Acquire{Note: "\xff"}},
	}
	for _, tt := range tests {
		tt.r.Name = "l"
		_, _, err := s.Acquire(t.Context(), tt.r)
		if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != locks.Invalid || e.Field != tt.field {
			t.Errorf("%+v: %v; want %s to be invalid", tt.r, err, tt.field)
		}
	}
}

// TestAbandonGivesBackItsOwnGrant has an acquire granted together with another
// one, with the same fence, at the moment when its caller has gone.
func TestAbandonGivesBackItsOwnGrant(t *testing.T) {
	tests := []struct {
		name  string
		mode  locks.Mode
		slots int
	}{
		{"of readers", locks.Shared, 1},
		{"of a semaphore", locks.Exclusive, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog()
				s := newService(l)
				for range tt.slots {
					if g := <-acquire(t, s, Acquire{Name: "l", TTL: time.Hour, Slots: tt.slots}); g.err != nil {
						t.Fatal(g.err)
					}
				}
				r := Acquire{Name: "l", TTL: time.Hour, Mode: tt.mode, Slots: tt.slots, Wait: time.Minute}
				before := acquire(t, s, r)
				ctx, cancel := context.WithCancel(t.Context())
				gone := make(chan error, 1)
				go func() {
					_, _, err := s.Acquire(ctx, r)
					gone <- err
				}()
				synctest.Wait()
				after := acquire(t, s, r)
				first := l.n + 1
				l.propose = func(n int, _ func()) error {
					if n == first { // the cancel: what makes the grants is just before it in the log
						l.apply(locks.Encode(&locks.ReleaseCommand{Lock: "l", Force: true}))
					}
					return nil
				}
				cancel()
				if err := <-gone; codeOf(err) != "code 12" {
					t.Errorf("whose caller has gone: %v; want outcome unknown", err)
				}
				a, b := <-before, <-after
				if a.err != nil || b.err != nil {
					t.Fatalf("the others: %+v, %+v", a, b)
				}
				synctest.Wait()
				var holders []string
				for _, h := range l.lock("l").Holders {
					holders = append(holders, h.Session)
				}
				if want := []string{a.Session, b.Session}; !reflect.DeepEqual(holders, want) {
					t.Errorf("held by %v; want %v", holders, want)
				}
				if p := l.lock("l").Past[0]; p.Fence != a.Fence || p.Reason != locks.ReasonReleased {
					t.Errorf("given back: %+v; want a grant with fence %d", p, a.Fence)
				}
			})
		})
	}
}

// TestAbandonLeavesTheGrantOfARetry has a retry told of a grant before what its
// first attempt left is taken back.
func TestAbandonLeavesTheGrantOfARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, holder := held(t)
		r := Acquire{Name: "l", TTL: time.Hour, Wait: time.Minute, Common: Common{IdempotencyKey: "k", RequestHash: 1}}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _, _ = s.Acquire(ctx, r) }()
		synctest.Wait()
		slow := false
		l.propose = func(int, func()) error {
			if slow {
				return &paxos.NotLeaderError{}
			}
			return nil
		}
		slow = true
		cancel()
		synctest.Wait() // the cancel is under way
		l.order(&locks.ReleaseCommand{Lock: "l", Fence: holder.Fence})
		slow = false
		g := <-acquire(t, s, r)
		if g.err != nil {
			t.Fatal(g.err)
		}
		time.Sleep(time.Second)
		if _, err := s.CheckFence(t.Context(), "l", g.Fence, Read{}); err != nil {
			t.Errorf("what the retry was granted was taken back: %v", err)
		}
	})
}
