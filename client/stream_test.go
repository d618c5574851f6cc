package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// stream answers req with lines that f sends. When f returns nil the stream stays
// open and silent; an error cuts it off.
func stream(req *http.Request, f func(send func(events ...api.Event)) error) *http.Response {
	r, w := io.Pipe()
	context.AfterFunc(req.Context(), func() { _ = w.CloseWithError(req.Context().Err()) })
	go func() {
		enc := json.NewEncoder(w)
		err := f(func(events ...api.Event) {
			for _, e := range events {
				_ = enc.Encode(e)
			}
		})
		if err != nil {
			_ = w.CloseWithError(err)
		}
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {api.TypeNDJSON}}, Body: r}
}

func bookmark(rev uint64) api.Event { return api.Event{Type: api.EventBookmark, Revision: rev} }

func putEvent(rev uint64, key string, more bool) api.Event {
	value := fmt.Sprint(key, rev)
	return api.Event{Type: api.EventPut, Revision: rev, Name: key, More: more, Entry: &api.Entry{Key: key, Value: &value, Revision: rev}}
}

// A script answers one connection after the other at a path; the last of it
// again and again.
type script struct {
	path  string
	steps []func(req *http.Request) (*http.Response, error)
	asked []string // host, from and Last-Event-ID of each request
}

func (s *script) on(f *fake, req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || !strings.HasPrefix(what(req), "GET "+s.path) {
		return nil, nil
	}
	f.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, strings.TrimSpace(req.URL.Host+" "+req.URL.Query().Get("from")+" "+req.Header.Get(api.HeaderLastEventID)))
	f.mu.Unlock()
	return s.steps[min(n, len(s.steps)-1)](req)
}

// collect watches until n events have come.
func collect(ctx context.Context, c *Client, prefix string, o WatchOptions, n int) (got []string, err error) {
	for e, err := range c.Watch(ctx, prefix, o) {
		if err != nil {
			return got, err
		}
		text := fmt.Sprintf("%d %s %s", e.Revision, e.Type, e.Name)
		if e.More {
			text += " more"
		}
		if got = append(got, text); len(got) == n {
			break
		}
	}
	return got, nil
}

// TestWatchResumes meets all that can happen to a stream: cut within a revision,
// another node, events told twice, silence, refusals. Each event comes once.
func TestWatchResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{path: "watch/a/", steps: []func(*http.Request) (*http.Response, error){
			func(*http.Request) (*http.Response, error) { return nil, errLost },
			func(req *http.Request) (*http.Response, error) { // half a revision, then cut
				return stream(req, func(send func(...api.Event)) error {
					send(bookmark(10), putEvent(11, "a/x", false), putEvent(12, "a/x", true))
					return errLost
				}), nil
			},
			func(*http.Request) (*http.Response, error) {
				return replyProblem(503, api.CodeStopping, api.AppliedNo), nil
			},
			func(req *http.Request) (*http.Response, error) { // told before, and what is new; then ends as if it were complete
				return stream(req, func(send func(...api.Event)) error {
					send(bookmark(9), putEvent(11, "a/x", false), putEvent(12, "a/x", true), putEvent(12, "a/y", false), bookmark(20))
					return io.EOF
				}), nil
			},
			func(req *http.Request) (*http.Response, error) { // silent
				return stream(req, func(func(...api.Event)) error { return nil }), nil
			},
			func(req *http.Request) (*http.Response, error) { return silence(req) },
			func(req *http.Request) (*http.Response, error) { // no stream at all
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>"))}, nil
			},
			func(req *http.Request) (*http.Response, error) { // a revision that never ends
				return stream(req, func(send func(...api.Event)) error {
					send(putEvent(21, "a/x", true), putEvent(22, "a/x", false))
					return nil
				}), nil
			},
			func(req *http.Request) (*http.Response, error) {
				return stream(req, func(send func(...api.Event)) error {
					send(bookmark(20), putEvent(21, "a/z", false))
					return nil
				}), nil
			},
		}}
		c, f := newFake(t, Config{}, s.on)
		got, err := collect(t.Context(), c, "a/", WatchOptions{From: 11}, 4)
		want := []string{"11 put a/x", "12 put a/x more", "12 put a/y", "21 put a/z"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
		wantAsked := []string{"n1 11", "n2 11", "n1  11", "n2  11", "n1  20", "n2  20", "n1  20", "n2  20", "n1  20"}
		if !slices.Equal(s.asked, wantAsked) {
			t.Errorf("asked %q; want %q", s.asked, wantAsked)
		}
		if took := f.now(); took < 35*time.Second || took > 37*time.Second {
			t.Errorf("silence of 25 s and of 10 s took %v", took)
		}
	})
}

