package client

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/client/internal/clock"
	"github.com/prytany/prytany/internal/api"
)

// A newsroom answers held keepalives: at once when there is news, else when the
// time is over.
type newsroom struct {
	f      *fake
	ring   chan struct{}
	told   []api.Event
	missed bool
	holds  []time.Duration // when each was asked
	plain  int             // keepalives that are not held
}

func (n *newsroom) on(f *fake, req *http.Request) (*http.Response, error) {
	if !isKeepAlive(req) {
		return nil, nil
	}
	q := req.URL.Query()
	if !q.Has("hold") {
		f.mu.Lock()
		n.plain++
		f.mu.Unlock()
		return nil, nil
	}
	hold, _ := time.ParseDuration(q.Get("hold"))
	since, _ := strconv.ParseUint(q.Get("since"), 10, 64)
	at := f.now()
	f.mu.Lock()
	n.holds = append(n.holds, at)
	f.mu.Unlock()
	end := time.After(hold)
	for over := false; ; {
		f.mu.Lock()
		_, text, _ := strings.Cut(what(req), "-")
		ttl, _ := time.ParseDuration(text)
		out := api.KeptAlive{TTLMS: ttl.Milliseconds(), ExpiresInMS: ttl.Milliseconds(), Revision: max(since, 1), Missed: n.missed}
		for _, e := range n.told {
			if e.Revision > since {
				out.Events, out.Revision = append(out.Events, e), e.Revision
			}
		}
		ring := n.ring
		if over || n.missed || len(out.Events) > 0 {
			n.missed = false
			f.mu.Unlock()
			out.HeldMS = (f.now() - at).Milliseconds()
			return replyJSON(200, out), nil
		}
		f.mu.Unlock()
		select {
		case <-ring:
		case <-end:
			over = true
		case <-req.Context().Done():
			return nil, context.Cause(req.Context())
		}
	}
}

// tell has news for who listens.
func (n *newsroom) tell(events ...api.Event) {
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	n.told = append(n.told, events...)
	close(n.ring)
	n.ring = make(chan struct{})
}

func newNewsroom(t *testing.T, cfg Config, on func(*fake, *http.Request) (*http.Response, error)) (*Client, *fake, *newsroom) {
	n := &newsroom{ring: make(chan struct{})}
	c, f := newFake(t, cfg, func(f *fake, req *http.Request) (*http.Response, error) {
		if on != nil {
			if resp, err := on(f, req); resp != nil || err != nil {
				return resp, err
			}
		}
		return n.on(f, req)
	})
	n.f = f
	return c, f, n
}

// TestListenerRenews holds a lock for an hour: the answers that are held back
// are all the renewals it takes, and they come to an end with the lock.
func TestListenerRenews(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 15 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c, _, n := newNewsroom(t, Config{SessionTTL: ttl}, nil)
			h := mustLock(t, c, "job")
			time.Sleep(time.Hour)
			if err := h.Err(); err != nil {
				t.Fatalf("TTL %v: %v", ttl, err)
			}
			if n.plain > 0 {
				t.Errorf("TTL %v: %d renewals beside %d of the listener", ttl, n.plain, len(n.holds))
			}
			if want := int(time.Hour / h.s.hold()); len(n.holds) > want+1 || len(n.holds) < want-1 {
				t.Errorf("TTL %v: asked %d times; want %d", ttl, len(n.holds), want)
			}
			if err := h.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(maxHold)
			before := len(n.holds)
			time.Sleep(time.Hour)
			if len(n.holds) != before {
				t.Errorf("TTL %v: it listens for nobody", ttl)
			}
			after(t, c)
		})
	}
}

func TestHeldAnswerCountsFromItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f, n := newNewsroom(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if isKeepAlive(req) && f.now() > 20*time.Second {
				return silence(req) // took it, and never answers
			}
			return nil, nil
		})
		h := mustLock(t, c, "job")
		<-h.Done()
		last := n.holds[len(n.holds)-1]
		if got, want := f.now(), last+h.s.hold()+h.s.ttl-clock.Margin(h.s.ttl); got != want {
			t.Errorf("ended at %v; want %v", got, want)
		}
		if !errors.Is(h.Err(), ErrSessionExpired) || n.plain > 0 {
			t.Errorf("%v, %d other renewals", h.Err(), n.plain)
		}
		after(t, c)
	})
}

