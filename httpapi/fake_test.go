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
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// fake notes what it is asked, and answers what the test says.
type fake struct {
	mu    sync.Mutex
	calls []any
	err   error
	meta  locks.Meta
	block bool // until the context ends, or until
	free  chan struct{}

	session locks.Session
	grant   locks.Grant
	lock    locks.Lock
	entry   locks.Entry
	created bool
	kept    locks.Kept
	grants  []locks.Grant
	highest uint64
	txn     locks.TxnResult
	entries []locks.Entry // of a listing; nil: entry
	stream  *script       // nil: one that ends with the context
	lockErr error         // of GetLock alone
}

func newFake() *fake { return &fake{meta: locks.Meta{Revision: 50, Slot: 60}} }

// The requests of the methods whose arguments are not one struct.
type (
	getSessionCall struct {
		id string
		rd service.Read
	}
	listCall struct {
		kind string
		l    service.List
		rd   service.Read
	}
	endSessionCall struct {
		id string
		c  service.Common
	}
	getLockCall struct {
		name string
		rd   service.Read
	}
	checkFenceCall struct {
		name  string
		fence uint64
		rd    service.Read
	}
	getFenceCall struct {
		resource string
		rd       service.Read
	}
	getCall struct {
		key string
		rd  service.Read
	}
)

func (f *fake) note(ctx context.Context, call any) (locks.Meta, error) {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	block := f.block
	f.mu.Unlock()
	if block {
		select {
		case <-ctx.Done():
			return locks.Meta{}, ctx.Err()
		case <-f.free:
		}
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

func (f *fake) CreateSession(ctx context.Context, r service.CreateSession) (locks.Session, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.session, m, err
}

func (f *fake) KeepAlive(ctx context.Context, r service.KeepAlive) (locks.Kept, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.kept, m, err
}

func (f *fake) GetSession(ctx context.Context, id string, rd service.Read) (locks.Session, locks.Meta, error) {
	m, err := f.note(ctx, getSessionCall{id, rd})
	return f.session, m, err
}

func (f *fake) ListSessions(ctx context.Context, l service.List, rd service.Read) (service.Page[locks.Session], locks.Meta, error) {
	m, err := f.note(ctx, listCall{"sessions", l, rd})
	return service.Page[locks.Session]{Items: []locks.Session{f.session}, Token: "more"}, m, err
}

func (f *fake) EndSession(ctx context.Context, id string, c service.Common) (locks.Meta, error) {
	return f.note(ctx, endSessionCall{id, c})
}

func (f *fake) Acquire(ctx context.Context, r service.Acquire) (locks.Grant, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.grant, m, err
}

func (f *fake) AcquireAll(ctx context.Context, r service.AcquireAll) ([]locks.Grant, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.grants, m, err
}

func (f *fake) AskYield(ctx context.Context, r service.AskYield) (locks.Meta, error) {
	return f.note(ctx, r)
}

func (f *fake) Proclaim(ctx context.Context, r service.Proclaim) (locks.Meta, error) {
	return f.note(ctx, r)
}

func (f *fake) Transfer(ctx context.Context, r service.Transfer) (locks.Grant, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.grant, m, err
}

func (f *fake) AdvanceFence(ctx context.Context, r service.AdvanceFence) (uint64, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.highest, m, err
}

func (f *fake) GetFence(ctx context.Context, resource string, rd service.Read) (uint64, locks.Meta, error) {
	m, err := f.note(ctx, getFenceCall{resource, rd})
	return f.highest, m, err
}

func (f *fake) ForgetFence(ctx context.Context, r service.ForgetFence) (locks.Meta, error) {
	return f.note(ctx, r)
}

func (f *fake) Txn(ctx context.Context, r service.Txn) (locks.TxnResult, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.txn, m, err
}

func (f *fake) Watch(ctx context.Context, w service.Watch) (service.Stream, locks.Meta, error) {
	m, err := f.note(ctx, w)
	if err != nil {
		return nil, m, err
	}
	if f.stream == nil {
		return &script{}, m, nil
	}
	return f.stream, m, nil
}

// A script is a stream that tells what a test has written down, a turn for each
// Next, then what comes from more, and nothing else until its context ends.
type script struct {
	turns  []turn
	more   chan turn
	idle   bool          // it has nothing to tell, and says so after each wait
	gone   chan struct{} // closed with the stream
	closed int
}

type turn struct {
	changes []locks.Change
	upTo    uint64
	err     error
}

func (s *script) Next(ctx context.Context, wait time.Duration) ([]locks.Change, uint64, error) {
	if len(s.turns) > 0 {
		t := s.turns[0]
		s.turns = s.turns[1:]
		return t.changes, t.upTo, t.err
	}
	var over <-chan time.Time
	if s.idle {
		over = time.After(wait)
	}
	select {
	case t := <-s.more:
		return t.changes, t.upTo, t.err
	case <-over:
		return nil, 60, nil
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

func (s *script) Close() {
	s.closed++
	if s.gone != nil {
		close(s.gone)
	}
}

func (f *fake) Release(ctx context.Context, r service.Release) (locks.Meta, error) {
	return f.note(ctx, r)
}

func (f *fake) GetLock(ctx context.Context, name string, rd service.Read) (locks.Lock, locks.Meta, error) {
	m, err := f.note(ctx, getLockCall{name, rd})
	if err == nil {
		err = f.lockErr
	}
	return f.lock, m, err
}

func (f *fake) CheckFence(ctx context.Context, name string, fence uint64, rd service.Read) (locks.Meta, error) {
	return f.note(ctx, checkFenceCall{name, fence, rd})
}

func (f *fake) ListLocks(ctx context.Context, l service.List, rd service.Read) (service.Page[locks.Lock], locks.Meta, error) {
	m, err := f.note(ctx, listCall{"locks", l, rd})
	return service.Page[locks.Lock]{Items: []locks.Lock{f.lock}, Token: "more"}, m, err
}

func (f *fake) Put(ctx context.Context, r service.Put) (locks.Entry, bool, locks.Meta, error) {
	m, err := f.note(ctx, r)
	return f.entry, f.created, m, err
}

func (f *fake) Get(ctx context.Context, key string, rd service.Read) (locks.Entry, locks.Meta, error) {
	m, err := f.note(ctx, getCall{key, rd})
	return f.entry, m, err
}

func (f *fake) Delete(ctx context.Context, r service.Delete) (locks.Meta, error) {
	return f.note(ctx, r)
}

func (f *fake) ListEntries(ctx context.Context, l service.List, rd service.Read) (service.Page[locks.Entry], locks.Meta, error) {
	m, err := f.note(ctx, listCall{"entries", l, rd})
	items := f.entries
	if items == nil {
		items = []locks.Entry{f.entry}
	}
	return service.Page[locks.Entry]{Items: items, Token: "more"}, m, err
}

// config has f as groups main and g/1, and checks of all kinds.
func config(f *fake) Config {
	return Config{
		Locks:     func(g string) (service.Locks, bool) { return f, g == "main" || g == "g/1" },
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
	return answerTo(t, s, r)
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
	return answerTo(t, s, r)
}
