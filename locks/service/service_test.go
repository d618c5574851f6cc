package service

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

func newService(l *fakeLog) *Service {
	return New(Config{Log: l, Machine: l.m, Now: l.now})
}

func codeOf(err error) string {
	if err == nil {
		return "ok"
	}
	e, ok := errors.AsType[*locks.Error](err)
	if !ok {
		return fmt.Sprintf("%T", err)
	}
	return fmt.Sprintf("code %d", e.Code)
}

func TestChangeHasOneEffect(t *testing.T) {
	unknown := func(apply bool) func(int, func()) error {
		return func(n int, do func()) error {
			if n > 1 {
				return nil
			}
			if apply {
				do()
			}
			return paxos.ErrUnknownOutcome
		}
	}
	always := func(err error) func(int, func()) error { return func(int, func()) error { return err } }
	tests := []struct {
		name    string
		propose func(int, func()) error
		want    string
		version uint64 // of the entry afterwards
	}{
		{"at once", nil, "ok", 1},
		{"no leader at first", func(n int, _ func()) error {
			if n < 5 {
				return &paxos.NotLeaderError{}
			}
			return nil
		}, "ok", 1},
		{"unknown and done", unknown(true), "ok", 1},
		{"unknown and not done", unknown(false), "ok", 1},
		{"never a leader", always(&paxos.NotLeaderError{}), "code 10", 0},
		{"always overloaded", always(paxos.ErrOverloaded), "code 11", 0},
		{"never an answer", always(paxos.ErrUnknownOutcome), "code 12", 0},
		{"a strange error", always(errors.New("?")), "code 12", 0},
		{"unknown once, then no leader", func(n int, _ func()) error {
			if n == 1 {
				return paxos.ErrUnknownOutcome
			}
			return &paxos.NotLeaderError{}
		}, "code 12", 0},
		{"unknown once, then overloaded", func(n int, _ func()) error {
			if n == 1 {
				return paxos.ErrUnknownOutcome
			}
			return paxos.ErrOverloaded
		}, "code 12", 0},
		{"unknown and done, then overloaded for a while", func(n int, do func()) error {
			if n == 1 {
				do()
				return paxos.ErrUnknownOutcome
			}
			if n < 5 {
				return paxos.ErrOverloaded
			}
			return nil
		}, "ok", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog()
				l.propose = tt.propose
				start := time.Now()
				_, _, _, err := newService(l).Put(t.Context(), Put{Key: "k", Value: []byte("v")})
				var version uint64
				l.m.View(func(v locks.View) {
					if e := v.Entry("k"); e != nil {
						version = e.Version
					}
				})
				if got := codeOf(err); got != tt.want || version != tt.version {
					t.Errorf("%s, version %d (%v); want %s, version %d", got, version, err, tt.want, tt.version)
				}
				if d := time.Since(start); d > 10*time.Second {
					t.Errorf("it took %v; want at most 10s", d)
				}
			})
		})
	}
}

// TestOverloadedIsAnsweredAtOnce: who is refused because too much is asked hears it when
// there is time to ask another node. To give a place back is tried again.
func TestOverloadedIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, _ := held(t)
		waiter := acquire(t, s, Acquire{Name: "l", TTL: time.Hour, Wait: time.Second})
		synctest.Wait()
		begin, from := time.Now(), l.n
		l.propose = func(n int, _ func()) error {
			if n < from+8 {
				return paxos.ErrOverloaded
			}
			return nil
		}
		if _, _, _, err := s.Put(t.Context(), Put{Key: "k"}); codeOf(err) != "code 11" || time.Since(begin) != 0 {
			t.Errorf("a change: %v after %v; want overloaded at once", err, time.Since(begin))
		}
		l.barrier = paxos.ErrOverloaded
		if _, _, err := s.Get(t.Context(), "k", Read{}); codeOf(err) != "code 11" || time.Since(begin) != 0 {
			t.Errorf("a read: %v after %v; want overloaded at once", err, time.Since(begin))
		}
		if g := <-waiter; codeOf(g.err) != "code 2" || len(l.lock("l").Waiters) != 0 {
			t.Errorf("who gives up: %+v; want that nobody waits", g)
		}
	})
}

func TestRefusalDoesNotBindAnEarlierAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		l.answer = locks.Result{Refused: true, Code: locks.Overloaded}.Encode()
		l.propose = func(n int, _ func()) error {
			if n == 1 {
				return paxos.ErrUnknownOutcome
			}
			return nil
		}
		_, _, err := newService(l).CreateSession(t.Context(), CreateSession{})
		if got := codeOf(err); got != "code 12" {
			t.Errorf("%s (%v); want outcome unknown", got, err)
		}
	})
}

// waiters starts a holder and returns the service, the log and the holder's
// grant.
func held(t *testing.T) (*Service, *fakeLog, locks.Grant) {
	l := newFakeLog()
	s := newService(l)
	g, _, err := s.Acquire(t.Context(), Acquire{Name: "l", TTL: time.Hour})
	if err != nil || g.ExpiresIn != time.Hour {
		t.Fatalf("first acquire: %+v, %v", g, err)
	}
	return s, l, g
}

func (l *fakeLog) queue() int {
	var lk locks.Lock
	l.m.View(func(v locks.View) { lk, _ = v.Lock("l", 0) })
	return len(lk.Waiters)
}

func TestWaitEndsWithTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, holder := held(t)
		type answer struct {
			g   locks.Grant
			err error
		}
		done := make(chan answer, 1)
		go func() {
			g, _, err := s.Acquire(t.Context(), Acquire{Name: "l", TTL: 3 * time.Second, Wait: time.Minute})
			done <- answer{g, err}
		}()
		// Its own session would be over by now if the service let it.
		for range 200 {
			time.Sleep(100 * time.Millisecond)
			l.lead()
		}
		synctest.Wait()
		if _, err := s.Release(t.Context(), Release{Name: "l", Fence: holder.Fence}); err != nil {
			t.Fatal(err)
		}
		got := <-done
		want := locks.Grant{Name: "l", Session: got.g.Session, Fence: got.g.Fence, Slots: 1, ExpiresIn: 3 * time.Second, Waited: 20 * time.Second}
		if got.err != nil || got.g != want || got.g.Fence <= holder.Fence {
			t.Errorf("%+v, %v; want %+v", got.g, got.err, want)
		}
		synctest.Wait()
	})
}

func TestWaitEndsWithoutTheGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, holder := held(t)
		start := time.Now()
		_, _, err := s.Acquire(t.Context(), Acquire{Name: "l", Wait: 7 * time.Second})
		want := &locks.Error{Op: "acquire", Name: "l", Code: locks.LockHeld, Held: &locks.HeldInfo{QueuePosition: 1, Holder: &locks.Holder{
			Session: holder.Session, Owner: holder.Session, Fence: holder.Fence, Since: holder.Fence,
			Held: 7 * time.Second, ExpiresIn: time.Hour - 7*time.Second,
		}}}
		if !reflect.DeepEqual(err, want) || time.Since(start) != 7*time.Second {
			t.Errorf("after %v: %+v\nwant %+v", time.Since(start), err, want)
		}
		if n := l.queue(); n != 0 {
			t.Errorf("%d still wait", n)
		}
		if n := l.m.Counts().Sessions; n != 1 {
			t.Errorf("%d sessions; want the holder's alone", n)
		}
	})
}

func TestGrantAtTheLastMomentCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, holder := held(t)
		l.propose = func(n int, _ func()) error {
			if n == 3 { // the cancel: the release is just before it in the log
				l.apply(locks.Encode(&locks.ReleaseCommand{Lock: "l", Fence: holder.Fence}))
			}
			return nil
		}
		g, _, err := s.Acquire(t.Context(), Acquire{Name: "l", TTL: time.Hour, Wait: time.Second})
		if err != nil || g.Fence <= holder.Fence || g.Waited != time.Second {
			t.Errorf("%+v, %v; want the grant", g, err)
		}
	})
}

