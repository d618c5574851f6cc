package service

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// A heard is the answer to one keepalive.
type heard struct {
	locks.Kept
	meta locks.Meta
	err  error
	at   time.Duration // since it was sent
}

// keepAlive sends a keepalive, in the background if that takes time.
func keepAlive(t testing.TB, s *Service, r KeepAlive) <-chan heard {
	got := make(chan heard, 1)
	start := time.Now()
	go func() {
		k, m, err := s.KeepAlive(t.Context(), r)
		got <- heard{k, m, err, time.Since(start)}
	}()
	synctest.Wait()
	return got
}

// session makes one with a TTL.
func session(t testing.TB, s *Service, ttl time.Duration) string {
	t.Helper()
	x, _, err := s.CreateSession(t.Context(), CreateSession{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return x.ID
}

func TestHoldEndsInTime(t *testing.T) {
	tests := []struct {
		name       string
		hold, want time.Duration
		delay      time.Duration // of a question, and of its answer
	}{
		{"not held", 0, 0, 0},
		{"shorter than it may be", 3 * time.Second, 3 * time.Second, 0},
		{"cut to two thirds of the TTL", time.Minute, 10 * time.Second, 0},
		{"counted from the start", time.Minute, 10 * time.Second, time.Second},
		{"not at all if the first answer is late", 2 * time.Second, 4 * time.Second, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newFakeLog()
				s := newService(l)
				id := session(t, s, 15*time.Second)
				time.Sleep(time.Second)
				l.delay = func() time.Duration { return tt.delay }
				got := <-keepAlive(t, s, KeepAlive{ID: id, Hold: tt.hold})
				want := heard{
					Kept: locks.Kept{
						Session: locks.Session{ID: id, TTL: 15 * time.Second, ExpiresIn: 15 * time.Second, Created: 2},
						Held:    tt.want,
					},
					meta: locks.Meta{Revision: 2, Slot: 2},
					at:   tt.want + 2*tt.delay,
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%+v\nwant %+v", got, want)
				}
			})
		})
	}
}

func TestNewsEndTheHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, holder := held(t)
		ctx := t.Context()
		id := open(t, s, "me")
		keep := KeepAlive{ID: id, Hold: time.Minute}
		news := func(got heard) (types []locks.EventType) {
			t.Helper()
			if got.err != nil || got.Missed || got.Held != got.at {
				t.Errorf("%+v", got)
			}
			for _, c := range got.News {
				for _, e := range c.Events {
					types = append(types, e.Type)
				}
			}
			keep.Since = got.meta.Revision
			return types
		}
		want := func(what string, got heard, after time.Duration, want ...locks.EventType) {
			t.Helper()
			if types := news(got); !reflect.DeepEqual(types, want) || got.at != after {
				t.Errorf("%s: %v after %v; want %v after %v", what, types, got.at, want, after)
			}
		}
		waiting := acquire(t, s, Acquire{Name: "l", Session: id, Wait: time.Minute})
		got := keepAlive(t, s, keep)
		time.Sleep(time.Second)
		if _, _, _, err := s.Put(ctx, Put{Key: "mine", Session: id}); err != nil {
			t.Fatal(err)
		}
		put(t, s, "another's")
		time.Sleep(time.Second)
		if synctest.Wait(); len(got) != 0 {
			t.Errorf("it ended for no news: %+v", <-got)
		}
		if _, err := s.Release(ctx, Release{Name: "l", Fence: holder.Fence}); err != nil {
			t.Fatal(err)
		}
		want("granted", <-got, 2*time.Second, locks.EventLock)
		g := <-waiting

		got = keepAlive(t, s, keep)
		time.Sleep(time.Second)
		if _, err := s.AskYield(ctx, AskYield{Name: "l", Within: 5 * time.Second}); err != nil {
			t.Fatal(err)
		}
		want("asked to yield", <-got, time.Second, locks.EventYield)

		l.order(&locks.ReleaseCommand{Lock: "l", Force: true}) // between two keepalives
		l.order(&locks.AcquireCommand{Lock: "e", Session: id, Campaign: true, Slots: 1})
		want("what happened before it asked", <-keepAlive(t, s, keep), 0, locks.EventUnlock, locks.EventLeader)
		want("nothing more", <-keepAlive(t, s, keep), time.Minute)

		keep.Hold = 0
		want("nothing yet", <-keepAlive(t, s, keep), 0)
		l.order(&locks.ProclaimCommand{Lock: "e", Fence: l.lock("e").Holders[0].Fence, Value: "v"})
		got = keepAlive(t, s, keep)
		if k := <-got; k.Held != 0 || k.ExpiresIn != time.Hour || len(k.News) != 1 || k.meta.Revision != l.m.Revision() {
			t.Errorf("not held: %+v; want what there is", k)
		}
		keep.Hold, keep.Since = time.Minute, l.m.Revision()

		got = keepAlive(t, s, keep)
		time.Sleep(time.Second)
		if _, err := s.EndSession(ctx, id, Common{}); err != nil {
			t.Fatal(err)
		}
		if k := <-got; codeOf(k.err) != "code 5" || k.at != time.Second {
			t.Errorf("its end: %+v; want expired at once", k)
		}
		if g.err != nil {
			t.Error(g.err)
		}
	})
}

func TestMissedNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		id := open(t, s, "me")
		since := l.m.Revision()
		for range 10_001 {
			l.order(&locks.PutCommand{Key: "busy"})
		}
		got := <-keepAlive(t, s, KeepAlive{ID: id, Hold: time.Minute, Since: since})
		if got.err != nil || !got.Missed || got.at != 0 || got.meta.Revision != l.m.Revision() {
			t.Errorf("%+v; want missed at once, up to %d", got, l.m.Revision())
		}
		// Who is held while so much happens to others has missed nothing.
		again := keepAlive(t, s, KeepAlive{ID: id, Hold: time.Minute, Since: got.meta.Revision})
		for range 10_001 {
			l.order(&locks.PutCommand{Key: "busy"})
		}
		l.order(&locks.AcquireCommand{Lock: "l", Session: id, Slots: 1})
		got = <-again
		if got.err != nil || got.Missed || len(got.News) != 1 || got.News[0].Revision != l.m.Revision() {
			t.Errorf("%+v; want the news of %d", got, l.m.Revision())
		}
		// A revision that nobody has reached would make it deaf.
		got = <-keepAlive(t, s, KeepAlive{ID: id, Hold: time.Minute, Since: l.m.Revision() + 1})
		if got.err != nil || !got.Missed || got.at != 0 || got.meta.Revision != l.m.Revision() || got.ExpiresIn == 0 {
			t.Errorf("%+v; want missed at once, up to %d", got, l.m.Revision())
		}
	})
}

// TestHeldByANodeThatLags asks a node whose leader is ahead of it.
func TestHeldByANodeThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		ahead := newService(l)
		s := New(Config{Log: l, Machine: l.follow(t), Now: l.now})
		id := open(t, ahead, "me")
		l.order(&locks.AcquireCommand{Lock: "old", Session: id, Slots: 1})
		got := keepAlive(t, s, KeepAlive{ID: id, Hold: time.Minute})
		l.catchUp()
		if synctest.Wait(); len(got) != 0 {
			t.Errorf("it ended for what was before it: %+v", <-got)
		}
		time.Sleep(time.Second)
		l.order(&locks.AcquireCommand{Lock: "new", Session: id, Slots: 1})
		time.Sleep(time.Second)
		l.catchUp()
		k := <-got
		if k.err != nil || k.Missed || len(k.News) != 1 || k.News[0].Events[0].Name != "new" || k.at != 2*time.Second {
			t.Errorf("%+v; want the grant of new after 2s", k)
		}
		// Elsewhere it has heard of more than this node knows.
		l.order(&locks.AcquireCommand{Lock: "known", Session: id, Slots: 1})
		since := l.m.Revision()
		got = keepAlive(t, s, KeepAlive{ID: id, Hold: time.Minute, Since: since})
		l.catchUp()
		if k := <-got; k.err != nil || len(k.News) != 0 || k.at != time.Minute || k.meta.Revision != since {
			t.Errorf("%+v; want nothing after %d", k, since)
		}
	})
}

func TestLostCallerIsNotKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		id := session(t, s, 15*time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		start := time.Now()
		if _, _, err := s.KeepAlive(ctx, KeepAlive{ID: id, Hold: time.Minute}); err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v; want an error after 5s", err, time.Since(start))
		}
		x, _, err := s.GetSession(t.Context(), id, Read{})
		if err != nil || x.ExpiresIn != 10*time.Second {
			t.Errorf("%+v, %v; want a lease from when it was heard last", x, err)
		}
	})
}

// TestNobodyIsPromisedTooMuch keeps a session alive over a network and with
// leaders of all kinds, as a client does, and compares what it may count on
// with what the leader does.
func TestNobodyIsPromisedTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ttl = 15 * time.Second
		r := rand.New(rand.NewPCG(3, 4))
		var mu sync.Mutex // guards r
		upTo := func(d time.Duration) time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return time.Duration(r.Int64N(int64(d)))
		}
		l := newFakeLog()
		s := newService(l)
		id := session(t, s, ttl)
		l.delay = func() time.Duration { return upTo(1200 * time.Millisecond) } // four of them are less than a third
		stop := make(chan struct{})
		var lead sync.WaitGroup
		lead.Go(func() {
			for term := uint64(1); ; {
				if upTo(100*time.Second) < time.Second {
					term++
					l.mu.Lock()
					l.m.Follow()
					l.start = l.start.Add(upTo(time.Hour) - 30*time.Minute) // the next has another clock
					l.mu.Unlock()
				}
				l.leadAs(b(term))
				select {
				case <-time.After(50 * time.Millisecond):
				case <-stop:
					return
				}
			}
		})
		defer lead.Wait()
		defer close(stop)
		for i := range 300 {
			sent := time.Now()
			hold := upTo(time.Minute)
			if i%2 == 0 {
				time.AfterFunc(upTo(10*time.Second), func() { l.order(&locks.AcquireCommand{Lock: "l", Session: id, Slots: 1}) })
				time.AfterFunc(upTo(10*time.Second), func() { l.order(&locks.ReleaseCommand{Lock: "l", Force: true}) })
			}
			k, _, err := s.KeepAlive(t.Context(), KeepAlive{ID: id, Hold: hold})
			if err != nil {
				t.Fatalf("%d: %v", i, err)
			}
			promised := sent.Add(k.Held + k.ExpiresIn)
			q := locks.Question{Sessions: []string{id}}
			data, err := l.answerTo(q.Encode())
			a, _ := locks.DecodeAnswer(data)
			if err != nil || a.NotYet || len(a.Leases) != 1 {
				continue // a new leader, who begins the lease anew
			}
			if ends := time.Now().Add(a.Leases[0].Remaining); promised.After(ends) {
				t.Fatalf("%d: promised %v more than the leader grants", i, promised.Sub(ends))
			}
			if d := k.Held; d > ttl*2/3+time.Second*5/2 {
				t.Fatalf("%d: held for %v", i, d)
			}
		}
	})
}

// state returns how many ask and how many wait.
func (q *renewals) state() [2]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return [2]int{q.asking, q.waiting.Len()}
}

func TestKeepAlivesGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		var ids []string
		for range 1000 {
			ids = append(ids, session(t, s, 15*time.Second))
		}
		time.Sleep(time.Second)
		l.delay = func() time.Duration { return time.Millisecond / 2 }
		var all sync.WaitGroup
		start := time.Now()
		for _, id := range ids {
			all.Go(func() {
				k, _, err := s.KeepAlive(t.Context(), KeepAlive{ID: id})
				if err != nil || k.ID != id || k.ExpiresIn > 15*time.Second || k.ExpiresIn < 15*time.Second-5*time.Millisecond {
					t.Errorf("%s: %+v, %v", id, k, err)
				}
			})
		}
		all.Wait()
		if l.asks > 4 || time.Since(start) > 3*time.Millisecond {
			t.Errorf("%d questions in %v; want at most 4 in 3ms", l.asks, time.Since(start))
		}
		if synctest.Wait(); s.renewals.state() != [2]int{} {
			t.Errorf("%v ask and wait afterwards", s.renewals.state())
		}
	})
}

