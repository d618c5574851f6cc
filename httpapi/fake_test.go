package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// fake notes what it is asked, and answers what the test says.
type fake struct {
	mu    sync.Mutex
	calls []any
	err   error
	meta  locks.Meta
	block bool // until the context ends

	session locks.Session
	grant   locks.Grant
	lock    locks.Lock
	entry   locks.Entry
	created bool
}

func newFake() *fake { return &fake{meta: locks.Meta{Revision: 50, Slot: 60}} }

// The requests of the methods whose arguments are not one struct.
type (
	keepAliveCall  struct{ id string }
	getSessionCall struct {
		id string
		rd locks.Read
	}
	listCall struct {
		kind string
		l    locks.List
		rd   locks.Read
	}
	endSessionCall struct {
		id string
		c  locks.Common
	}
	getLockCall struct {
		name string
		rd   locks.Read
	}
	checkFenceCall struct {
		name  string
		fence uint64
		rd    locks.Read
	}
	getCall struct {
		key string
		rd  locks.Read
	}
)

func (f *fake) note(ctx context.Context, call any) (locks.Meta, error) {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	block := f.block
	f.mu.Unlock()
	if block {
		<-ctx.Done()
		return locks.Meta{}, ctx.Err()
	}
	if f.err != nil {
		return f.meta, f.err
	}
	return f.meta, nil
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.calls)
}

func (f *fake) CreateSession(ctx context.Context, r locks.CreateSession) (locks.Session, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.session, m, err
}

func (f *fake) KeepAlive(ctx context.Context, id string) (locks.Session, locks.Meta, error) {
	m, err := f.note(ctx, keepAliveCall{id})
	return f.session, m, err
}

func (f *fake) GetSession(ctx context.Context, id string, rd locks.Read) (locks.Session, locks.Meta, error) {
	m, err := f.note(ctx, getSessionCall{id, rd})
	return f.session, m, err
}

func (f *fake) ListSessions(ctx context.Context, l locks.List, rd locks.Read) (locks.Page[locks.Session], locks.Meta, error) {
	m, err := f.note(ctx, listCall{"sessions", l, rd})
	return locks.Page[locks.Session]{Items: []locks.Session{f.session}, Token: "more"}, m, err
}

func (f *fake) EndSession(ctx context.Context, id string, c locks.Common) (locks.Meta, error) {
	return f.note(ctx, endSessionCall{id, c})
}

func (f *fake) Acquire(ctx context.Context, r locks.Acquire) (locks.Grant, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.grant, m, err
}

func (f *fake) Release(ctx context.Context, r locks.Release) (locks.Meta, error) {
	return f.note(ctx, r)
}

func (f *fake) GetLock(ctx context.Context, name string, rd locks.Read) (locks.Lock, locks.Meta, error) {
	m, err := f.note(ctx, getLockCall{name, rd})
	return f.lock, m, err
}

func (f *fake) CheckFence(ctx context.Context, name string, fence uint64, rd locks.Read) (locks.Meta, error) {
	return f.note(ctx, checkFenceCall{name, fence, rd})
}

func (f *fake) ListLocks(ctx context.Context, l locks.List, rd locks.Read) (locks.Page[locks.Lock], locks.Meta, error) {
	m, err := f.note(ctx, listCall{"locks", l, rd})
	return locks.Page[locks.Lock]{Items: []locks.Lock{f.lock}, Token: "more"}, m, err
}

func (f *fake) Put(ctx context.Context, r locks.Put) (locks.Entry, bool, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.entry, f.created, m, err
}

func (f *fake) Get(ctx context.Context, key string, rd locks.Read) (locks.Entry, locks.Meta, error) {
	m, err := f.note(ctx, getCall{key, rd})
	return f.entry, m, err
}

func (f *fake) Delete(ctx context.Context, r locks.Delete) (locks.Meta, error) {
	return f.note(ctx, r)
}

func (f *fake) ListEntries(ctx context.Context, l locks.List, rd locks.Read) (locks.Page[locks.Entry], locks.Meta, error) {
	m, err := f.note(ctx, listCall{"entries", l, rd})
	return locks.Page[locks.Entry]{Items: []locks.Entry{f.entry}, Token: "more"}, m, err
}

// config has f as groups main and g/1, and checks of all kinds.
func config(f *fake) Config {
	return Config{
		Locks:     func(g string) (locks.Locks, bool) { return f, g == "main" || g == "g/1" },
		LeaderURL: func(string) string { return "http://n2:7480" },
	}
}

// send writes one request as a client would, has s answer it and holds both to
// the document.
// Headers are "Name: value".
func send(t testing.TB, s http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	var text bytes.Buffer
	text.WriteString(method + " " + target + " HTTP/1.1\r\nHost: 127.0.0.1:7480\r\n")
	for _, h := range headers {
		text.WriteString(h + "\r\n")
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text.String() + "\r\n")))
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	if body != "" {
		plain := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.Body, r.ContentLength = plain.Body, plain.ContentLength
	}
	return reply(t, s, r)
}

// problemIn checks that rec is a whole problem and returns it.
func problemIn(t testing.TB, rec *httptest.ResponseRecorder) *api.Problem {
	t.Helper()
	var p api.Problem
	d := json.NewDecoder(bytes.NewReader(rec.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%d: not a problem: %v: %s", rec.Code, err, rec.Body)
	}
	h := rec.Header()
	switch {
	case h.Get("Content-Type") != api.TypeProblem,
		p.Status != rec.Code, p.Code == "", p.Title == "", p.Applied == "",
		p.Type != api.ProblemType(p.Code),
		p.RequestID == "" || p.RequestID != h.Get(api.HeaderRequestID),
		!strings.HasSuffix(rec.Body.String(), "}\n") || strings.Count(rec.Body.String(), "\n") != 1,
		p.Status == http.StatusServiceUnavailable && h.Get("Retry-After") == "",
		p.Status == http.StatusMethodNotAllowed && h.Get("Allow") == "":
		t.Fatalf("not as a problem should be: %d %v\n%s", rec.Code, h, rec.Body)
	}
	return &p
}

// sendTo asks the host of that name whether it lives.
func sendTo(t *testing.T, s http.Handler, host string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "/livez", nil)
	r.Host = host
	return reply(t, s, r)
}
