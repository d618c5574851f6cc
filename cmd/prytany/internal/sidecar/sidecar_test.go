package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// An office is a leadership that ends when it is told to.
type office struct {
	fence    uint64
	deadline time.Time
	ctx      context.Context
	end      context.CancelFunc
}

func newOffice(fence uint64, ttl time.Duration) *office {
	o := &office{fence: fence, deadline: time.Now().Add(ttl)}
	o.ctx, o.end = context.WithCancel(context.Background())
	return o
}

func (o *office) Fence() uint64         { return o.fence }
func (o *office) Err() error            { return o.ctx.Err() }
func (o *office) Done() <-chan struct{} { return o.ctx.Done() }
func (o *office) Deadline() time.Time   { return o.deadline }

// get asks s and returns the status, the ETag and what was told.
func get(t *testing.T, s *Sidecar, path, known string) (int, string, Answer) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:4040"
	if known != "" {
		r.Header.Set("If-None-Match", known)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var a Answer
	if w.Code == http.StatusOK && strings.HasPrefix(path, "/?") || path == "/" && w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, w.Header().Get("ETag"), a
}

// views answers reads with what comes through the channel.
func views(ch <-chan View) Read {
	return func(ctx context.Context, etag string, wait time.Duration) (View, error) {
		timer := time.NewTimer(max(wait, time.Millisecond))
		defer timer.Stop()
		select {
		case v := <-ch:
			return v, nil
		case <-timer.C:
			if etag == "" {
				return View{}, errors.New("nobody answers")
			}
			return View{Same: true}, nil
		case <-ctx.Done():
			return View{}, ctx.Err()
		}
	}
}

func led(owner string, term uint64, etag string) View {
	return View{Election: api.Election{Leader: &api.Leader{Owner: owner, Session: "s-" + owner, Term: term, Value: "v"}}, ETag: etag}
}

func TestAnswersAndLongPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan View, 1)
		s := New("web")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Observe(ctx, views(ch))
		if code, _, _ := get(t, s, "/", ""); code != http.StatusServiceUnavailable {
			t.Errorf("before the cluster has answered: %d", code)
		}
		ch <- led("a", 5, `"5"`)
		time.Sleep(3 * time.Second)
		code, etag, a := get(t, s, "/", "")
		if code != 200 || etag != `"5"` || a.Leader != "a" || a.Term != 5 || a.Value != "v" || a.IsLeader || a.SinceMS < 1000 {
			t.Errorf("%d %s %+v", code, etag, a)
		}
		begin := time.Now()
		if code, _, _ := get(t, s, "/?wait=30s", etag); code != http.StatusNotModified || time.Since(begin) != 30*time.Second {
			t.Errorf("%d after %s; want 304 after 30 s", code, time.Since(begin))
		}
		go func() {
			time.Sleep(2 * time.Second)
			ch <- led("b", 9, `"9"`)
		}()
		begin = time.Now()
		if code, etag, a := get(t, s, "/?wait=30s", etag); code != 200 || etag != `"9"` || a.Leader != "b" || time.Since(begin) > 5*time.Second {
			t.Errorf("%d %s %+v after %s", code, etag, a, time.Since(begin))
		}
	})
}

func TestOnlyTheLeaderSaysItLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan View, 1)
		s := New("web")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Observe(ctx, views(ch))
		ch <- led("me", 5, `"5"`)
		time.Sleep(2 * time.Second)
		o := newOffice(5, 15*time.Second)
		s.Lead(o)
		_, etag, a := get(t, s, "/", "")
		if !a.IsLeader || etag != `"5-leads"` {
			t.Errorf("%s %+v", etag, a)
		}
		go func() {
			time.Sleep(time.Second)
			o.end() // the lease is over, and the cluster has said nothing
		}()
		if code, etag, a := get(t, s, "/?wait=30s", etag); code != 200 || a.IsLeader || etag != `"5"` {
			t.Errorf("after the loss: %d %s %+v", code, etag, a)
		}
		old := newOffice(4, time.Minute) // an older term than the cluster knows
		defer old.end()
		s.Lead(old)
		if _, _, a := get(t, s, "/", ""); a.IsLeader {
			t.Error("who led before says that it leads")
		}
		s.Lead(nil)
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New("web")
		if code, _, _ := get(t, s, "/healthz", ""); code != 200 {
			t.Errorf("without an office: %d", code)
		}
		o := newOffice(5, 15*time.Second)
		s.Lead(o)
		time.Sleep(5 * time.Second)
		if code, _, _ := get(t, s, "/healthz", ""); code != 200 {
			t.Errorf("with most of the lease left: %d", code)
		}
		time.Sleep(3 * time.Second)
		if code, _, _ := get(t, s, "/healthz", ""); code != http.StatusServiceUnavailable {
			t.Errorf("without a renewal: %d", code)
		}
		s.Lead(nil)
		o.end()
	})
}

func TestWhatIsRefused(t *testing.T) {
	s := New("web")
	for _, tt := range []struct {
		method, path, host string
		want               int
	}{
		{"GET", "/", "evil.example", 403},
		{"GET", "/", "evil.example:4040", 403},
		{"GET", "/", "localhost:4040", 503},
		{"GET", "/", "[::1]:4040", 503},
		{"GET", "/", "10.0.0.1", 503},
		{"POST", "/", "localhost", 405},
		{"GET", "/x", "localhost", 404},
		{"GET", "/?wait=1h", "localhost", 400},
		{"GET", "/?wait=-1s", "localhost", 400},
		{"GET", "/?wait=x", "localhost", 400},
	} {
		r := httptest.NewRequest(tt.method, tt.path, nil)
		r.Host = tt.host
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s %s of %s: %d; want %d", tt.method, tt.path, tt.host, w.Code, tt.want)
		}
	}
}
