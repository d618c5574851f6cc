package service

import (
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/locks"
)

func TestAcquireAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ctx := t.Context()
		id := open(t, s, "all")
		r := AcquireAll{Session: id, Names: []string{"c", "a", "b"}, Note: "batch"}
		got, m, err := s.AcquireAll(ctx, r)
		if err != nil || len(got) != 3 {
			t.Fatalf("%+v, %v", got, err)
		}
		for i, g := range got {
			want := locks.Grant{Name: r.Names[i], Session: id, Fence: m.Revision, Slots: 1, ExpiresIn: time.Hour}
			if g != want {
				t.Errorf("%+v; want %+v", g, want)
			}
		}
		r.Names = []string{"b", "d"}
		again, _, err := s.AcquireAll(ctx, r)
		if err != nil || again[0].Fence != got[2].Fence || again[1].Fence <= m.Revision {
			t.Errorf("one held, one free: %+v, %v; want the old fence and a new one", again, err)
		}
	})
}

func TestAcquireAllRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ctx := t.Context()
		short, _, err := s.CreateSession(ctx, CreateSession{TTL: 2 * time.Second, LockDelay: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if g := <-acquire(t, s, Acquire{Name: "delayed", Session: short.ID}); g.err != nil {
			t.Fatal(g.err)
		}
		l.pass(3 * time.Second) // it expires
		began := time.Now()
		if lk := l.lock("delayed"); lk.LockDelayRemaining != -1 {
			t.Fatalf("%+v; want a lock-delay", lk)
		}
		id := open(t, s, "me")
		holder := <-acquire(t, s, Acquire{Name: "held", Session: open(t, s, "other"), Note: "n"})
		waiter := acquire(t, s, Acquire{Name: "held", Session: open(t, s, "waiter"), Wait: time.Minute})
		mine := <-acquire(t, s, Acquire{Name: "mine", Session: id})
		if !waits(waiter) || holder.err != nil || mine.err != nil {
			t.Fatal(holder.err, mine.err)
		}
		time.Sleep(time.Second)

		_, _, err = s.AcquireAll(ctx, AcquireAll{Session: id, Names: []string{"free", "held", "mine", "delayed"}})
		e, ok := errors.AsType[*locks.Error](err)
		if !ok || e.Code != locks.LockHeld || e.Held != nil || len(e.All) != 2 {
			t.Fatalf("%+v; want two that are held", err)
		}
		want := locks.HeldLock{Name: "held", HeldInfo: locks.HeldInfo{QueuePosition: 2, Holder: &locks.Holder{
			Session: holder.Session, Owner: "other", Fence: holder.Fence, Since: holder.Fence, Note: "n",
			Held: time.Second, ExpiresIn: time.Hour - time.Second,
		}}}
		if !reflect.DeepEqual(e.All[0], want) {
			t.Errorf("%+v; want %+v", e.All[0], want)
		}
		d := e.All[1]
		if left := d.LockDelayRemaining; d.Name != "delayed" || d.Holder != nil || left <= 0 || left > time.Minute-time.Since(began) {
			t.Errorf("%+v; want what is left of a minute's lock-delay", d)
		}
		if n := l.m.Counts().Locks; n != 2 {
			t.Errorf("%d grants; want those from before", n)
		}
		l.askErr = errors.New("nobody leads")
		_, _, err = s.AcquireAll(ctx, AcquireAll{Session: id, Names: []string{"held", "delayed"}})
		e, ok = errors.AsType[*locks.Error](err)
		if !ok || len(e.All) != 2 || e.All[0].Holder.ExpiresIn != -1 || e.All[1].LockDelayRemaining != -1 {
			t.Errorf("with nobody to ask: %+v; want unknown times", err)
		}
	})
}

