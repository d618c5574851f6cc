package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// bodyOf reads what req asks for, and leaves it there.
func bodyOf[T any](req *http.Request) (v T) {
	data, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(strings.NewReader(string(data)))
	_ = json.Unmarshal(data, &v)
	return v
}

// TestReadersOfOneClient each have a session of their own, which ends with them.
func TestReadersOfOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []api.Acquire
		c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(what(req), "PUT locks/") {
				in := bodyOf[api.Acquire](req)
				f.mu.Lock()
				asked = append(asked, in)
				f.mu.Unlock()
			}
			return nil, nil
		})
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				acquire := c.RLock
				if i%2 == 0 {
					acquire = func(ctx context.Context, name string) (*Held, error) { return c.Semaphore(ctx, name, 3) }
				}
				h, err := acquire(t.Context(), "job")
				if err != nil {
					t.Error(err)
					return
				}
				if want := []string{api.ModeExclusive, api.ModeShared}[i%2]; h.Mode() != want || h.Slots() != 3-2*(i%2) {
					t.Errorf("mode %q of %d slots", h.Mode(), h.Slots())
				}
				time.Sleep(time.Minute)
				if err := h.Unlock(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if f.now() != time.Minute {
			t.Errorf("they waited for each other: %v", f.now())
		}
		sessions := map[string]bool{}
		for _, in := range asked {
			sessions[in.Session] = true
			if (in.Mode == api.ModeShared) == (in.Slots == 3) {
				t.Errorf("asked for %+v", in)
			}
		}
		synctest.Wait()
		if len(sessions) != 6 || f.count("DELETE locks/job") != 6 || f.count("DELETE sessions/") != 6 || len(c.own) != 0 {
			t.Errorf("%d sessions, %d left; requests %v", len(sessions), len(c.own), f.requests())
		}
		after(t, c)
	})
}

// TestReaderWhoGivesUp leaves nothing behind: the end of its session takes it
// out of the queue.
func TestReaderWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(what(req), "PUT locks/") {
				return silence(req)
			}
			return nil, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.RLock(ctx, "job"); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("err = %v", err)
		}
		synctest.Wait()
		if f.sessions != 1 || f.count("DELETE sessions/") != 1 || len(c.own) != 0 {
			t.Errorf("%d sessions; requests %v", f.sessions, f.requests())
		}
		after(t, c)
		if _, err := c.RLock(t.Context(), "job"); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
	})
}

func TestCloseEndsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, nil)
		h, err := c.RLock(t.Context(), "job")
		if err != nil {
			t.Fatal(err)
		}
		after(t, c)
		if !errors.Is(h.Err(), ErrClosed) || f.count("DELETE sessions/") != 1 {
			t.Errorf("%v; %v", h.Err(), f.requests())
		}
	})
}

// TestCloseWhileAReaderEnds holds up whoever has just lost a reader's session, and
// closes the client meanwhile: the server hears of the session's end.
func TestCloseWhileAReaderEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, nil)
		h, err := c.RLock(t.Context(), "job")
		if err != nil {
			t.Fatal(err)
		}
		lose := h.s.cancel
		h.s.cancel = func(cause error) { lose(cause); time.Sleep(time.Second) }
		ended := make(chan error)
		go func() { ended <- h.Unlock(t.Context()) }()
		synctest.Wait()
		after(t, c)
		if n := f.count("DELETE sessions/"); n != 1 {
			t.Errorf("%d sessions were ended; requests %v", n, f.requests())
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestChangesOfMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var modes []string
		var answer func(*http.Request) (*http.Response, error)
		c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if in := bodyOf[api.Acquire](req); in.Mode != "" {
				modes = append(modes, in.Mode)
				return answer(req)
			}
			return nil, nil
		})
		h := mustLock(t, c, "job")
		grant := func(fence uint64) func(*http.Request) (*http.Response, error) {
			return func(*http.Request) (*http.Response, error) { return replyJSON(200, api.Grant{Fence: fence}), nil }
		}
		if err := h.Upgrade(t.Context()); err != nil { // is exclusive already
			t.Error(err)
		}
		answer = grant(h.Fence())
		if err := h.Downgrade(t.Context()); err != nil || h.Mode() != api.ModeShared || h.Fence() != 1 {
			t.Errorf("downgrade: %v; %s, fence %d", err, h.Mode(), h.Fence())
		}
		answer = func(*http.Request) (*http.Response, error) {
			return replyProblem(409, api.CodeUpgradeRefused, api.AppliedNo), nil
		}
		if err := h.Upgrade(t.Context()); !errors.Is(err, ErrUpgradeRefused) || h.Err() != nil || h.Mode() != api.ModeShared {
			t.Errorf("upgrade beside others: %v; %v, %s", err, h.Err(), h.Mode())
		}
		answer = grant(9)
		if err := h.Upgrade(t.Context()); err != nil || h.Mode() != api.ModeExclusive || h.Fence() != 9 {
			t.Errorf("upgrade: %v; %s, fence %d", err, h.Mode(), h.Fence())
		}
		if want := []string{api.ModeShared, api.ModeExclusive, api.ModeExclusive}; !slices.Equal(modes, want) {
			t.Errorf("asked for %v", modes)
		}
		h.s.news(&api.Event{Type: api.EventUnlock, Name: "job", Session: h.s.id, Fence: 1, Reason: "upgraded"})
		if h.Err() != nil {
			t.Errorf("lost by its own upgrade: %v", h.Err())
		}
		h.s.news(&api.Event{Type: api.EventUnlock, Name: "job", Session: h.s.id, Fence: 1, Reason: "forced"})
		if !errors.Is(h.Err(), ErrLockLost) {
			t.Error("what it had shared was taken away before the upgrade, and it goes on")
		}
		after(t, c)
	})
}

