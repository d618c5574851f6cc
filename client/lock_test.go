package client

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// after ends what c began, so that no goroutine outlives the bubble.
func after(t *testing.T, c *Client) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func mustLock(t *testing.T, c *Client, name string) *Held {
	t.Helper()
	h, err := c.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGoroutinesExcludeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, nil)
		var in atomic.Int32
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				err := c.WithLock(t.Context(), "job", func(ctx context.Context, h *Held) error {
					if n := in.Add(1); n != 1 {
						t.Errorf("%d goroutines have the lock", n)
					}
					time.Sleep(time.Second)
					in.Add(-1)
					return ctx.Err()
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if f.sessions != 1 || c.local.Len() != 0 {
			t.Errorf("%d sessions and %d names left; want 1 and none", f.sessions, c.local.Len())
		}
		after(t, c)
	})
}

func TestHeldByAnotherGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newFake(t, Config{}, nil)
		h := mustLock(t, c, "job")
		start := time.Now()
		if _, err := c.TryLock(t.Context(), "job"); !errors.Is(err, ErrHeld) || time.Since(start) != 0 {
			t.Errorf("try: %v after %v", err, time.Since(start))
		}
		_, err := c.Acquire(t.Context(), "job", Options{Session: h.Session(), Wait: 3 * time.Second})
		if !errors.Is(err, ErrHeld) || time.Since(start) != 3*time.Second {
			t.Errorf("wait: %v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Lock(ctx, "job"); !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("lock: %v", err)
		}
		after(t, c)
	})
}

// TestCancelledWaiter gives back what it asked for: whether the server had
// granted the lock meanwhile or not.
func TestCancelledWaiter(t *testing.T) {
	for _, granted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
				switch {
				case !strings.HasPrefix(what(req), "PUT locks/"):
				case req.URL.Query().Has("wait"):
					return silence(req)
				case !granted:
					return replyProblem(409, api.CodeLockHeld, api.AppliedNo), nil
				}
				return nil, nil
			})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			_, err := c.Lock(ctx, "job")
			if !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("err = %v", err)
			}
			synctest.Wait()
			released := 0
			if granted {
				released = 1
			}
			if n := f.count("DELETE locks/job"); n != released {
				t.Errorf("released %d times; want %d", n, released)
			}
			used := 0
			for _, n := range f.keys {
				used = max(used, n)
			}
			if used < 2 {
				t.Error("the request was taken back with another key than its own")
			}
			if c.local.Len() != 0 {
				t.Error("the turn was not passed on")
			}
			after(t, c)
		})
	}
}

// TestWaiterFollowsToAnotherEndpoint waits at a node that falls silent: the
// renewals find out, and the request goes elsewhere with the same key.
func TestWaiterFollowsToAnotherEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if req.URL.Host == "n1" && what(req) != "POST sessions" {
				return silence(req)
			}
			return nil, nil
		})
		h := mustLock(t, c, "job")
		if at := f.now(); at > 7*time.Second {
			t.Errorf("granted at %v; the first renewal was at 5s", at)
		}
		used := 0
		for _, n := range f.keys {
			used = max(used, n)
		}
		if used != 2 {
			t.Errorf("the request was sent %d times with one key; want 2", used)
		}
		if err := h.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		after(t, c)
	})
}

func TestUnlockGoesOnInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if strings.HasPrefix(what(req), "DELETE locks/") && f.now() < 40*time.Second {
				return nil, errLost
			}
			return nil, nil
		})
		h := mustLock(t, c, "job")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Unlock(ctx); !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("err = %v; want %v", err, ErrUnknownOutcome)
		}
		if err := h.Unlock(ctx); err != nil {
			t.Errorf("second unlock: %v", err)
		}
		if cause := context.Cause(h.Context()); !errors.Is(cause, ErrReleased) {
			t.Errorf("cause = %v", cause)
		}
		next := mustLock(t, c, "job") // only when the release is done
		if at := f.now(); at < 40*time.Second || f.count("DELETE locks/job") != 1 {
			t.Errorf("locked again at %v after %d releases", at, f.count("DELETE locks/job"))
		}
		if err := next.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		after(t, c)
	})
}

func TestLostSessionTakesAllItsLocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if down.Load() && isKeepAlive(req) {
				return nil, errLost
			}
			return nil, nil
		})
		names := []string{"a", "b", "c"}
		var held []*Held
		for _, name := range names {
			held = append(held, mustLock(t, c, name))
		}
		down.Store(true)
		for _, h := range held {
			<-h.Done()
			if err := h.Err(); !errors.Is(err, ErrLockLost) {
				t.Errorf("%s: %v", h.Name(), err)
			}
		}
		down.Store(false)
		for i, name := range names { // nobody has called Unlock
			h := mustLock(t, c, name)
			if h.Session() == held[i].Session() {
				t.Error("a session that is over holds a lock")
			}
			if err := held[i].Unlock(t.Context()); !errors.Is(err, ErrLockLost) {
				t.Errorf("unlock of the old grant: %v", err)
			}
			if err := h.Err(); err != nil {
				t.Errorf("unlocking the old grant took the new one away: %v", err)
			}
		}
		if f.sessions != 2 || f.count("DELETE") != 0 {
			t.Errorf("%d sessions; requests %v", f.sessions, f.requests())
		}
		after(t, c)
	})
}

// TestSharedSessionThatIsOver is replaced when an acquisition finds out first.
func TestSharedSessionThatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var old atomic.Pointer[string]
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if id := old.Load(); id != nil && strings.HasPrefix(what(req), "PUT locks/") {
				old.Store(nil)
				return replyProblem(410, api.CodeSessionExpired, api.AppliedNo), nil
			}
			return nil, nil
		})
		first := mustLock(t, c, "a")
		id := first.Session().ID()
		old.Store(&id)
		second := mustLock(t, c, "b")
		synctest.Wait()
		if f.sessions != 2 || !errors.Is(first.Err(), ErrLockLost) || second.Err() != nil {
			t.Errorf("%d sessions; first: %v, second: %v", f.sessions, first.Err(), second.Err())
		}
		after(t, c)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if what(req) == "PUT locks/busy" {
				return silence(req)
			}
			return nil, nil
		})
		h := mustLock(t, c, "job")
		waiting := make(chan error, 2)
		for _, name := range []string{"busy", "job"} {
			go func() {
				_, err := c.Lock(t.Context(), name)
				waiting <- err
			}()
		}
		synctest.Wait()
		after(t, c)
		for range 2 {
			if err := <-waiting; !errors.Is(err, ErrClosed) {
				t.Errorf("a waiter got %v; want %v", err, ErrClosed)
			}
		}
		if cause := context.Cause(h.Context()); !errors.Is(cause, ErrLockLost) || !errors.Is(cause, ErrClosed) {
			t.Errorf("cause = %v", cause)
		}
		if got := f.requests(); got[len(got)-1] != "DELETE sessions/"+h.Session().ID() {
			t.Errorf("requests: %v", got)
		}
		if _, err := c.TryLock(t.Context(), "other"); !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v", err)
		}
		after(t, c)
	})
}

func TestCloseWhileASessionOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if what(req) == "POST sessions" {
				time.Sleep(time.Second)
			}
			return nil, nil
		})
		failed := make(chan error, 1)
		go func() {
			_, err := c.Lock(t.Context(), "job")
			failed <- err
		}()
		synctest.Wait()
		after(t, c)
		if err := <-failed; !errors.Is(err, ErrClosed) || f.count("DELETE sessions/") != 1 {
			t.Errorf("err = %v; requests %v", err, f.requests())
		}
	})
}

func TestWithLockReleasesAfterPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, nil)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = c.WithLock(t.Context(), "job", func(context.Context, *Held) error { panic("f") })
		}()
		if f.count("DELETE locks/job") != 1 || c.local.Len() != 0 {
			t.Errorf("not released: %v", f.requests())
		}
		after(t, c)
	})
}

func TestWithLockTellsOfLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if isKeepAlive(req) {
				return silence(req)
			}
			return nil, nil
		})
		mine := errors.New("mine")
		err := c.WithLock(t.Context(), "job", func(ctx context.Context, _ *Held) error {
			<-ctx.Done()
			return errors.Join(mine, context.Cause(ctx))
		})
		if !errors.Is(err, ErrLockLost) || !errors.Is(err, mine) {
			t.Errorf("err = %v", err)
		}
		after(t, c)
	})
}

func TestHeldLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, nil)
		for range 5 {
			if err := mustLock(t, c, "job").Unlock(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"POST sessions"}
		for range 5 {
			want = append(want, "PUT locks/job", "DELETE locks/job")
		}
		if got := f.requests(); !slices.Equal(got, want) {
			t.Errorf("requests %v; want %v", got, want)
		}
		after(t, c)
	})
}
