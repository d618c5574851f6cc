package client

import (
	"context"
	"errors"
	"fmt"
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

// An electorate elects whoever asks, at once.
type electorate struct {
	mu         sync.Mutex
	term       uint64
	log        []string // changes, with their If-Match
	candidates []api.Candidate
	refuse     func(req *http.Request) (*http.Response, error)
}

func (e *electorate) on(f *fake, req *http.Request) (*http.Response, error) {
	if e.refuse != nil {
		if resp, err := e.refuse(req); resp != nil || err != nil {
			return resp, err
		}
	}
	w := what(req)
	if !strings.Contains(w, " elections/") {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	line := strings.TrimSpace(w + " " + req.Header.Get("If-Match"))
	switch {
	case req.Method == http.MethodGet:
		return replyJSON(200, api.Election{Candidates: e.candidates}), nil
	case req.Method == http.MethodPut:
		e.term++
		e.log = append(e.log, line)
		return replyJSON(200, api.Term{Term: e.term}), nil
	case req.Method == http.MethodPatch:
		line += " " + bodyOf[api.Proclaim](req).Value
	case req.Method == http.MethodPost:
		line += " " + bodyOf[api.Transfer](req).To
	}
	e.log = append(e.log, line)
	return replyJSON(204, nil), nil
}

// TestRunServesOneTermAfterTheOther returns from the callback, loses the session,
// and is told to stop.
func TestRunServesOneTermAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		e := &electorate{refuse: func(req *http.Request) (*http.Response, error) {
			if down.Load() && isKeepAlive(req) {
				return nil, errLost
			}
			return nil, nil
		}}
		c, f := newFake(t, Config{}, e.on)
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		var terms []uint64
		running := 0
		err := c.Election("e", ElectionConfig{Value: "v"}).Run(ctx, func(ctx context.Context, term Term) error {
			terms = append(terms, term.Fence)
			running++
			defer func() { running-- }()
			if running != 1 {
				t.Error("two callbacks at a time")
			}
			switch term.Fence {
			case 1:
				time.Sleep(10 * time.Second)
				return nil // resigns
			case 2:
				down.Store(true)
				<-ctx.Done()
				if cause := context.Cause(ctx); !errors.Is(cause, ErrLockLost) {
					t.Errorf("cause = %v", cause)
				}
				down.Store(false)
				return fmt.Errorf("cut short: %w", context.Cause(ctx)) // no error of its own
			}
			cancel(stop)
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, stop) || !slices.Equal(terms, []uint64{1, 2, 3}) {
			t.Errorf("%v after terms %v", err, terms)
		}
		want := []string{"PUT elections/e", `DELETE elections/e "1"`, "PUT elections/e", "PUT elections/e", `DELETE elections/e "3"`}
		if !slices.Equal(e.log, want) || f.sessions != 2 {
			t.Errorf("%d sessions; %q; want %q", f.sessions, e.log, want)
		}
		after(t, c)
	})
}

func TestRunReturnsTheCallbacksError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &electorate{}
		c, f := newFake(t, Config{}, e.on)
		mine := errors.New("mine")
		if err := c.Election("e", ElectionConfig{}).Run(t.Context(), func(context.Context, Term) error { return mine }); !errors.Is(err, mine) {
			t.Errorf("err = %v", err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = c.Election("e", ElectionConfig{}).Run(t.Context(), func(context.Context, Term) error { panic("f") })
		}()
		if want := []string{"PUT elections/e", `DELETE elections/e "1"`, "PUT elections/e", `DELETE elections/e "2"`}; !slices.Equal(e.log, want) {
			t.Errorf("%q", e.log)
		}
		if f.count("DELETE sessions/") != 2 {
			t.Errorf("sessions are left: %v", f.requests())
		}
		after(t, c)
	})
}

// TestRunGoesOn over failures, more and more slowly, and not over what will never
// be.
func TestRunGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		e := &electorate{refuse: func(req *http.Request) (*http.Response, error) {
			if !strings.HasPrefix(what(req), "PUT elections/") {
				return nil, nil
			}
			if tries++; tries <= 20 {
				return replyProblem(409, api.CodeLimitMismatch, api.AppliedNo), nil
			}
			return replyProblem(400, api.CodeInvalid, api.AppliedNo), nil
		}}
		c, f := newFake(t, Config{}, e.on)
		err := c.Election("e", ElectionConfig{}).Run(t.Context(), func(context.Context, Term) error { return nil })
		var p *ProblemError
		if !errors.As(err, &p) || p.Status != 400 || tries != 21 || f.sessions != 1 {
			t.Errorf("%v after %d tries with %d sessions", err, tries, f.sessions)
		}
		if f.now() < 30*time.Second || f.now() > 2*time.Minute {
			t.Errorf("took %v", f.now())
		}
		after(t, c)
	})
}