// events returns what happened after revision since to names with prefix.
func events(t *testing.T, s *Service, prefix string, since uint64) (out []locks.Event) {
	t.Helper()
	w, _, err := s.Watch(t.Context(), Watch{Prefix: prefix, From: since + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	changes, _, err := w.Next(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		out = append(out, c.Events...)
	}
	return out
}

func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l, holder := held(t)
		ctx := t.Context()
		next := acquire(t, s, Acquire{Name: "l", Session: open(t, s, "next"), Wait: time.Minute})
		if _, err := s.AskYield(ctx, AskYield{Name: "l", Reason: "please"}); err != nil {
			t.Fatal(err)
		}
		l.pass(2 * time.Second)
		if !waits(next) {
			t.Error("a holder who was only asked lost the lock")
		}
		m, err := s.AskYield(ctx, AskYield{Name: "l", Within: 10 * time.Second, Reason: "deploy"})
		if err != nil {
			t.Fatal(err)
		}
		l.pass(4 * time.Second)
		lk, _, err := s.GetLock(ctx, "l", Read{})
		want := &locks.Yield{Since: m.Revision, Within: 10 * time.Second, Remaining: 6 * time.Second, Reason: "deploy"}
		if err != nil || !reflect.DeepEqual(lk.Yield, want) {
			t.Errorf("%+v, %v; want %+v", lk.Yield, err, want)
		}
		l.leadAs(b(2)) // a new leader gives the time anew
		start := time.Now()
		for waits(next) {
			time.Sleep(50 * time.Millisecond)
			l.leadAs(b(2))
		}
		if d := time.Since(start); d < 10*time.Second || d > 11*time.Second {
			t.Errorf("the grant ended %v after the new leader began; want 10s", d)
		}
		g := <-next
		past := l.lock("l").Past
		if g.err != nil || past[0].Reason != "yielded: deploy" || past[0].Fence != holder.Fence || l.lock("l").Yield != nil {
			t.Errorf("%+v after %+v", g, past)
		}
		if n := l.m.Counts().Sessions; n != 1 {
			t.Errorf("%d sessions; the holder's lived for the lock alone", n)
		}
		for _, tt := range []struct {
			want string
			r    AskYield
		}{
			{"code 3", AskYield{Name: "free"}},
			{"code 1", AskYield{Name: "l", Within: 2 * time.Hour}},
			{"code 1", AskYield{Name: "l", Within: -1}},
			{"code 1", AskYield{}},
		} {
			if _, err := s.AskYield(ctx, tt.r); codeOf(err) != tt.want {
				t.Errorf("%+v: %v; want %s", tt.r, err, tt.want)
			}
		}
	})
}

func TestProclaimAndTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ctx := t.Context()
		campaign := func(name string) (string, <-chan acquired) {
			id := open(t, s, name)
			return id, acquire(t, s, Acquire{Name: "e", Session: id, Campaign: true, Value: name, Wait: time.Minute})
		}
		_, led := campaign("a")
		first := <-led
		_, passed := campaign("b")
		chosen, elected := campaign("c")
		m, err := s.Proclaim(ctx, Proclaim{Name: "e", Fence: first.Fence, Value: "news"})
		if h := l.lock("e").Holders; err != nil || h[0].Value != "news" || l.lock("e").Changed != m.Revision {
			t.Errorf("%+v, %v; want a proclaimed value", h, err)
		}
		_, err = s.Proclaim(ctx, Proclaim{Name: "e", Fence: first.Fence + 1, Value: "x"})
		if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != locks.StaleFence || e.Current != first.Fence {
			t.Errorf("in another term: %+v; want stale, with %d", err, first.Fence)
		}
		if _, _, err := s.Transfer(ctx, Transfer{Name: "e", Fence: first.Fence, To: open(t, s, "d")}); codeOf(err) != "code 18" {
			t.Errorf("to a bystander: %v; want no candidate", err)
		}
		if _, _, err := s.Transfer(ctx, Transfer{Name: "e", Fence: 1, To: chosen}); codeOf(err) != "code 6" {
			t.Errorf("of another term: %v; want stale", err)
		}
		g, m, err := s.Transfer(ctx, Transfer{Name: "e", Fence: first.Fence, To: chosen})
		want := locks.Grant{Name: "e", Session: chosen, Fence: m.Revision, Slots: 1, ExpiresIn: time.Hour}
		if err != nil || g != want {
			t.Errorf("%+v, %v; want %+v", g, err, want)
		}
		if c := <-elected; c.err != nil || c.Fence != g.Fence {
			t.Errorf("whom it went to: %+v", c)
		}
		if !waits(passed) {
			t.Error("who stood before it in the queue leads too")
		}
		if p := l.lock("e").Past; len(p) != 1 || p[0].Reason != locks.ReasonTransferred {
			t.Errorf("past %+v", p)
		}
		if _, err := s.Proclaim(ctx, Proclaim{Name: "e", Fence: first.Fence, Value: "x"}); codeOf(err) != "code 6" {
			t.Errorf("by the one who led: %v; want stale", err)
		}
	})
}

func TestFences(t *testing.T) {
	s := newService(newFakeLog())
	ctx := t.Context()
	advance := func(n uint64) func() (uint64, error) {
		return func() (uint64, error) {
			highest, _, err := s.AdvanceFence(ctx, AdvanceFence{Resource: "r", Fence: n})
			return highest, err
		}
	}
	get := func() (uint64, error) {
		highest, _, err := s.GetFence(ctx, "r", Read{})
		return highest, err
	}
	forget := func(n uint64) func() (uint64, error) {
		return func() (uint64, error) {
			_, err := s.ForgetFence(ctx, ForgetFence{Resource: "r", Fence: n})
			return 0, err
		}
	}
	for i, tt := range []struct {
		do      func() (uint64, error)
		want    uint64
		code    string
		current uint64
	}{
		{get, 0, "code 8", 0},
		{advance(0), 0, "code 1", 0},
		{advance(5), 5, "ok", 0},
		{advance(5), 5, "ok", 0},
		{advance(7), 7, "ok", 0},
		{advance(6), 0, "code 6", 7},
		{get, 7, "ok", 0},
		{forget(6), 0, "code 6", 7},
		{forget(0), 0, "code 1", 0},
		{forget(7), 0, "ok", 0},
		{get, 0, "code 8", 0},
		{forget(7), 0, "code 6", 0},
		{advance(1), 1, "ok", 0},
	} {
		got, err := tt.do()
		e, _ := errors.AsType[*locks.Error](err)
		if got != tt.want || codeOf(err) != tt.code || e != nil && e.Current != tt.current {
			t.Errorf("step %d: %d, %+v; want %d, %s with %d", i, got, err, tt.want, tt.code, tt.current)
		}
	}
	if _, _, err := s.GetFence(ctx, "", Read{}); codeOf(err) != "code 1" {
		t.Errorf("no name: %v", err)
	}
}