// TestDyingSessionHoldsUpNobody has the end of one session proposed and not yet
// applied.
func TestDyingSessionHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		dying := session(t, s, 2*time.Second)
		ids := []string{open(t, s, ""), open(t, s, ""), open(t, s, "")}
		time.Sleep(2 * time.Second)
		l.mu.Lock()
		ends := l.m.Lead(b(1), l.now())
		l.mu.Unlock()
		slow := keepAlive(t, s, KeepAlive{ID: dying})
		for _, id := range ids {
			if k := <-keepAlive(t, s, KeepAlive{ID: id}); k.err != nil || k.at != 0 {
				t.Errorf("%+v; want an answer at once", k)
			}
		}
		if len(slow) != 0 {
			t.Errorf("%+v before anybody can know", <-slow)
		}
		time.Sleep(time.Second)
		l.mu.Lock()
		for _, cmd := range ends {
			l.apply(cmd)
		}
		l.mu.Unlock()
		if k := <-slow; codeOf(k.err) != "code 5" || k.at > time.Second+50*time.Millisecond {
			t.Errorf("%+v; want expired soon after", k)
		}
	})
}

func TestKeepAlivesWithoutALeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		id := open(t, s, "")
		l.askErr = &paxos.NotLeaderError{}
		var all []<-chan heard
		for range 10 {
			all = append(all, keepAlive(t, s, KeepAlive{ID: id}))
			time.Sleep(time.Second / 2)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		if _, _, err := s.KeepAlive(ctx, KeepAlive{ID: id}); codeOf(err) != "code 10" || time.Since(start) != time.Second {
			t.Errorf("whose caller has gone: %v after %v", err, time.Since(start))
		}
		if got, want := s.renewals.state(), [2]int{maxAsking, 8}; got != want {
			t.Errorf("%v ask and wait; want %v, whose callers are there", got, want)
		}
		texts := map[*locks.Error]bool{}
		for i, got := range all {
			k := <-got
			if codeOf(k.err) != "code 10" || k.at > 10*time.Second {
				t.Errorf("%d: %v after %v; want no leader within 10s", i, k.err, k.at)
			}
			e, _ := errors.AsType[*locks.Error](k.err)
			if texts[e] || e.Name != id {
				t.Errorf("%d: %+v is another's", i, e)
			}
			texts[e] = true
		}
		time.Sleep(10 * time.Second)
		if synctest.Wait(); s.renewals.state() != [2]int{} {
			t.Errorf("%v ask and wait afterwards", s.renewals.state())
		}
		l.askErr = nil
		if k := <-keepAlive(t, s, KeepAlive{ID: id}); k.err != nil || k.at != 0 {
			t.Errorf("with a leader: %+v", k)
		}
	})
}

func TestTooManyKeepAlives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		id := open(t, s, "")
		q := &s.renewals
		q.mu.Lock()
		q.asking = maxAsking // both are at work
		for range maxWaiting {
			q.waiting.PushBack(&renewal{t.Context(), id, make(chan renewed, 1)})
		}
		q.mu.Unlock()
		if k := <-keepAlive(t, s, KeepAlive{ID: id}); codeOf(k.err) != "code 11" || k.at != 0 {
			t.Errorf("%+v; want overloaded at once", k)
		}
		s.askRenewals()
		if q.waiting.Len() != 0 || q.asking != maxAsking-1 || l.asks != maxWaiting/maxRenewals {
			t.Errorf("%d wait, %d ask after %d questions", q.waiting.Len(), q.asking, l.asks)
		}
		if k := <-keepAlive(t, s, KeepAlive{ID: id}); k.err != nil {
			t.Errorf("afterwards: %v", k.err)
		}
	})
}

func TestInvalidKeepAlives(t *testing.T) {
	s := newService(newFakeLog())
	for field, r := range map[string]KeepAlive{
		"id":   {},
		"hold": {ID: "s", Hold: 6 * time.Minute},
	} {
		_, _, err := s.KeepAlive(t.Context(), r)
		if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != locks.Invalid || e.Field != field {
			t.Errorf("%+v: %v; want %s to be invalid", r, err, field)
		}
	}
	if _, _, err := s.KeepAlive(t.Context(), KeepAlive{ID: "s", Hold: -1}); codeOf(err) != "code 1" {
		t.Errorf("a negative hold: %v", err)
	}
	if _, _, err := s.KeepAlive(t.Context(), KeepAlive{ID: fmt.Sprint(make([]byte, 513)), Hold: 1}); codeOf(err) != "code 1" {
		t.Errorf("a long id: %v", err)
	}
}