// TestServerThatExaggerates says that it held an answer back for an hour.
func TestServerThatExaggerates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if !isKeepAlive(req) {
				return nil, nil
			}
			return replyJSON(200, api.KeptAlive{TTLMS: 15000, ExpiresInMS: 15000, HeldMS: time.Hour.Milliseconds(), Revision: 1}), nil
		})
		h := mustLock(t, c, "job")
		time.Sleep(10 * time.Second)
		if left := h.s.Remaining(); left > h.s.ttl-clock.Margin(h.s.ttl) {
			t.Errorf("%v left at %v", left, f.now())
		}
		after(t, c)
	})
}

func TestNewsOfLoss(t *testing.T) {
	for _, reason := range []string{"forced: stuck", "yielded", "transferred", "released", "expired"} {
		synctest.Test(t, func(t *testing.T) {
			c, f, n := newNewsroom(t, Config{}, nil)
			a, b := mustLock(t, c, "a"), mustLock(t, c, "b")
			time.Sleep(time.Minute)
			begin := f.now()
			id := a.Session().ID()
			n.tell(
				api.Event{Type: api.EventUnlock, Revision: 10, Name: "a", Session: "other", Fence: a.Fence(), Reason: "forced"},
				api.Event{Type: api.EventUnlock, Revision: 11, Name: "a", Session: id, Fence: a.Fence() - 1, Reason: "forced"},
				api.Event{Type: api.EventUnlock, Revision: 12, Name: "b", Session: id, Fence: b.Fence(), Reason: reason},
			)
			<-b.Done()
			var lost *LostError
			if err := b.Err(); !errors.Is(err, ErrLockLost) || !errors.As(err, &lost) || lost.Reason != reason || f.now()-begin > listenEvery {
				t.Errorf("%v after %v", err, f.now()-begin)
			}
			if err := a.Err(); err != nil {
				t.Errorf("the other lock: %v", err)
			}
			if err := b.Unlock(t.Context()); !errors.Is(err, ErrLockLost) || f.count("DELETE locks/b") > 0 {
				t.Errorf("unlock of what is lost: %v", err)
			}
			if again := mustLock(t, c, "b"); again.Fence() == b.Fence() { // nobody called Unlock before
				t.Error("the same grant")
			}
			after(t, c)
		})
	}
}

func TestNewsOfTheSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, n := newNewsroom(t, Config{}, nil)
		h := mustLock(t, c, "a")
		time.Sleep(time.Second)
		n.tell(api.Event{Type: api.EventSession, Revision: 9, Name: h.s.id, Session: h.s.id, Reason: "opened"})
		time.Sleep(time.Second)
		if err := h.Err(); err != nil {
			t.Fatal(err)
		}
		n.tell(api.Event{Type: api.EventSession, Revision: 10, Name: h.s.id, Session: h.s.id, Reason: "ended"})
		<-h.Done()
		if err := h.Err(); !errors.Is(err, ErrSessionExpired) {
			t.Error(err)
		}
		after(t, c)
	})
}

func TestYieldRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, n := newNewsroom(t, Config{}, nil)
		h := mustLock(t, c, "a")
		time.Sleep(time.Second)
		ask := func(rev, fence uint64, reason string) {
			n.tell(api.Event{Type: api.EventYield, Revision: rev, Name: "a", Session: h.s.id, Fence: fence, WithinMS: 10_000, Reason: reason})
			time.Sleep(time.Second)
		}
		ask(9, h.Fence()+1, "another grant")
		select {
		case r := <-h.Yield():
			t.Errorf("asked for another: %v", r)
		default:
		}
		ask(10, h.Fence(), "first")
		ask(11, h.Fence(), "second")
		if got, want := <-h.Yield(), (YieldRequest{"second", 10 * time.Second}); got != want {
			t.Errorf("got %v; want %v", got, want)
		}
		after(t, c)
	})
}

// TestNewsBeforeTheAnswer breaks a lock before the answer that grants it has
// come, while the session listens for another.
func TestNewsBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n *newsroom
		c, _, room := newNewsroom(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if what(req) != "PUT locks/late" {
				return nil, nil
			}
			var id string
			for _, e := range n.told {
				id = e.Session
			}
			n.tell(api.Event{Type: api.EventUnlock, Revision: 51, Name: "late", Session: id, Fence: 50, Reason: "forced"})
			time.Sleep(time.Second)
			return replyJSON(200, api.Grant{Fence: 50}), nil
		})
		n = room
		other := mustLock(t, c, "other")
		n.tell(api.Event{Type: api.EventLock, Revision: 20, Name: "other", Session: other.s.id})
		time.Sleep(time.Second)
		h := mustLock(t, c, "late")
		if err := h.Err(); !errors.Is(err, ErrLockLost) {
			t.Errorf("err = %v", err)
		}
		if other.Err() != nil {
			t.Error(other.Err())
		}
		after(t, c)
	})
}

