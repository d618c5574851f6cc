// Package resource is what locks protect: a counter and a set of numbers, beside the
// service and without a clock, behind HTTP on a Unix socket, so that no fault of the
// network and no fault of a node touches it. It keeps the highest fence it has seen
// of each lock and refuses lower ones, if it is asked to look at fences.
package resource

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// An Ask is one operation.
type Ask struct {
	Lock   string `json:"lock"` // whose resource
	Fenced bool   `json:"fenced"`
	Fence  uint64 `json:"fence,omitempty"`
	Write  bool   `json:"write,omitempty"`
	Base   uint64 `json:"base,omitempty"`  // of a write: the counter becomes one more than this
	Value  uint64 `json:"value,omitempty"` // of a write: goes into the set
}

// An Answer is what became of it.
type Answer struct {
	Refused bool     `json:"refused,omitempty"` // a lower fence than the highest
	Place   uint64   `json:"place"`             // order at this resource, from 1; refusals have one too
	Counter uint64   `json:"counter"`
	Set     []uint64 `json:"set,omitempty"` // of a read
	Highest uint64   `json:"highest,omitempty"`
}

// A Server keeps the resources of all locks.
type Server struct {
	mu  sync.Mutex
	all map[string]*thing

	http *http.Server
}

type thing struct {
	place, counter, highest uint64
	set                     []uint64
}

// Serve begins to answer at the socket called path.
func Serve(path string) (*Server, error) {
	s := &Server{all: map[string]*thing{}}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

// Close ends it.
func (s *Server) Close() error { return s.http.Close() }

// ServeHTTP answers one Ask.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a Ask
	const limit = 1 << 16
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(&a); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.Do(a))
}

// Do does one operation.
func (s *Server) Do(a Ask) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.all[a.Lock]
	if t == nil {
		t = &thing{}
		s.all[a.Lock] = t
	}
	t.place++
	out := Answer{Place: t.place}
	switch {
	case a.Fenced && a.Fence < t.highest:
		out.Refused = true
	case a.Write:
		t.counter = a.Base + 1
		t.set = append(t.set, a.Value)
	}
	if a.Fenced {
		t.highest = max(t.highest, a.Fence)
	}
	if !a.Write {
		out.Set = slices.Clone(t.set)
	}
	out.Counter, out.Highest = t.counter, t.highest
	return out
}

// A Client asks a Server.
type Client struct{ http *http.Client }

// Dial returns a client of the server at the socket called path.
func Dial(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Do asks the server. After an error it may or may not be done.
func (c *Client) Do(ctx context.Context, a Ask) (out Answer, err error) {
	body, err := json.Marshal(a)
	if err != nil {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://resource/", bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	req.GetBody = nil // not to be sent twice
	resp, err := c.http.Do(req)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("resource: %s", resp.Status)
	}
	return out, json.NewDecoder(resp.Body).Decode(&out)
}