func TestLostConnection(t *testing.T) {
	for _, tt := range []struct {
		name    string
		session bool
		queue   int
	}{
		{"keeps the place of a session", true, 1},
		{"gives up the place of a request without one", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, l, holder := held(t)
				r := Acquire{Name: "l", Wait: time.Minute, Common: Common{IdempotencyKey: "again", RequestHash: 1}}
				if tt.session {
					x, _, err := s.CreateSession(t.Context(), CreateSession{TTL: time.Hour})
					if err != nil {
						t.Fatal(err)
					}
					r.Session = x.ID
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				if _, _, err := s.Acquire(ctx, r); codeOf(err) != "code 12" {
					t.Errorf("broken off: %v; want outcome unknown", err)
				}
				synctest.Wait()
				if n := l.queue(); n != tt.queue {
					t.Errorf("%d places; want %d", n, tt.queue)
				}
				if !tt.session {
					return
				}
				time.AfterFunc(time.Second, func() {
					_, _ = s.Release(context.Background(), Release{Name: "l", Fence: holder.Fence})
				})
				g, _, err := s.Acquire(t.Context(), r)
				if err != nil || g.Session != r.Session || g.Waited != time.Second {
					t.Errorf("taken up again: %+v, %v", g, err)
				}
				again, _, err := s.Acquire(t.Context(), r)
				if err != nil || again.Fence != g.Fence {
					t.Errorf("asked again: %+v, %v; want the same grant", again, err)
				}
			})
		})
	}
}

func TestCancelOvertakesItsAcquire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, _ := held(t)
		var late func()
		l.propose = func(n int, apply func()) error {
			switch n {
			case 2:
				late = apply // it is under way, for longer than the request lasts
				return paxos.ErrUnknownOutcome
			case 3, 4:
				return nil
			}
			return paxos.ErrUnknownOutcome
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := s.Acquire(ctx, Acquire{Name: "l", Wait: time.Minute}); codeOf(err) != "code 12" {
			t.Fatalf("%v; want outcome unknown", err)
		}
		synctest.Wait()
		late()
		if n := l.queue(); n != 0 {
			t.Errorf("%d phantoms in the queue", n)
		}
	})
}

func TestReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ctx := t.Context()
		time.AfterFunc(2*time.Second, func() { _, _, _, _ = s.Put(ctx, Put{Key: "k", Value: []byte("1")}) })
		start := time.Now()
		if _, _, err := s.Get(ctx, "k", Read{Wait: time.Second}); codeOf(err) != "code 8" || time.Since(start) != time.Second {
			t.Errorf("missing: %v after %v", err, time.Since(start))
		}
		e, m, err := s.Get(ctx, "k", Read{Wait: time.Minute})
		want := locks.Entry{Key: "k", Value: []byte("1"), Revision: 2, Created: 2, Version: 1}
		if !reflect.DeepEqual(e, want) || err != nil || m != (locks.Meta{Revision: 2, Slot: 2}) || time.Since(start) != 2*time.Second {
			t.Errorf("waited for: %+v, %+v, %v", e, m, err)
		}
		if e, _, err := s.Get(ctx, "k", Read{Wait: time.Second, HasNot: true, Not: 2}); err != nil || e.Revision != 2 || time.Since(start) != 3*time.Second {
			t.Errorf("nothing new: %+v, %v after %v", e, err, time.Since(start))
		}
		time.AfterFunc(time.Second, func() { _, _ = s.Delete(ctx, Delete{Key: "k"}) })
		if _, _, err := s.Get(ctx, "k", Read{Wait: time.Minute, HasNot: true, Not: 2}); codeOf(err) != "code 8" || time.Since(start) != 4*time.Second {
			t.Errorf("deleted: %v after %v", err, time.Since(start))
		}
		if _, _, err := s.Get(ctx, "k", Read{MinRevision: 99}); codeOf(err) != "code 14" || time.Since(start) != 14*time.Second {
			t.Errorf("min_revision: %v after %v", err, time.Since(start))
		}
		l.barrier = &paxos.NotLeaderError{}
		if _, _, err := s.Get(ctx, "k", Read{}); codeOf(err) != "code 10" {
			t.Errorf("no leader: %v", err)
		}
		if _, _, err := s.Get(ctx, "k", Read{Stale: true}); codeOf(err) != "code 8" {
			t.Errorf("no leader, stale: %v", err)
		}
	})
}

func TestPagesAreOfOneRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ctx := t.Context()
		put := func(key, value string) {
			if _, _, _, err := s.Put(ctx, Put{Key: key, Value: []byte(value)}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 5 {
			put(fmt.Sprintf("a/%d", i), "old")
		}
		put("b", "other")
		page, first, err := s.ListEntries(ctx, List{Prefix: "a/", Limit: 2}, Read{})
		if err != nil || len(page.Items) != 2 || page.Token == "" {
			t.Fatalf("first page: %+v, %v", page, err)
		}
		token := page.Token
		put("a/3", "new")
		if _, err := s.Delete(ctx, Delete{Key: "a/4"}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for page.Token != "" {
			var m locks.Meta
			if page, m, err = s.ListEntries(ctx, List{Prefix: "a/", Limit: 2, Token: page.Token}, Read{}); err != nil || m.Revision != first.Revision {
				t.Fatalf("next page: %+v, %v", m, err)
			}
			for _, e := range page.Items {
				got = append(got, e.Key+" "+string(e.Value))
			}
		}
		if want := []string{"a/2 old", "a/3 old", "a/4 old"}; !reflect.DeepEqual(got, want) {
			t.Errorf("%v; want %v", got, want)
		}
		time.Sleep(keepPin + 1)
		if _, _, err := s.ListEntries(ctx, List{Token: token}, Read{}); codeOf(err) != "code 1" {
			t.Errorf("an old cursor: %v; want invalid", err)
		}
	})
}

func TestKeepAliveAgainstExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		x, _, err := s.CreateSession(t.Context(), CreateSession{Name: "n", TTL: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		want := locks.Session{ID: x.ID, Name: "n", TTL: 5 * time.Second, ExpiresIn: 5 * time.Second, Created: 2}
		if !reflect.DeepEqual(x, want) {
			t.Errorf("created %+v; want %+v", x, want)
		}
		time.Sleep(4 * time.Second)
		if got, _, err := s.KeepAlive(t.Context(), KeepAlive{ID: x.ID}); err != nil || !reflect.DeepEqual(got, locks.Kept{Session: want}) {
			t.Errorf("kept alive: %+v, %v; want %+v", got, err, want)
		}
		time.Sleep(5 * time.Second)
		l.mu.Lock()
		cmds := l.m.Lead(b(1), l.now())
		l.mu.Unlock()
		time.AfterFunc(time.Second, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, cmd := range cmds {
				l.apply(cmd)
			}
		})
		start := time.Now()
		if _, _, err := s.KeepAlive(t.Context(), KeepAlive{ID: x.ID}); codeOf(err) != "code 5" || time.Since(start) < time.Second {
			t.Errorf("while its end is under way: %v after %v; want to wait, then expired", err, time.Since(start))
		}
		if _, _, err := s.KeepAlive(t.Context(), KeepAlive{ID: "s-nobody"}); codeOf(err) != "code 4" {
			t.Errorf("a stranger: %v", err)
		}
	})
}

func TestViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, g := held(t)
		ctx := t.Context()
		a, _, err := s.CreateSession(ctx, CreateSession{Name: "a", TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := s.Put(ctx, Put{Key: "k", Session: a.ID}); err != nil {
			t.Fatal(err)
		}
		go func() { _, _, _ = s.Acquire(ctx, Acquire{Name: "l", Session: a.ID, Wait: time.Second}) }()
		synctest.Wait()
		time.Sleep(time.Second / 2)

		lock, _, err := s.GetLock(ctx, "l", Read{})
		wantLock := locks.Lock{
			Name: "l", Changed: g.Fence,
			Slots: 1,
			Holders: []locks.Holder{{
				Session: g.Session, Owner: g.Session, Fence: g.Fence, Since: g.Fence,
				Held: time.Second / 2, ExpiresIn: time.Hour - time.Second/2,
			}},
			Waiters: []locks.Waiter{{Session: a.ID, Owner: "a", Since: 5}},
		}
		if err != nil || !reflect.DeepEqual(lock, wantLock) {
			t.Errorf("lock: %+v, %v; want %+v", lock, err, wantLock)
		}
		listed, _, err := s.ListLocks(ctx, List{Prefix: "l"}, Read{})
		if want := (Page[locks.Lock]{Items: []locks.Lock{wantLock}}); err != nil || !reflect.DeepEqual(listed, want) {
			t.Errorf("locks: %+v, %v; want %+v", listed, err, want)
		}
		session, _, err := s.GetSession(ctx, a.ID, Read{})
		a.ExpiresIn -= time.Second / 2
		wantSession := a
		wantSession.Waits, wantSession.Keys = []string{"l"}, []string{"k"}
		if err != nil || !reflect.DeepEqual(session, wantSession) {
			t.Errorf("session: %+v, %v; want %+v", session, err, wantSession)
		}
		sessions, _, err := s.ListSessions(ctx, List{Prefix: a.ID}, Read{})
		if want := (Page[locks.Session]{Items: []locks.Session{a}}); err != nil || !reflect.DeepEqual(sessions, want) {
			t.Errorf("sessions: %+v, %v; want %+v", sessions, err, want)
		}
		if _, err := s.CheckFence(ctx, "l", g.Fence, Read{}); err != nil {
			t.Errorf("current fence: %v", err)
		}
		if _, err := s.EndSession(ctx, a.ID, Common{}); err != nil {
			t.Errorf("end: %v", err)
		}
		if _, _, err := s.Get(ctx, "k", Read{}); codeOf(err) != "code 8" {
			t.Errorf("an ephemeral entry after its session: %v", err)
		}
		time.AfterFunc(time.Second, func() { _, _ = s.EndSession(ctx, g.Session, Common{}) })
		freed, m, err := s.GetLock(ctx, "l", Read{Wait: time.Minute, HasNot: true, Not: lock.Changed})
		if err != nil || len(freed.Holders) != 0 || freed.Changed != m.Revision {
			t.Errorf("after a long poll: %+v at %+v, %v", freed, m, err)
		}
		if _, err := s.CheckFence(ctx, "l", g.Fence, Read{}); codeOf(err) != "code 6" {
			t.Errorf("old fence: %v", err)
		}
		if _, _, err := s.GetLock(ctx, "m", Read{}); codeOf(err) != "code 3" {
			t.Errorf("unknown lock: %v", err)
		}
	})
}

func TestInvalidRequests(t *testing.T) {
	s := newService(newFakeLog())
	ctx := t.Context()
	long := string(make([]byte, 513))
	tests := []struct {
		field string
		call  func() error
	}{
		{"name", func() error { _, _, err := s.Acquire(ctx, Acquire{}); return err }},
		{"name", func() error { _, _, err := s.Acquire(ctx, Acquire{Name: long}); return err }},
		{"name", func() error { _, _, err := s.Acquire(ctx, Acquire{Name: "\xff"}); return err }},
		{"ttl", func() error { _, _, err := s.Acquire(ctx, Acquire{Name: "l", TTL: time.Second}); return err }},
		{"ttl", func() error {
			_, _, err := s.Acquire(ctx, Acquire{Name: "l", Session: "s", TTL: time.Minute})
			return err
		}},
		{"wait", func() error { _, _, err := s.Acquire(ctx, Acquire{Name: "l", Wait: time.Hour}); return err }},
		{"ttl", func() error { _, _, err := s.CreateSession(ctx, CreateSession{TTL: 25 * time.Hour}); return err }},
		{"lock_delay", func() error { _, _, err := s.CreateSession(ctx, CreateSession{LockDelay: -1}); return err }},
		{"idempotency_key", func() error { _, err := s.EndSession(ctx, "s", Common{IdempotencyKey: long}); return err }},
		{"key", func() error { _, _, err := s.Get(ctx, "", Read{}); return err }},
		{"wait", func() error { _, _, err := s.Get(ctx, "k", Read{Wait: -1}); return err }},
		{"guard", func() error { _, err := s.Delete(ctx, Delete{Key: "k", Guard: &locks.Guard{}}); return err }},
		{"limit", func() error { _, _, err := s.ListLocks(ctx, List{Limit: 1001}, Read{}); return err }},
		{"cursor", func() error { _, _, err := s.ListEntries(ctx, List{Token: "x"}, Read{}); return err }},
	}
	for i, tt := range tests {
		e, ok := errors.AsType[*locks.Error](tt.call())
		if !ok || e.Code != locks.Invalid || e.Field != tt.field {
			t.Errorf("%d: %+v; want %s to be invalid", i, e, tt.field)
		}
	}
	_, _, _, err := s.Put(ctx, Put{Key: "k", Value: make([]byte, 256<<10+1)})
	if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != locks.TooLarge || e.Field != "value" {
		t.Errorf("a large value: %+v", err)
	}
}