// TestRetriesOfOrders has the answer to each kind of change lost, and asks again
// with the same key when something else has happened meanwhile.
func TestRetriesOfOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLog()
		s := newService(l)
		ctx := t.Context()
		a, c := open(t, s, "a"), open(t, s, "c")
		lead := <-acquire(t, s, Acquire{Name: "e", Session: a, Campaign: true})
		queued := acquire(t, s, Acquire{Name: "e", Session: c, Campaign: true, Wait: time.Minute})
		if !waits(queued) {
			t.Fatal("two lead")
		}
		for _, tt := range []struct {
			name string
			do   func(Common) (any, error)
			then func()
		}{
			{"acquire all", func(k Common) (any, error) {
				g, _, err := s.AcquireAll(ctx, AcquireAll{Common: k, Session: a, Names: []string{"x", "y"}})
				return g, err
			}, func() { l.order(&locks.ReleaseCommand{Lock: "x", Force: true}) }},
			{"advance", func(k Common) (any, error) {
				n, _, err := s.AdvanceFence(ctx, AdvanceFence{Common: k, Resource: "r", Fence: 3})
				return n, err
			}, func() { l.order(&locks.AdvanceCommand{Resource: "r", Fence: 9}) }},
			{"forget", func(k Common) (any, error) {
				return s.ForgetFence(ctx, ForgetFence{Common: k, Resource: "r", Fence: 9})
			}, func() {}},
			{"yield", func(k Common) (any, error) {
				return s.AskYield(ctx, AskYield{Common: k, Name: "e"})
			}, func() {}},
			{"proclaim", func(k Common) (any, error) {
				return s.Proclaim(ctx, Proclaim{Common: k, Name: "e", Fence: lead.Fence, Value: "v"})
			}, func() { l.order(&locks.ProclaimCommand{Lock: "e", Fence: lead.Fence, Value: "w"}) }},
			{"transfer", func(k Common) (any, error) {
				g, _, err := s.Transfer(ctx, Transfer{Common: k, Name: "e", To: c})
				return g, err
			}, func() { l.order(&locks.ReleaseCommand{Lock: "e", Force: true}) }},
			{"transaction", func(k Common) (any, error) {
				r, _, err := s.Txn(ctx, Txn{Common: k, Then: []locks.Op{{Kind: locks.OpPut, Key: "k", Value: []byte("1")}}})
				return r, err
			}, func() { l.order(&locks.DeleteCommand{Key: "k"}) }},
		} {
			key := Common{IdempotencyKey: tt.name, RequestHash: 1}
			before := l.m.Revision()
			l.lose()
			if got, err := tt.do(key); codeOf(err) != "code 12" {
				t.Errorf("%s, with its answer lost: %+v, %v; want outcome unknown", tt.name, got, err)
			}
			l.propose = nil
			done := l.m.Revision()
			tt.then()
			hash := l.lock("e").Changed
			first, err := tt.do(key)
			if err != nil {
				t.Errorf("%s, asked again: %v", tt.name, err)
			}
			again, err := tt.do(key)
			if err != nil || !reflect.DeepEqual(again, first) && tt.name != "forget" && tt.name != "yield" && tt.name != "proclaim" {
				t.Errorf("%s, asked a third time: %+v, %v; want %+v", tt.name, again, err, first)
			}
			if m, ok := again.(locks.Meta); ok && (m.Revision <= before || m.Revision > done) {
				t.Errorf("%s: it took effect at %d; want within (%d, %d]", tt.name, m.Revision, before, done)
			}
			if l.lock("e").Changed != hash {
				t.Errorf("%s: asking again has changed something", tt.name)
			}
			if _, err := tt.do(Common{IdempotencyKey: tt.name, RequestHash: 2}); codeOf(err) != "code 9" {
				t.Errorf("%s, with another request: %v; want key reused", tt.name, err)
			}
		}
		if got, _, err := s.GetFence(ctx, "r", Read{}); codeOf(err) != "code 8" {
			t.Errorf("fence %d, %v; want it forgotten", got, err)
		}
		if _, _, err := s.Get(ctx, "k", Read{}); codeOf(err) != "code 8" {
			t.Errorf("a transaction ran twice: %v", err)
		}
	})
}
