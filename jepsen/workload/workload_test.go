//go:build linux

package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/client/prytanytest"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/check"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/jepsen/resource"
	"github.com/prytany/prytany/jepsen/verdict"
)

func TestVerdicts(t *testing.T) {
	lost := errors.New("lost")
	for name, tt := range map[string]struct {
		a       answer
		missing api.Code
		want    history.Kind
	}{
		"refused connection": {answer{err: lost}, "", history.Fail},
		"no answer":          {answer{err: lost, sent: true}, "", history.Info},
		"done":               {answer{sent: true, status: 200}, "", history.OK},
		"refused":            {answer{sent: true, status: 412, problem: &api.Problem{Applied: api.AppliedNo}}, "", history.Fail},
		"unknown":            {answer{sent: true, status: 504, problem: &api.Problem{Applied: api.AppliedUnknown}}, "", history.Info},
		"no word of it":      {answer{sent: true, status: 502, problem: &api.Problem{}}, "", history.Info},
		"nothing there":      {answer{sent: true, status: 404, problem: &api.Problem{Code: api.CodeKeyNotFound, Applied: api.AppliedNo}}, api.CodeKeyNotFound, history.OK},
		"something else":     {answer{sent: true, status: 404, problem: &api.Problem{Code: api.CodeLockUnknown, Applied: api.AppliedNo}}, api.CodeKeyNotFound, history.Fail},
	} {
		if got := verdictOf(&tt.a, tt.missing); got != tt.want {
			t.Errorf("%s: %s; want %s", name, got, tt.want)
		}
	}
}

// A script answers requests one after the other.
type script struct {
	mu   sync.Mutex
	said []func(*http.Request) (*http.Response, error)
	keys []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, r.Header.Get(api.HeaderIdempotencyKey))
	next := s.said[0]
	s.said = s.said[1:]
	return next(r)
}

func reply(status int, problem string, slot string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		if slot != "" {
			h.Set(api.HeaderSlot, slot)
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(problem))}, nil
	}
}

const (
	unknown = `{"code":"outcome-unknown","applied":"unknown"}`
	nothing = `{"code":"no-leader","applied":"no"}`
	differs = `{"code":"revision-mismatch","applied":"no","current_revision":9}`
)

// An attempt that may have worked makes a later "nothing happened" worthless, and all
// attempts are one request.
func TestRetriesOfOneRequest(t *testing.T) {
	for name, tt := range map[string]struct {
		said []func(*http.Request) (*http.Response, error)
		want history.Kind
	}{
		"unknown, then nothing":  {[]func(*http.Request) (*http.Response, error){reply(504, unknown, ""), reply(503, nothing, ""), reply(503, nothing, "")}, history.Info},
		"nothing to the end":     {[]func(*http.Request) (*http.Response, error){reply(503, nothing, ""), reply(503, nothing, ""), reply(503, nothing, "")}, history.Fail},
		"unknown, then refused":  {[]func(*http.Request) (*http.Response, error){reply(504, unknown, ""), reply(412, differs, "7")}, history.Fail},
		"unknown, then it works": {[]func(*http.Request) (*http.Response, error){reply(504, unknown, ""), reply(200, `{"revision":3}`, "7")}, history.OK},
	} {
		var out bytes.Buffer
		p := &party{Spec: Spec{Epoch: Clock(), Clients: 1, Nodes: []string{"http://a", "http://b"}, Names: []string{"a", "b"}, Pace: 1}, out: json.NewEncoder(&out)}
		w := p.worker("test", 0)
		s := &script{said: tt.said}
		w.http = &http.Client{Transport: s}
		before := w.id
		got := w.put(context.Background(), "k", nil, call{tries: 3})
		if got.Kind != tt.want {
			t.Errorf("%s: %s; want %s", name, got.Kind, tt.want)
		}
		if (w.id != before) != (tt.want == history.Info) {
			t.Errorf("%s: the process went on as %d after %d", name, w.id, before)
		}
		if len(slices.Compact(s.keys)) != 1 || s.keys[0] == "" {
			t.Errorf("%s: keys %q", name, s.keys)
		}
	}
}

func TestRotaBoundsCallsToOneObject(t *testing.T) {
	p := &party{Spec: Spec{Epoch: Clock(), Clients: 1, Nodes: []string{"x"}, Names: []string{"x"}}}
	w := p.worker("test", 0)
	r := &rota{prefix: "k/", width: 3, calls: 5, every: time.Hour}
	used := map[string]int{}
	for range 500 {
		used[r.next(w)]++
	}
	for name, n := range used {
		if n > r.calls {
			t.Errorf("%s: %d calls; at most %d were asked for", name, n, r.calls)
		}
	}
}

