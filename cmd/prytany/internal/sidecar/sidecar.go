// Package sidecar tells other programs on this machine over HTTP who leads an
// election, and whether it is the process they sit beside.
package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prytany/prytany/internal/api"
)

const (
	// pollFor is how long one question to the cluster may be held back.
	pollFor = 20 * time.Second
	// longest is the longest wait that a caller may ask for.
	longest = 5 * time.Minute
)

// A Leadership is this process's own. [*client.Held] is one.
type Leadership interface {
	Fence() uint64
	Err() error // nil while it certainly lasts
	Done() <-chan struct{}
	Deadline() time.Time
}

// A View is what the cluster says.
type View struct {
	Election api.Election
	ETag     string // "" if nothing is known of the election
	Same     bool   // it is as before; the other fields are not set
}

// A Read asks the cluster: for a View that is not the one with etag, for up to
// wait.
type Read func(ctx context.Context, etag string, wait time.Duration) (View, error)

// An Answer is what GET / tells.
type Answer struct {
	Name     string `json:"name"`
	Leader   string `json:"leader"` // "" if nobody leads
	Session  string `json:"session"`
	Term     uint64 `json:"term"`
	Value    string `json:"value"`
	IsLeader bool   `json:"is_leader"` // this process certainly leads at this instant
	SinceMS  int64  `json:"since_ms"`  // for how long the leader has led, as far as is known
	AgeMS    int64  `json:"age_ms"`    // since the cluster last said so
}

// A Sidecar is the handler. It is safe for concurrent use.
type Sidecar struct {
	name string

	mu      sync.Mutex
	view    View
	read    time.Time // when view was confirmed; zero: never
	viewed  time.Time // when view was new
	own     Leadership
	lease   time.Duration // of own, when it began
	changed chan struct{} // closed with the next change
}

// New returns a Sidecar that knows nothing yet.
func New(name string) *Sidecar { return &Sidecar{name: name, changed: make(chan struct{})} }

// Lead says that this process leads, or, with nil, that it does not.
func (s *Sidecar) Lead(l Leadership) {
	s.mu.Lock()
	s.own = l
	if l != nil {
		s.lease = time.Until(l.Deadline())
	}
	s.ring()
	s.mu.Unlock()
	if l == nil {
		return
	}
	go func() {
		<-l.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ring()
	}()
}

// ring wakes those who wait. The caller holds mu.
func (s *Sidecar) ring() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Observe keeps what is known up to date until ctx ends.
func (s *Sidecar) Observe(ctx context.Context, read Read) {
	etag, first := "", true
	for ctx.Err() == nil {
		wait := pollFor
		if first {
			wait = 0
		}
		asked := time.Now()
		v, err := read(ctx, etag, wait)
		if err != nil {
			first = true
			pause(ctx, time.Second)
			continue
		}
		first = false
		s.mu.Lock()
		s.read = asked
		if !v.Same {
			s.view, s.viewed, etag = v, time.Now(), v.ETag
			s.ring()
		} else {
			s.read = time.Now()
		}
		s.mu.Unlock()
		if v.ETag == "" && !v.Same {
			pause(ctx, 200*time.Millisecond) // of what is not known there is nothing to wait for, on old nodes
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// answer returns what is known, its ETag, and what rings when that changes.
func (s *Sidecar) answer() (a Answer, etag string, known bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a = Answer{Name: s.name}
	if l := s.view.Election.Leader; l != nil {
		a.Leader, a.Session, a.Term, a.Value = l.Owner, l.Session, l.Term, l.Value
		a.SinceMS = time.Since(s.viewed).Milliseconds()
		if l.HeldMS != nil {
			a.SinceMS += *l.HeldMS
		}
	}
	if s.own != nil && s.own.Err() == nil {
		a.IsLeader = s.own.Fence() >= a.Term
	}
	a.AgeMS = time.Since(s.read).Milliseconds()
	tag := strings.Trim(s.view.ETag, `"`)
	if tag == "" {
		tag = "0"
	}
	if a.IsLeader {
		tag += "-leads"
	}
	return a, `"` + tag + `"`, !s.read.IsZero(), s.changed
}

// ServeHTTP answers GET / and GET /healthz.
func (s *Sidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !hostOK(r.Host):
		http.Error(w, "the Host header names somebody else", http.StatusForbidden) // a page that lies about its name
	case r.URL.Path != "/" && r.URL.Path != "/healthz":
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
	case r.URL.Path == "/healthz":
		s.health(w)
	default:
		s.leader(w, r)
	}
}

// hostOK reports whether a browser may have meant this server: its name cannot
// have been made to point here.
func hostOK(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host == "localhost" || net.ParseIP(host) != nil
}

func (s *Sidecar) leader(w http.ResponseWriter, r *http.Request) {
	var wait time.Duration
	if v := r.URL.Query().Get("wait"); v != "" {
		var err error
		if wait, err = time.ParseDuration(v); err != nil || wait < 0 || wait > longest {
			http.Error(w, fmt.Sprintf("wait=%q: want a duration from 0s to %s", v, longest), http.StatusBadRequest)
			return
		}
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	known := strings.TrimPrefix(r.Header.Get("If-None-Match"), "W/")
	for over := wait == 0; ; {
		a, etag, any, changed := s.answer()
		if any && etag != known || over {
			reply(w, a, etag, any, etag == known)
			return
		}
		select {
		case <-changed:
		case <-end.C:
			over = true
		case <-r.Context().Done():
			return
		}
	}
}

func reply(w http.ResponseWriter, a Answer, etag string, known, same bool) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if !known {
		h.Set("Retry-After", "1")
		http.Error(w, "the cluster has not answered yet", http.StatusServiceUnavailable)
		return
	}
	h.Set("ETag", etag)
	if same {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}

// health fails while this process leads and less than half of its lease is
// left: renewals come far earlier when all is well.
func (s *Sidecar) health(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own != nil {
		left := time.Until(s.own.Deadline())
		if s.own.Err() != nil || left < s.lease/2 {
			http.Error(w, fmt.Sprintf("leads %s and cannot renew: %s left", s.name, max(left, 0).Round(time.Millisecond)), http.StatusServiceUnavailable)
			return
		}
	}
	_, _ = fmt.Fprintln(w, "ok")
}
