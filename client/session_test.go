package client

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// isKeepAlive reports whether req renews a session.
func isKeepAlive(req *http.Request) bool { return strings.HasPrefix(what(req), "PUT sessions/") }

func open(t *testing.T, c *Client, ttl time.Duration) *Session {
	t.Helper()
	s, err := c.NewSession(t.Context(), SessionConfig{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSessionEndsByTheLocalClock loses all packets after a while: the session
// ends exactly one TTL without the margin after the last renewal that was
// acknowledged was sent.
func TestSessionEndsByTheLocalClock(t *testing.T) {
	for name, fault := range map[string]func(*http.Request) (*http.Response, error){
		"silent":  silence,
		"refused": func(*http.Request) (*http.Response, error) { return nil, errLost },
		"no leader": func(*http.Request) (*http.Response, error) {
			return replyProblem(503, api.CodeNoLeader, api.AppliedNo), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
					if isKeepAlive(req) && f.now() > 22*time.Second {
						return fault(req)
					}
					return nil, nil
				})
				s := open(t, c, 15*time.Second)
				h, err := c.Acquire(t.Context(), "job", Options{Session: s})
				if err != nil {
					t.Fatal(err)
				}
				<-h.Done()
				f.mu.Lock()
				last := f.sent[len(f.sent)-1]
				f.mu.Unlock()
				if got, want := f.now(), last+15*time.Second-300*time.Millisecond; got != want {
					t.Errorf("ended at %v; want %v, after a renewal at %v", got, want, last)
				}
				if err := context.Cause(h.Context()); !errors.Is(err, ErrLockLost) || !errors.Is(err, ErrSessionExpired) {
					t.Errorf("cause = %v", err)
				}
				if s.Remaining() > 0 || h.Unlock(t.Context()) == nil {
					t.Error("a lost lock is still held")
				}
			})
		})
	}
}

func TestSlowAnswerCountsFromItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
			if isKeepAlive(req) {
				time.Sleep(900 * time.Millisecond) // less than any patience
				if f.now() > 9*time.Second {
					return silence(req)
				}
			}
			return nil, nil
		})
		s := open(t, c, 15*time.Second)
		<-s.Context().Done()
		defer s.work.Wait()
		if got, want := f.now(), 5*time.Second+15*time.Second-300*time.Millisecond; got != want {
			t.Errorf("ended at %v; want %v", got, want)
		}
	})
}

func TestSilentEndpointStarvesNobody(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 15 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := newFake(t, Config{Endpoints: []string{"n1", "n2", "n3"}}, func(_ *fake, req *http.Request) (*http.Response, error) {
				if req.URL.Host != "n3" && req.Method == http.MethodPut {
					return silence(req)
				}
				return nil, nil
			})
			s := open(t, c, ttl)
			for range 20 {
				time.Sleep(ttl / 2)
				c.link.Avoid(2) // whatever turns the client to a silent node
				if err := context.Cause(s.Context()); err != nil {
					t.Fatalf("TTL %v: %v", ttl, err)
				}
			}
			s.lose(errEnded)
		})
	}
}

func TestSleepingMachineFindsItselfExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, nil)
		h, err := c.Lock(t.Context(), "job")
		if err != nil {
			t.Fatal(err)
		}
		f.sleep(time.Hour)
		if err := h.Err(); !errors.Is(err, ErrLockLost) {
			t.Errorf("just after waking: %v", err)
		}
		if left := time.Until(h.Deadline()); left > 0 {
			t.Errorf("%v left of a lost lock", left)
		}
		s := open(t, c, 15*time.Second)
		f.sleep(time.Hour)
		time.Sleep(watchEvery)
		synctest.Wait()
		if s.Context().Err() == nil {
			t.Error("a session goes on after its time because its timer slept")
		}
	})
}

func TestServerEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, f := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) {
			if isKeepAlive(req) {
				return replyProblem(410, api.CodeSessionExpired, api.AppliedNo), nil
			}
			return nil, nil
		})
		s := open(t, c, 15*time.Second)
		<-s.Context().Done()
		if got := f.now(); got != 5*time.Second || !errors.Is(context.Cause(s.Context()), ErrSessionExpired) {
			t.Errorf("ended at %v with %v; want at the first renewal", got, context.Cause(s.Context()))
		}
	})
}

func TestSenselessAnswers(t *testing.T) {
	for _, body := range []any{"text", api.SessionCreated{}, api.SessionCreated{ID: "s"}, api.SessionCreated{ID: "s", TTLMS: -1}} {
		c, _ := newFake(t, Config{}, func(*fake, *http.Request) (*http.Response, error) { return replyJSON(201, body), nil })
		if s, err := c.NewSession(t.Context(), SessionConfig{}); err == nil {
			t.Errorf("%v makes a session: %v", body, s.ID())
		}
	}
}

// TestSessionLearnedOfLate takes longer than a TTL to open: it is renewed
// before anything depends on it.
func TestSessionLearnedOfLate(t *testing.T) {
	for _, alive := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := newFake(t, Config{}, func(f *fake, req *http.Request) (*http.Response, error) {
				switch {
				case !isKeepAlive(req) && f.now() < 5*time.Second:
					return nil, errLost
				case isKeepAlive(req) && !alive:
					return replyProblem(410, api.CodeSessionExpired, api.AppliedNo), nil
				}
				return nil, nil
			})
			s, err := c.NewSession(t.Context(), SessionConfig{TTL: 2 * time.Second})
			if !alive {
				if !errors.Is(err, ErrSessionExpired) {
					t.Errorf("err = %v; want %v", err, ErrSessionExpired)
				}
				return
			}
			if err != nil || s.Remaining() <= 0 {
				t.Fatalf("err = %v", err)
			}
			time.Sleep(time.Minute)
			if err := s.Context().Err(); err != nil {
				t.Error(err)
			}
			if err := s.End(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
