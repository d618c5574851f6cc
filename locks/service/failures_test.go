package service

import (
	"errors"
	"fmt"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
)

// TestPlaceThatCannotBeGivenUp has the time to wait end while nobody leads.
func TestPlaceThatCannotBeGivenUp(t *testing.T) {
	for _, withSession := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, l, _ := held(t)
			r := Acquire{Name: "l", Wait: time.Second}
			if withSession {
				r.Session = open(t, s, "a")
			}
			got := acquire(t, s, r)
			l.mu.Lock()
			l.propose = func(int, func()) error { return &paxos.NotLeaderError{} }
			l.mu.Unlock()
			start := time.Now()
			if g := <-got; codeOf(g.err) != "code 12" || time.Since(start) > 11*time.Second {
				t.Errorf("%+v after %v; want outcome unknown within 11s", g, time.Since(start))
			}
			l.mu.Lock()
			l.propose = nil
			l.mu.Unlock()
			time.Sleep(time.Second)
			want := 0 // it is taken back
			if withSession {
				want = 1 // the same key takes it up
			}
			if n := l.queue(); n != want {
				t.Errorf("with session %v: %d places; want %d", withSession, n, want)
			}
		})
	}
}

func TestTooManyAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, _ := held(t)
		for range maxAbandoned {
			s.abandoned <- struct{}{}
		}
		s.abandon(&locks.AcquireCommand{Lock: "l"}, "s")
		if l.n != 1 {
			t.Errorf("%d changes; want only that of the holder", l.n)
		}
	})
}

// TestAnswerAboutALeaseThatIsOver repeats requests whose sessions have ended
// since their first answer.
func TestAnswerAboutALeaseThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ctx := t.Context()
		key := Common{IdempotencyKey: "k", RequestHash: 1}
		x, _, err := s.CreateSession(ctx, CreateSession{Common: key, TTL: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		all := AcquireAll{Common: Common{IdempotencyKey: "all"}, Session: x.ID, Names: []string{"a"}}
		if _, _, err := s.AcquireAll(ctx, all); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		l.askErr = errors.New("nobody leads")
		if y, _, err := s.CreateSession(ctx, CreateSession{Common: key, TTL: 2 * time.Second}); err != nil || y.ID != x.ID || y.ExpiresIn != -1 {
			t.Errorf("with nobody to ask: %+v, %v; want %s with an unknown time", y, err, x.ID)
		}
		l.askErr = nil
		l.pass(3 * time.Second)
		if _, _, err := s.CreateSession(ctx, CreateSession{Common: key, TTL: 2 * time.Second}); codeOf(err) != "code 5" {
			t.Errorf("a session: %v; want expired", err)
		}
		if _, _, err := s.AcquireAll(ctx, all); codeOf(err) != "code 5" {
			t.Errorf("locks: %v; want expired", err)
		}
		if _, _, err := s.GetSession(ctx, x.ID, Read{}); codeOf(err) != "code 5" {
			t.Errorf("reading it: %v; want expired", err)
		}
		if _, _, err := s.GetSession(ctx, "s-nobody", Read{}); codeOf(err) != "code 4" {
			t.Errorf("reading another: %v; want unknown", err)
		}
	})
}

// TestLeaderThatAnswersNonsense and one that is too busy.
func TestLeaderThatAnswersNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		id := open(t, s, "")
		l.askErr = paxos.ErrOverloaded
		first := keepAlive(t, s, KeepAlive{ID: id})
		time.Sleep(time.Second)
		second := keepAlive(t, s, KeepAlive{ID: id})
		if k := <-first; k.err == nil || k.at != 10*time.Second { // its time and the question's end together
			t.Errorf("%v after %v; want no answer in time", k.err, k.at)
		}
		if k := <-second; k.err == nil || k.at > 10*time.Second {
			t.Errorf("%v after %v; want no answer in time", k.err, k.at)
		}
		synctest.Wait() // nobody asks any more
		l.askErr = nil
		l.answer = []byte("?")
		if _, _, _, err := s.Put(t.Context(), Put{Key: "k"}); codeOf(err) != "code 12" {
			t.Errorf("a change: %v; want outcome unknown", err)
		}
		l.answer = locks.Result{Body: "\xff"}.Encode()
		if _, _, err := s.Txn(t.Context(), Txn{}); codeOf(err) != "code 12" {
			t.Errorf("a transaction: %v; want outcome unknown", err)
		}
		if _, _, err := s.AcquireAll(t.Context(), AcquireAll{Session: id, Names: []string{"a"}}); codeOf(err) != "code 12" {
			t.Errorf("several locks: %v; want outcome unknown", err)
		}
	})
}

