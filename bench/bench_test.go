package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prytany/prytany/bench/peer"
)

// store stands in for a cluster; it may do something wrong.
type store struct {
	mu      sync.Mutex
	values  map[string]string
	writes  map[string]int64
	fence   uint64
	forgets bool
	stale   bool
}

func newStore() *store { return &store{values: map[string]string{}, writes: map[string]int64{}} }

func (s *store) Put(_ context.Context, _ int, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgets && s.writes[key] == 5 {
		s.forgets = false
		return nil
	}
	s.values[key] = string(value)
	s.writes[key]++
	return nil
}

func (s *store) Get(_ context.Context, _ int, key string) ([]byte, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []byte(s.values[key]), s.writes[key], nil
}

func (s *store) Fill(ctx context.Context, worker int, keys []string, value []byte) error {
	if len(keys) > peer.MaxFill || len(keys)*len(value) > 256<<10 {
		return errors.New("a large transaction")
	}
	for _, key := range keys {
		if err := s.Put(ctx, worker, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *store) Open(context.Context, int, time.Duration) (peer.Session, error) { return s, nil }
func (s *store) Close()                                                         {}
func (s *store) Alive() bool                                                    { return true }
func (s *store) End(context.Context) error                                      { return nil }

func (s *store) Cycle(context.Context, string) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fence++; s.stale && s.fence > 10 {
		s.fence = 10
	}
	return s.fence, nil
}

// Keys that are to be there are there, each once, whatever their number and size.
func TestFill(t *testing.T) {
	for _, tt := range []struct{ n, size int }{{1, 64}, {1000, 64}, {1025, 4096}, {9, 1 << 18}} {
		s := newStore()
		if err := fill(t.Context(), s, tt.n, tt.size); err != nil {
			t.Error(err)
		}
		if len(s.writes) != tt.n {
			t.Errorf("%d keys of %d bytes: %d are there", tt.n, tt.size, len(s.writes))
		}
		for key, n := range s.writes {
			if n != 1 || len(s.values[key]) != tt.size {
				t.Errorf("%s was written %d times, %d bytes", key, n, len(s.values[key]))
			}
		}
	}
}

// What a server does wrong ends the run.
func TestWrongAnswersAreFound(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
		s          *store
		good       bool
	}{
		{"puts", "put", newStore(), true},
		{"gets", "get", newStore(), true},
		{"locks", "lock", newStore(), true},
		{"a put is forgotten", "put", &store{values: map[string]string{}, writes: map[string]int64{}, forgets: true}, false},
		{"a fence comes again", "lock", &store{stale: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, err := newWork(t.Context(), tt.s, tt.kind, "k/", 1, 100)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for ; n < 20 && err == nil; n++ {
				_, err = w.do(t.Context(), 0, n)
			}
			checked, late := w.verify(t.Context())
			if err = errors.Join(err, late); (err == nil) != tt.good || err != nil && !errors.Is(err, errWrong) {
				t.Fatalf("%v", err)
			}
			if tt.good && tt.kind != "get" && checked < 20 {
				t.Errorf("%d of 20 operations were checked", checked)
			}
		})
	}
	t.Run("another value", func(t *testing.T) {
		s := newStore()
		w, err := newWork(t.Context(), s, "get", "k/", 1, 100)
		if err != nil {
			t.Fatal(err)
		}
		s.values["k/0"] = "other"
		if _, err := w.do(t.Context(), 0, 0); !errors.Is(err, errWrong) {
			t.Errorf("%v", err)
		}
	})
}

func TestRows(t *testing.T) {
	r := &results{}
	for round, rates := range [][2]float64{{400, 100}, {600, 100}, {100, 100}} {
		for i, name := range []string{"a", "b"} {
			r.Samples = append(r.Samples, sample{System: name, Cell: cell{"put", 64}, Round: round + 1, Rate: rates[i], P99: float64(1 + i)})
		}
	}
	r.Figures = []figure{{"from the start to x", "ms", "a", 1, 1500}, {"from the start to x", "ms", "b", 1, 3000}}
	rows := r.rows([]string{"a", "b"})
	text := table([]string{"a", "b"}, rows)
	for _, want := range []string{
		"| what | a | b | a/b (of single rounds) | bar |\n|---|---|---|---|---|\n",
		"| put, 64 clients: rate | 400 /s | 100 /s | 4.00 (1.00 to 6.00) | ≥ 4: yes |\n",
		"| put, 64 clients: latency, 99 % | 1.00 ms | 2.00 ms | 0.50 | ≤ 0.5: yes |\n",
		"| put, 64 clients: server CPU per operation | 0 µs | 0 µs | | ≤ 0.3 |\n",
		"| from the start to x | 1500 ms | 3000 ms | 0.50 | ≤ 2000 ms: yes |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %q in\n%s", want, text)
		}
	}
}

func TestOutage(t *testing.T) {
	at := func(ms ...int) (out []time.Time) {
		for _, m := range ms {
			out = append(out, time.UnixMilli(int64(m)))
		}
		return out
	}
	// What came before the leader was killed does not count; a gap that it is in does.
	got, err := outage(at(0, 500, 510, 900, 910, 520, 1000), time.UnixMilli(515))
	if want := 380 * time.Millisecond; err != nil || got != want {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if _, err := outage(at(0, 500), time.UnixMilli(515)); err == nil {
		t.Error("no error, though nothing came after")
	}
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(path, []byte("a\n"+beginMark+"old\n"+endMark+"\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if want := "a\n" + beginMark + "new\n" + endMark + "\nb\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := replace(path, "new\n"); err == nil {
		t.Error("no error without marks")
	}
}

func TestMedian(t *testing.T) {
	for want, xs := range map[float64][]float64{0: nil, 3: {3}, 2: {3, 1}, 5: {9, 1, 5}} {
		if got := median(slices.Clone(xs)); got != want {
			t.Errorf("%v: %v, want %v", xs, got, want)
		}
	}
}

// TestPeers runs each system for a moment, from real binaries.
func TestPeers(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs servers")
	}
	b := &bench{dir: t.TempDir(), systems: "prytany,prytany-bolt,etcd", at: "all", conns: 1, rounds: 1, warmup: 50 * time.Millisecond, duration: 200 * time.Millisecond, size: 256, nodes: 3, keys: 300}
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	cells := []cell{{"put", 4}, {"get", 4}, {"lock", 4}}
	if err := b.cells(t.Context(), cells); err != nil {
		t.Fatal(err)
	}
	for _, s := range b.out.Samples {
		if s.Done == 0 || s.Failed != 0 || s.Rate == 0 || s.P50 == 0 || s.Resident == 0 || s.Mallocs == 0 || s.Cell.Kind != "get" && s.Syncs == 0 {
			t.Errorf("%+v", s)
		}
	}
	if want := len(cells) * 3; len(b.out.Samples) != want {
		t.Errorf("%d samples, want %d", len(b.out.Samples), want)
	}
}