// TestUpgradeOfUnknownOutcome ends the lock, and gives back what there may be:
// the new grant if there is one, and else the old. Until then no other goroutine
// of the client gets the lock.
func TestUpgradeOfUnknownOutcome(t *testing.T) {
	for name, late := range map[string]func() *http.Response{
		"granted": func() *http.Response { return replyJSON(200, api.Grant{Fence: 9}) },
		"refused": func() *http.Response { return replyProblem(409, api.CodeUpgradeRefused, api.AppliedNo) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var released []string
				c, _ := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
					switch in := bodyOf[api.Acquire](req); {
					case in.Mode == api.ModeShared:
						return replyJSON(200, api.Grant{Fence: 1}), nil
					case in.Mode == api.ModeExclusive && f.now() < time.Minute:
						return nil, errLost
					case in.Mode == api.ModeExclusive:
						return late(), nil
					case req.Method == http.MethodDelete && strings.HasPrefix(what(req), "DELETE locks/"):
						released = append(released, req.Header.Get("If-Match"))
					}
					return nil, nil
				})
				h := mustLock(t, c, "job")
				if err := h.Downgrade(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := h.Upgrade(t.Context()); !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, ErrLockLost) {
					t.Errorf("err = %v", err)
				}
				if !errors.Is(h.Err(), ErrLockLost) {
					t.Errorf("goes on: %v", h.Err())
				}
				mustLock(t, c, "job")
				want := []string{`"1"`}
				if name == "granted" {
					want = []string{`"9"`, `"1"`}
				}
				if !slices.Equal(released, want) {
					t.Errorf("released %v before the next; want %v", released, want)
				}
				after(t, c)
			})
		})
	}
}

func TestDowngradeOfWhatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if bodyOf[api.Acquire](req).Mode == api.ModeShared { // a grant anew
				return replyJSON(200, api.Grant{Fence: 77}), nil
			}
			return nil, nil
		})
		h := mustLock(t, c, "job")
		if err := h.Downgrade(t.Context()); !errors.Is(err, ErrLockLost) || !errors.Is(h.Err(), ErrLockLost) {
			t.Errorf("%v; %v", err, h.Err())
		}
		after(t, c)
	})
}

func TestAcquireAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := false
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			switch {
			case what(req) != "POST locks:acquire":
				return nil, nil
			case held:
				return replyJSON(409, api.Problem{Code: api.CodeLockHeld, Applied: api.AppliedNo, Held: []api.HeldBy{
					{Name: "b", Holder: &api.Holder{Owner: "web-3", Fence: 4}, QueuePosition: 2},
					{Name: "c", LockDelayRemainingMS: 500},
				}}), nil
			}
			in := bodyOf[api.AcquireAll](req)
			var out api.Grants
			for i, name := range in.Names {
				out.Locks = append([]api.Held{{Name: name, Fence: uint64(40 + i)}}, out.Locks...) // in another order
			}
			return replyJSON(200, out), nil
		})
		all, err := c.AcquireAll(t.Context(), []string{"a", "b", "c"}, Options{Note: "moving"})
		if err != nil || len(all) != 3 || all[0].Name() != "a" || all[2].Name() != "c" || all[2].Fence() != 42 {
			t.Fatalf("%v, %v", all, err)
		}
		var p *ProblemError
		if _, err := c.AcquireAll(t.Context(), []string{"x", "b"}, Options{}); !errors.Is(err, ErrHeld) || !errors.As(err, &p) || len(p.Held) != 1 || p.Held[0].Name != "b" {
			t.Errorf("held by another goroutine: %v", err)
		}
		for _, h := range all {
			if err := h.Unlock(t.Context()); err != nil {
				t.Error(err)
			}
		}
		held = true
		_, err = c.AcquireAll(t.Context(), []string{"a", "b", "c"}, Options{})
		if !errors.As(err, &p) || !errors.Is(err, ErrHeld) || len(p.Held) != 2 || p.Held[0].Holder.Owner != "web-3" || p.Held[1].LockDelay != 500*time.Millisecond {
			t.Errorf("%v: %+v", err, p)
		}
		for _, o := range []Options{{Shared: true}, {Slots: 2}, {Wait: time.Second}} {
			if _, err := c.AcquireAll(t.Context(), []string{"a"}, o); !errors.Is(err, errRequest) {
				t.Errorf("%+v: %v", o, err)
			}
		}
		if _, err := c.AcquireAll(t.Context(), []string{"a", "a"}, Options{}); !errors.Is(err, errRequest) {
			t.Errorf("twice: %v", err)
		}
		if f.count("DELETE locks/") != 3 || c.local.Len() != 0 {
			t.Errorf("%v", f.requests())
		}
		after(t, c)
	})
}

// TestAcquireAllTakenBack releases all locks that came after the caller had left.
func TestAcquireAllTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			switch {
			case what(req) != "POST locks:acquire":
				return nil, nil
			case f.now() < time.Minute:
				return nil, errLost
			}
			return replyJSON(200, api.Grants{Locks: []api.Held{{Name: "a", Fence: 7}, {Name: "b", Fence: 7}}}), nil
		})
		if _, err := c.AcquireAll(t.Context(), []string{"a", "b"}, Options{}); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("err = %v", err)
		}
		time.Sleep(2 * time.Minute)
		if f.count("DELETE locks/a") != 1 || f.count("DELETE locks/b") != 1 || c.local.Len() != 0 {
			t.Errorf("%v", f.requests())
		}
		after(t, c)
	})
}