// TestHandOver waits for the callback to return before anybody else may lead.
func TestHandOver(t *testing.T) {
	for _, resign := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			e := &electorate{candidates: []api.Candidate{{Session: "s-next"}}}
			c, f := newFake(t, Config{}, e.on)
			el := c.Election("e", ElectionConfig{})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				ended <- el.Run(ctx, func(ctx context.Context, term Term) error {
					<-ctx.Done()
					if cause := context.Cause(ctx); term.Fence == 1 && !errors.Is(cause, ErrReleased) {
						t.Errorf("cause = %v", cause)
					}
					time.Sleep(3 * time.Second) // to finish
					return nil
				})
			}()
			synctest.Wait()
			if err := el.Proclaim(t.Context(), "moved"); err != nil {
				t.Error(err)
			}
			if err := el.Transfer(t.Context(), "nobody"); !errors.Is(err, ErrNotCandidate) {
				t.Errorf("to nobody: %v", err)
			}
			begin := f.now()
			var err error
			want := `POST elections/e:transfer "1" s-next`
			if resign {
				err, want = el.Resign(t.Context()), `DELETE elections/e "1"`
			} else {
				err = el.Transfer(t.Context(), "s-next")
			}
			if err != nil || f.now()-begin != 3*time.Second || e.log[2] != want || e.log[1] != `PATCH elections/e "1" moved` {
				t.Errorf("%v after %v: %q", err, f.now()-begin, e.log)
			}
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := el.Proclaim(t.Context(), "late"); !errors.Is(err, ErrNotLeading) {
				t.Errorf("after the term: %v", err)
			}
			if err := el.Resign(t.Context()); err != nil {
				t.Errorf("nothing to resign from: %v", err)
			}
			after(t, c)
		})
	}
}

// TestResignAfterCampaign gives up what was won without Run.
func TestResignAfterCampaign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &electorate{}
		c, _ := newFake(t, Config{}, e.on)
		el := c.Election("e", ElectionConfig{})
		h, err := el.Campaign(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second has nothing to do
			if err := el.Resign(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if last := e.log[len(e.log)-1]; !errors.Is(h.Err(), ErrReleased) || last != `DELETE elections/e "1"` || len(e.log) != 2 {
			t.Errorf("%v; %q", h.Err(), e.log)
		}
		after(t, c)
	})
}

// TestResignationThatIsLost takes another session for the next campaign: the old
// one may still hold the lock, and have it taken away late.
func TestResignationThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &electorate{refuse: func(req *http.Request) (*http.Response, error) {
			if what(req) == "DELETE elections/e" && req.Header.Get("If-Match") == `"1"` {
				return nil, errLost
			}
			return nil, nil
		}}
		c, f := newFake(t, Config{}, e.on)
		mine := errors.New("mine")
		var held []*Held
		err := c.Election("e", ElectionConfig{}).Run(t.Context(), func(_ context.Context, term Term) error {
			if held = append(held, term.Held); term.Fence == 1 {
				return nil
			}
			return mine
		})
		if !errors.Is(err, mine) || len(held) != 2 || held[0].Session() == held[1].Session() || f.sessions != 2 {
			t.Errorf("%v; %d sessions", err, f.sessions)
		}
		after(t, c)
	})
}

func TestOneRunAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &electorate{}
		c, _ := newFake(t, Config{}, e.on)
		el := c.Election("e", ElectionConfig{})
		mine := errors.New("mine")
		err := el.Run(t.Context(), func(ctx context.Context, _ Term) error {
			if err := el.Run(ctx, nil); !errors.Is(err, errRunning) {
				t.Errorf("err = %v", err)
			}
			return mine
		})
		if !errors.Is(err, mine) {
			t.Error(err)
		}
		after(t, c)
	})
}

func TestCampaignAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &electorate{}
		c, f := newFake(t, Config{}, e.on)
		h, err := c.Election("e", ElectionConfig{}).Campaign(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Unlock(t.Context()); err != nil || e.log[1] != `DELETE elections/e "1"` {
			t.Errorf("%v: %q", err, e.log)
		}
		synctest.Wait()
		if f.count("DELETE sessions/") != 1 {
			t.Errorf("%v", f.requests())
		}
		go func() {
			time.Sleep(time.Second)
			after(t, c)
		}()
		err = c.Election("e", ElectionConfig{}).Run(t.Context(), func(ctx context.Context, _ Term) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if !errors.Is(err, ErrClosed) {
			t.Errorf("a client that is closed: %v", err)
		}
	})
}

func TestLeader(t *testing.T) {
	var now api.Election
	c, _ := newFake(t, Config{}, func(*fake, *http.Request) (*http.Response, error) { return replyJSON(200, now), nil })
	el := c.Election("e", ElectionConfig{})
	if _, err := el.Leader(t.Context()); !errors.Is(err, ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	now = api.Election{
		Leader:     &api.Leader{Session: "s", Owner: "web-2", Term: 7, Value: "v"},
		Candidates: []api.Candidate{{Session: "s2", Owner: "web-3", Value: "w", Since: 8}},
	}
	if l, err := el.Leader(t.Context()); err != nil || l != (Leader{"s", "web-2", 7, "v"}) {
		t.Errorf("%+v, %v", l, err)
	}
	if all, err := el.Candidates(t.Context()); err != nil || !slices.Equal(all, []Candidate{{"s2", "web-3", "w", 8}}) {
		t.Errorf("%+v, %v", all, err)
	}
}