// TestMissedNews compares what the session has with what the server says.
func TestMissedNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		var c *Client
		var keep, gone, newer *Held
		c, f, n := newNewsroom(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if req.Method != http.MethodGet {
				return nil, nil
			}
			if reads++; reads == 1 {
				return nil, errLost
			}
			resp := replyJSON(200, api.Session{Holds: []api.Held{{Name: "keep", Fence: keep.Fence()}, {Name: "gone", Fence: gone.Fence() + 1}}})
			resp.Header.Set(api.HeaderRevision, strconv.FormatUint(newer.Fence()-1, 10)) // read before newer was granted
			return resp, nil
		})
		keep, gone, newer = mustLock(t, c, "keep"), mustLock(t, c, "gone"), mustLock(t, c, "newer")
		f.mu.Lock()
		n.missed = true
		f.mu.Unlock()
		<-gone.Done()
		if !errors.Is(gone.Err(), ErrLockLost) || keep.Err() != nil || newer.Err() != nil || reads != 2 {
			t.Errorf("gone: %v, keep: %v, newer: %v after %d reads", gone.Err(), keep.Err(), newer.Err(), reads)
		}
		after(t, c)
	})
}

// TestServersThatKnowNoNews refuse held keepalives, or answer them like others.
// The session lives on its own renewals, and hardly asks again.
func TestServersThatKnowNoNews(t *testing.T) {
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"refuses": func(*http.Request) (*http.Response, error) {
			return replyProblem(400, api.CodeInvalid, api.AppliedNo), nil
		},
		"proxy":   func(*http.Request) (*http.Response, error) { return replyJSON(404, "no such page"), nil },
		"ignores": func(*http.Request) (*http.Response, error) { return nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				held := 0
				c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
					if isKeepAlive(req) && req.URL.Query().Has("hold") {
						held++
						return answer(req)
					}
					return nil, nil
				})
				h := mustLock(t, c, "job")
				time.Sleep(10 * time.Minute)
				if err := h.Err(); err != nil || held < 5 || held > 11 || f.count("PUT sessions/") < 100 {
					t.Errorf("%v; %d of %d renewals held", err, held, f.count("PUT sessions/"))
				}
				after(t, c)
			})
		})
	}
}

func TestSessionEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(at time.Duration) bool { return at > 12*time.Second && at < 20*time.Second || at > 100*time.Second }
		c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if isKeepAlive(req) && silent(f.now()) {
				return nil, errLost
			}
			return nil, nil
		})
		s := open(t, c, 15*time.Second)
		type change struct {
			at    time.Duration
			state SessionState
		}
		var got []change
		for e := range s.Events(t.Context()) {
			got = append(got, change{f.now().Truncate(time.Second), e.State})
			if (e.Err != nil) != (e.State == SessionExpired) || (e.Remaining > 0) != (e.State != SessionExpired) {
				t.Errorf("%+v", e)
			}
		}
		want := []change{
			{0, SessionOK}, {20 * time.Second, SessionJeopardy}, {20 * time.Second, SessionSafe},
			{105 * time.Second, SessionJeopardy}, {109 * time.Second, SessionExpired},
		}
		if len(got) != len(want) || !slices.EqualFunc(got, want, func(a, b change) bool {
			return a.state == b.state && (a.at-b.at).Abs() <= time.Second
		}) {
			t.Errorf("got %v; want %v", got, want)
		}
		for e := range s.Events(t.Context()) { // whoever comes late
			if e.State != SessionExpired || !errors.Is(e.Err, ErrSessionExpired) {
				t.Errorf("late: %+v", e)
			}
		}
		s.work.Wait()
	})
}

func TestSessionEventsEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newFake(t, Config{}, nil)
		s := open(t, c, 15*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n := 0
		for range s.Events(ctx) {
			n++
		}
		if n != 1 {
			t.Errorf("%d states of a session that fares well", n)
		}
		if err := s.End(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