func TestNumbersAreUnique(t *testing.T) {
	seen := map[uint64]bool{}
	procs := map[int]bool{}
	for client := range 3 {
		p := &party{Spec: Spec{Client: client, Clients: 3}}
		for range 100 {
			n, id := p.unique(), p.process()
			if n == 0 || id < 1 || seen[n] || procs[id] {
				t.Fatalf("client %d: %d and %d", client, n, id)
			}
			seen[n], procs[id] = true, true
		}
	}
}

// Whoever holds a lock notes from when to when, and who has lost it before that is noted
// notes nothing.
func TestNobodyBelievesInALostLock(t *testing.T) {
	cluster := prytanytest.NewCluster(t, 1)
	c := cluster.Client(client.Config{})
	s, err := c.NewSession(t.Context(), client.SessionConfig{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	h, err := c.Acquire(t.Context(), "a", client.Options{Session: s})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	p := &party{Spec: Spec{Epoch: Clock(), Clients: 1, Nodes: cluster.Endpoints()}, out: json.NewEncoder(&out)}
	u := &user{worker: p.worker("test", 0)}
	u.believe(h)()
	if n := strings.Count(out.String(), history.Belief); n != 2 {
		t.Errorf("one who holds a lock notes %d lines, not 2:\n%s", n, out.String())
	}
	if err := s.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if u.believe(h)(); out.Len() > 0 {
		t.Errorf("one who has lost it notes this:\n%s", out.String())
	}
}

// called is all that workloads ask for.
var called = []string{
	history.Put, history.Get, history.Delete, history.Txn, history.Open, history.KeepAlive, history.CloseS, history.Acquire,
	history.Release, history.Holder, history.AcquireAll, history.Yield, history.Proclaim, history.Transfer, history.Advance, history.ForgetFence,
	history.GetFence, history.Belief, history.ResourceRead, history.ResourceWrite, history.Watched,
}

// All workloads against a real cluster in this process, without faults: what they
// write down is a history, and nothing is wrong with it.
func TestWorkloadsAgainstACluster(t *testing.T) {
	cluster := prytanytest.NewCluster(t, 3)
	socket := filepath.Join(t.TempDir(), "resource")
	things, err := resource.Serve(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = things.Close() }()
	spec := Spec{Epoch: Clock(), Seed: rand.Uint64(), Clients: 1, Nodes: cluster.Endpoints(), TTL: 2 * time.Second, Resource: socket, Pace: 2}
	for i := range spec.Nodes {
		spec.Names = append(spec.Names, fmt.Sprintf("n%d", i+1))
	}
	for _, k := range Kinds() {
		spec.Workloads = append(spec.Workloads, k.Name)
	}
	in, commands := io.Pipe()
	said, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := Main(context.Background(), spec, in, out)
		ended <- errors.Join(err, out.Close())
	}()
	halt := sync.OnceFunc(func() { go func() { _, _ = io.WriteString(commands, Stop+"\n") }() })
	time.AfterFunc(2*time.Minute, halt) // the machine may be slow
	done := map[string]int{}
	events := []history.Event{{Seq: 1, Kind: history.Begin, Run: &history.Run{TTL: spec.TTL}}}
	for d := json.NewDecoder(said); ; {
		var e history.Event
		if err := d.Decode(&e); err != nil {
			break
		}
		events = append(events, e)
		if e.Kind == history.OK {
			done[e.F]++
		}
		if !slices.ContainsFunc(called, func(f string) bool { return done[f] == 0 }) {
			halt()
		}
		switch e.Text {
		case Stopped:
			go func() { _, _ = io.WriteString(commands, Read+" reg/0.0 #lock/0.0\n") }()
		case HasRead:
			_ = commands.Close()
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(events[1:], func(a, b history.Event) int { return int(a.At - b.At) })
	for i := range events {
		events[i].Seq = uint64(i + 1)
	}
	for _, f := range called {
		if done[f] == 0 {
			t.Errorf("no %s was done", f)
		}
	}
	v := check.Run(ops.Pair(*events[0].Run, append(events, history.Event{Seq: uint64(len(events) + 1), Kind: history.End})), nil, check.Options{})
	for _, c := range v.Checks {
		if c.Outcome == verdict.Failed {
			t.Errorf("%s: %+v", c.Name, c.Offenders)
		}
	}
}
