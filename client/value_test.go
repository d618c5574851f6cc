package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A store has one entry, and tells of its changes.
type store struct {
	mu    sync.Mutex
	value string // "": none
	rev   uint64
	watch script
}

func (s *store) on(f *fake, req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(what(req), "GET watch/") {
		return s.watch.on(f, req)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	resp := replyProblem(404, api.CodeKeyNotFound, api.AppliedNo)
	if s.value != "" {
		resp = replyEntry(s.value, s.rev)
	}
	resp.Header.Set(api.HeaderRevision, strconv.FormatUint(s.rev+1, 10))
	return resp, nil
}

func limitsEvent(rev uint64, value string) api.Event {
	return api.Event{Type: api.EventPut, Revision: rev, Name: "limits", Entry: &api.Entry{Key: "limits", Value: &value, Revision: rev}}
}

type limits struct{ RPS int }

// TestValueFollows an entry over changes, values that make no sense, deletions,
// cut streams and forgotten events.
func TestValueFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{value: `{"RPS":1}`, rev: 10}
		s.watch = script{path: "watch/limits", steps: []func(*http.Request) (*http.Response, error){
			func(req *http.Request) (*http.Response, error) {
				return stream(req, func(send func(...api.Event)) error {
					send(bookmark(11), putEvent(12, "limits/other", false), limitsEvent(13, `{"RPS":2}`))
					time.Sleep(time.Second)
					send(limitsEvent(14, "nonsense"))
					time.Sleep(time.Second)
					send(limitsEvent(15, `{"RPS":3}`))
					time.Sleep(time.Second)
					return errLost
				}), nil
			},
			func(req *http.Request) (*http.Response, error) {
				return stream(req, func(send func(...api.Event)) error {
					send(bookmark(15), api.Event{Type: api.EventDelete, Revision: 16, Name: "limits"})
					time.Sleep(time.Second)
					s.mu.Lock()
					s.value, s.rev = `{"RPS":5}`, 900
					s.mu.Unlock()
					send(api.Event{Type: api.EventError, Revision: 16, Problem: &api.Problem{Status: 410, Code: api.CodeCompacted}})
					return nil
				}), nil
			},
			func(req *http.Request) (*http.Response, error) {
				return stream(req, func(func(...api.Event)) error { return nil }), nil
			},
		}}
		c, _ := newFake(t, Config{}, s.on)
		v, err := Value(t.Context(), c, "limits", JSON[limits], ValueOptions[limits]{Default: limits{100}})
		if err != nil || v.Load().RPS != 1 || v.Revision() != 10 {
			t.Fatalf("%v, %v", v, err)
		}
		var called []int
		remove := v.OnChange(func(l limits) {
			if v.Load() != l {
				t.Errorf("told of %v before it can be loaded", l)
			}
			called = append(called, l.RPS)
		})
		type look struct {
			rps int
			ok  bool
		}
		var looks []look
		time.Sleep(time.Second / 2)
		for range 5 {
			looks = append(looks, look{v.Load().RPS, v.Err() == nil})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if want := []look{{2, true}, {2, false}, {3, true}, {100, true}, {5, true}}; !slices.Equal(looks, want) {
			t.Errorf("saw %v; want %v", looks, want)
		}
		if want := []int{2, 3, 100, 5}; !slices.Equal(called, want) {
			t.Errorf("called with %v; want %v", called, want)
		}
		if want := []string{"n1 12", "n2  15", "n2 902"}; !slices.Equal(s.watch.asked, want) {
			t.Errorf("asked %q; want %q", s.watch.asked, want)
		}
		remove()
		v.Close()
		synctest.Wait()
		if v.Load().RPS != 5 || v.Err() == nil {
			t.Errorf("closed: %v, %v", v.Load(), v.Err())
		}
	})
}

func TestValueThatCannotBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{value: "nonsense", rev: 3}
		c, _ := newFake(t, Config{}, s.on)
		var syntax *json.SyntaxError
		if v, err := Value(t.Context(), c, "limits", JSON[limits], ValueOptions[limits]{}); v != nil || !errors.As(err, &syntax) {
			t.Errorf("%v, %v", v, err)
		}
		c, _ = newFake(t, Config{}, func(*fake, *http.Request) (*http.Response, error) { return nil, errLost })
		if v, err := Value(t.Context(), c, "limits", JSON[limits], ValueOptions[limits]{}); v != nil || !errors.Is(err, ErrUnavailable) {
			t.Errorf("%v, %v", v, err)
		}
	})
}

func TestChangesOfValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{rev: 1}
		s.watch = script{path: "watch/limits", steps: []func(*http.Request) (*http.Response, error){func(req *http.Request) (*http.Response, error) {
			return stream(req, func(send func(...api.Event)) error {
				for rev := range uint64(20) {
					time.Sleep(time.Second)
					send(limitsEvent(3+rev, fmt.Sprint("v", rev)))
				}
				return nil
			}), nil
		}}}
		c, _ := newFake(t, Config{}, s.on)
		v, err := Value(t.Context(), c, "limits", Text, ValueOptions[string]{Default: "none"})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for text := range v.Changes(t.Context()) {
			if got = append(got, text); len(got) == 3 {
				time.Sleep(4*time.Second + time.Second/2) // too slow for some
			}
			if len(got) == 5 {
				v.Close() // ends the loop
			}
		}
		if want := []string{"none", "v0", "v1", "v5", "v6"}; !slices.Equal(got, want) {
			t.Errorf("got %v; want %v", got, want)
		}
		time.Sleep(time.Minute) // until the server has no more to tell
	})
}