// TestWatchOfANewGroup begins at revision 0, which is one like all others: the
// stream tells so, and is taken up after it.
func TestWatchOfANewGroup(t *testing.T) {
	for _, o := range []WatchOptions{{}, {From: 1}} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{path: "watch/", steps: []func(*http.Request) (*http.Response, error){
				func(req *http.Request) (*http.Response, error) {
					return stream(req, func(send func(...api.Event)) error {
						send(bookmark(0))
						return errLost
					}), nil
				},
				func(req *http.Request) (*http.Response, error) {
					return stream(req, func(send func(...api.Event)) error {
						send(bookmark(0), putEvent(1, "a", false))
						return nil
					}), nil
				},
			}}
			c, _ := newFake(t, Config{}, s.on)
			got, err := collect(t.Context(), c, "", o, 1)
			if err != nil || !slices.Equal(got, []string{"1 put a"}) {
				t.Errorf("got %q, %v", got, err)
			}
			if len(s.asked) != 2 || !strings.HasSuffix(s.asked[1], "  0") {
				t.Errorf("asked %q", s.asked)
			}
		})
	}
}

func TestWatchEnds(t *testing.T) {
	compacted := api.Problem{Status: 410, Code: api.CodeCompacted, Applied: api.AppliedNo, OldestRevision: 50}
	for name, step := range map[string]func(*http.Request) (*http.Response, error){
		"before the stream": func(*http.Request) (*http.Response, error) { return replyJSON(410, compacted), nil },
		"within": func(req *http.Request) (*http.Response, error) {
			return stream(req, func(send func(...api.Event)) error {
				send(bookmark(7), api.Event{Type: api.EventError, Revision: 7, Problem: &compacted})
				return io.EOF
			}), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{path: "watch/", steps: []func(*http.Request) (*http.Response, error){step}}
				c, _ := newFake(t, Config{}, s.on)
				_, err := collect(t.Context(), c, "", WatchOptions{From: 3}, 1)
				var p *ProblemError
				if !errors.Is(err, ErrCompacted) || !errors.As(err, &p) || p.OldestRevision != 50 || len(s.asked) != 1 {
					t.Errorf("%v after %q", err, s.asked)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		c, _ := newFake(t, Config{}, func(_ *fake, req *http.Request) (*http.Response, error) { return silence(req) })
		mine := errors.New("mine")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Hour, func() { cancel(mine) })
		if _, err := collect(ctx, c, "", WatchOptions{}, 1); !errors.Is(err, mine) {
			t.Errorf("err = %v; want the cause", err)
		}
	})
}

// TestSlowWatcherIsNotTakenForASilentServer takes longer for an event than a
// server may be silent.
func TestSlowWatcherIsNotTakenForASilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{path: "watch", steps: []func(*http.Request) (*http.Response, error){func(req *http.Request) (*http.Response, error) {
			return stream(req, func(send func(...api.Event)) error {
				for rev := range uint64(5) {
					send(putEvent(rev+1, "k", false))
				}
				return nil
			}), nil
		}}}
		c, _ := newFake(t, Config{}, s.on)
		n := 0
		for _, err := range c.Watch(t.Context(), "", WatchOptions{Events: []string{EventPut}}) {
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if n++; n == 5 {
				break
			}
		}
		if len(s.asked) != 1 {
			t.Errorf("asked %d times", len(s.asked))
		}
	})
}

func TestObserve(t *testing.T) {
	leader := func(rev, term uint64, value string) api.Event {
		return api.Event{Type: api.EventLeader, Revision: rev, Name: "e", Session: "s", Fence: term, Value: value}
	}
	unlock := func(rev, term uint64, session string, more bool) api.Event {
		return api.Event{Type: api.EventUnlock, Revision: rev, Name: "e", Session: session, Fence: term, More: more}
	}
	synctest.Test(t, func(t *testing.T) {
		step := func(events ...api.Event) func(*http.Request) (*http.Response, error) {
			return func(req *http.Request) (*http.Response, error) {
				return stream(req, func(send func(...api.Event)) error {
					send(events...)
					return errLost
				}), nil
			}
		}
		s := &script{path: "elections/e", steps: []func(*http.Request) (*http.Response, error){
			step(unlock(3, 0, "", false), leader(5, 5, "a"), leader(6, 5, "b"), bookmark(9)),
			step(leader(6, 5, "b")),                                                                    // the same again
			step(unlock(12, 5, "s", true), leader(12, 12, "c")),                                        // handed over
			step(leader(6, 5, "b"), unlock(8, 5, "s", false)),                                          // a node that lags behind
			step(unlock(15, 12, "s", false)),                                                           // nobody
			step(leader(17, 17, "d"), leader(18, 12, "old"), unlock(19, 12, "s", false), bookmark(20)), // late news of the old
			func(*http.Request) (*http.Response, error) {
				return replyProblem(400, api.CodeInvalid, api.AppliedNo), nil
			},
		}}
		c, _ := newFake(t, Config{}, s.on)
		var got []string
		var last error
		for l, err := range c.Election("e", ElectionConfig{}).Observe(t.Context()) {
			if last = err; err == nil {
				got = append(got, fmt.Sprint(l.Term, l.Value))
			}
		}
		want := []string{"0", "5a", "5b", "12c", "0", "17d"}
		var p *ProblemError
		if !slices.Equal(got, want) || !errors.As(last, &p) || p.Status != 400 {
			t.Errorf("got %q, %v; want %q", got, last, want)
		}
		if slices.ContainsFunc(s.asked, func(a string) bool { return strings.Contains(a, " ") }) {
			t.Errorf("a state is resumed: %q", s.asked)
		}
	})
}