// TestStoppedNodeIsNotAskedAgain has requests end with the node that has them:
// who repeats one there until its time is up keeps a client waiting for nothing.
func TestStoppedNodeIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		id := open(t, s, "")
		begin := time.Now()
		l.barrier, l.askErr = paxos.ErrStopped, paxos.ErrStopped
		if _, _, err := s.Get(t.Context(), "k", Read{}); codeOf(err) != "code 10" {
			t.Errorf("a read: %v; want no leader", err)
		}
		if k := <-keepAlive(t, s, KeepAlive{ID: id}); codeOf(k.err) != "code 10" {
			t.Errorf("a heartbeat: %v; want no leader", k.err)
		}
		for _, c := range []struct {
			first error
			want  string
		}{{paxos.ErrStopped, "code 10"}, {paxos.ErrUnknownOutcome, "code 12"}, {&paxos.NotLeaderError{}, "code 10"}} {
			l.n = 0
			l.propose = func(n int, _ func()) error {
				if n == 1 {
					return c.first
				}
				return paxos.ErrStopped
			}
			if _, _, _, err := s.Put(t.Context(), Put{Key: "k"}); codeOf(err) != c.want {
				t.Errorf("a change, at first %v: %v; want %s", c.first, err, c.want)
			}
			if l.n > 2 {
				t.Errorf("a change, at first %v: proposed %d times", c.first, l.n)
			}
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("all that took %v", d)
		}
	})
}

func TestNoRandomness(t *testing.T) {
	l := newFakeLog()
	broken := errors.New("no entropy")
	s := New(Config{Log: l, Machine: l.m, Rand: iotest.ErrReader(broken)})
	_, _, open := s.CreateSession(t.Context(), CreateSession{})
	_, _, got := s.Acquire(t.Context(), Acquire{Name: "l"})
	_, ended := s.EndSession(t.Context(), "s", Common{})
	_, _, all := s.AcquireAll(t.Context(), AcquireAll{Session: "s", Names: []string{"l"}})
	for i, err := range []error{open, got, ended, all} {
		if codeOf(err) != "code 0" || !errors.Is(err, broken) {
			t.Errorf("%d: %v; want internal, for %v", i, err, broken)
		}
	}
	if l.n != 0 {
		t.Errorf("%d changes without an id", l.n)
	}
}

func TestInvalidOrders(t *testing.T) {
	s := newService(newFakeLog())
	ctx := t.Context()
	names := make([]string, 129)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	all := func(session string, names ...string) func() error {
		return func() error {
			_, _, err := s.AcquireAll(ctx, AcquireAll{Session: session, Names: names})
			return err
		}
	}
	for i, tt := range []struct {
		field string
		call  func() error
	}{
		{"session", all("", "a")},
		{"names", all("s")},
		{"names", all("s", names...)},
		{"names", all("s", "a", "")},
		{"names", all("s", "a", "b", "a")},
		{"name", func() error { _, err := s.Proclaim(ctx, Proclaim{}); return err }},
		{"value", func() error { _, err := s.Proclaim(ctx, Proclaim{Name: "e", Value: "\xff"}); return err }},
		{"to", func() error { _, _, err := s.Transfer(ctx, Transfer{Name: "e"}); return err }},
		{"reason", func() error { _, err := s.AskYield(ctx, AskYield{Name: "l", Reason: "\xff"}); return err }},
		{"reason", func() error {
			_, err := s.Release(ctx, Release{Name: "l", Force: true, Reason: string(make([]byte, 1025))})
			return err
		}},
		{"resource", func() error { _, err := s.ForgetFence(ctx, ForgetFence{Fence: 1}); return err }},
		{"name", func() error { _, _, err := s.GetLock(ctx, "", Read{}); return err }},
		{"name", func() error { _, err := s.CheckFence(ctx, "", 1, Read{}); return err }},
		{"prefix", func() error { _, _, err := s.ListSessions(ctx, List{Prefix: "\xff"}, Read{}); return err }},
	} {
		e, ok := errors.AsType[*locks.Error](tt.call())
		if !ok || e.Code != locks.Invalid || e.Field != tt.field {
			t.Errorf("%d: %+v; want %s to be invalid", i, e, tt.field)
		}
	}
}

func TestPagesOfLocksAndSessions(t *testing.T) {
	l := newFakeLog()
	s := newService(l)
	ctx := t.Context()
	for i := range 5 {
		l.order(&locks.OpenCommand{ID: fmt.Sprint("s/", i), TTL: time.Hour})
		l.order(&locks.AcquireCommand{Lock: fmt.Sprint("l/", i), Session: fmt.Sprint("s/", i), Slots: 1})
	}
	l.order(&locks.OpenCommand{ID: "t", TTL: time.Hour})
	l.order(&locks.AcquireCommand{Lock: "m", Session: "t", Slots: 1})
	var names, ids []string
	list := List{Prefix: "l/", Limit: 2, After: "l/0"}
	for more := true; more; more = list.Token != "" {
		page, _, err := s.ListLocks(ctx, list, Read{})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page.Items {
			names = append(names, x.Name)
		}
		list.Token = page.Token
	}
	list = List{Prefix: "s/", Limit: 2, After: "s/0"}
	for more := true; more; more = list.Token != "" {
		page, _, err := s.ListSessions(ctx, list, Read{Stale: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page.Items {
			ids = append(ids, x.ID)
			if x.ExpiresIn != -1 {
				t.Errorf("a stale read knows %+v", x)
			}
		}
		list.Token = page.Token
	}
	if got, want := fmt.Sprint(names, ids), "[l/1 l/2 l/3 l/4] [s/1 s/2 s/3 s/4]"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}
