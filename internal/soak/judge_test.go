package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// good is what a soak of an hour finds of a cluster that is well: tables that fill up, a
// log that is cut now and then, a heap that goes up and down with both.
func good() facts {
	dice := rand.New(rand.NewPCG(1, 2))
	f := facts{nodes: 3, worked: time.Hour, warm: 5 * time.Minute, drain: 13 * time.Minute, load: workResult{
		kinds: map[string]tally{"session": {Done: 10}, "watch": {Done: 10}}, sent: 60 << 20, keys: 72,
	}}
	for _, op := range operations {
		f.load.kinds[op.name] = tally{Done: 100, Refused: 1, Unknown: 1}
	}
	f.faults = []struck{{Name: "the leader killed and restarted", Node: "n1", Allowed: 1}, {Name: "a follower stopped for a second", Node: "n2"}}
	at := func(t time.Duration, node int, busy bool) sample {
		s := sample{At: t, Node: fmt.Sprintf("n%d", node), Age: t, Goroutines: 50, Files: 25, Segments: 3, Collected: t.Seconds(), Tables: map[string]float64{}}
		for _, name := range tables {
			s.Tables[name] = 0
		}
		if node == 2 && t > 20*time.Minute { // it was restarted
			s.Life, s.Age = 1, t-20*time.Minute
		}
		if node == 1 {
			s.Led = 1 // before it all began
		}
		if node == 3 && t > 10*time.Minute {
			s.Led = 1
		}
		decided := 30 * t.Seconds()
		s.Slots = 10_000 + math.Mod(decided, 10_000)
		s.First = max(decided-s.Slots, 1)
		s.Changes = min(decided, 10_000)
		answers := min(t.Seconds(), 600) * 5
		s.State, s.Entries, s.Dir = 200_000, 70, 64<<20
		s.Heap = 8<<20 + 700*s.Slots + 500*s.Changes + 300*answers + 200_000*dice.NormFloat64()
		s.Resident = 2*s.Heap + 20<<20
		if busy {
			s.Goroutines, s.Files = 150, 60
			s.Tables["sessions"], s.Tables[callersAnswers] = 50, answers
		}
		return s
	}
	for node := range f.nodes {
		f.before = append(f.before, at(0, node+1, false))
	}
	for t := 10 * time.Second; t < f.worked; t += 10 * time.Second {
		for node := range f.nodes {
			f.samples = append(f.samples, at(t, node+1, true))
		}
	}
	for node := range f.nodes {
		f.after = append(f.after, at(f.worked+11*time.Minute, node+1, false))
	}
	f.samples = append(f.samples, f.after...)
	return f
}

// noes are what was judged NO.
func noes(vs []verdict) (out []string) {
	for _, v := range vs {
		if v.Bound != "" && !v.OK {
			out = append(out, v.What)
		}
	}
	return out
}

func TestGoodSoakPasses(t *testing.T) {
	vs := judge(good())
	if failed(vs) {
		t.Errorf("a cluster that is well is judged\n%s", table(vs))
	}
	for _, v := range vs {
		if strings.Contains(v.Figure, "cannot be told") {
			t.Errorf("%s: %s", v.What, v.Figure)
		}
	}
}

// leaks are what may go wrong, and the line that has to say so.
var leaks = map[string]struct {
	leak func(*facts)
	line string
}{
	"goroutines of one node":       {func(f *facts) { f.after[1].Goroutines = 57 }, "goroutines after"},
	"an open file for each client": {func(f *facts) { f.after[2].Files = 28 }, "open files"},
	"heap, 5 % an hour of one node": {func(f *facts) {
		grow(f, func(s *sample, hours float64) { s.Heap += hours * 0.05 * (30 << 20) })
	}, "live heap"},
	"resident memory beside the heap": {func(f *facts) {
		grow(f, func(s *sample, hours float64) { s.Resident += hours * 0.1 * (70 << 20) })
	}, "resident memory"},
	"heap that a restarted node keeps": {func(f *facts) { f.after[1].Heap += 28 << 20 }, "MiB of live heap"},
	"a session":                        {func(f *facts) { f.after[0].Tables["sessions"] = 1 }, "rows in 12 tables"},
	"answers":                          {func(f *facts) { f.after[0].Tables[callersAnswers] = 7 }, "rows in 12 tables"},
	"a stream":                         {func(f *facts) { f.after[2].Tables["streams"] = 1 }, "rows in 12 tables"},
	"events":                           {func(f *facts) { f.after[0].Changes = 10_001 }, "revisions whose"},
	"ephemeral entries":                {func(f *facts) { f.after[0].Entries = 73 }, "entries"},
	"the disk": {func(f *facts) {
		grow(f, func(s *sample, hours float64) { s.Dir += hours * (1 << 30) })
	}, "data directory"},
	"an election nobody asked for": {func(f *facts) {
		for i := range f.samples {
			if s := &f.samples[i]; s.Node == "n2" && s.At > 30*time.Minute {
				s.Led = 1
			}
		}
	}, "changes of the leader"},
	"a write":       {func(f *facts) { f.load.wrong = map[string][]string{lostWrites: {"k"}} }, "an acknowledged write"},
	"a fence":       {func(f *facts) { f.load.wrong = map[string][]string{badFences: {"k"}} }, "a fence"},
	"a lease":       {func(f *facts) { f.load.wrong = map[string][]string{badLeases: {"k"}} }, "a session ends"},
	"an event":      {func(f *facts) { f.load.wrong = map[string][]string{badWatches: {"k"}} }, "a watch"},
	"the clients":   {func(f *facts) { f.load.kinds["lock"] = tally{Refused: 9} }, "clients work"},
	"a kind of it":  {func(f *facts) { delete(f.load.kinds, "wait") }, "clients work"},
	"a node's word": {func(f *facts) { f.after[1].Error = "connection refused" }, "nodes tell"},
	"a node":        {func(f *facts) { f.after = f.after[:2] }, "nodes tell"},
}

// grow has node n1 grow.
func grow(f *facts, more func(*sample, float64)) {
	for i := range f.samples {
		if s := &f.samples[i]; s.Node == "n1" {
			more(s, s.At.Hours())
		}
	}
}

func TestLeaksAreNoticed(t *testing.T) {
	for name, l := range leaks { //lint:ordered each by itself
		f := good()
		l.leak(&f)
		vs := judge(f)
		if got := noes(vs); len(got) != 1 || !strings.HasPrefix(got[0], l.line) {
			t.Errorf("%s: NO is said of %q; want of %q\n%s", name, got, l.line, table(vs))
		}
	}
}

// A run too short to see a slope, or to wait for answers, says so.
func TestShortRunsSayWhatTheyCannotTell(t *testing.T) {
	f := good()
	f.samples = slices.DeleteFunc(f.samples, func(s sample) bool { return s.At > 6*time.Minute && s.At < f.worked })
	f.drain, f.skipped = time.Minute, []string{callersAnswers}
	f.after[0].Tables[callersAnswers] = 7
	vs := judge(f)
	text := table(vs)
	if failed(vs) || strings.Count(text, "cannot be told") != 2 || !strings.Contains(text, "NOT waited for: "+callersAnswers) {
		t.Errorf("%s", text)
	}
}

func TestFit(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	made := func(n int, value func(i int) (float64, []float64)) (out []point) {
		for i := range n {
			v, rows := value(i)
			out = append(out, point{at: float64(i) / 100, value: v, rows: rows})
		}
		return out
	}
	for _, tt := range []struct {
		name   string
		points []point
		slope  float64
		within float64 // of it
		told   bool
	}{
		{"a line", made(50, func(i int) (float64, []float64) { return 7 + 3*float64(i)/100, nil }), 3, 1e-9, true},
		{"a line beside a table that does not change", made(50, func(i int) (float64, []float64) { return 3 * float64(i) / 100, []float64{9} }), 3, 1e-9, true},
		{"a table alone", made(50, func(i int) (float64, []float64) { return float64(4 * (i % 7)), []float64{float64(i % 7)} }), 0, 1e-9, true},
		{"a table that is there twice", made(50, func(i int) (float64, []float64) {
			return float64(4*(i%7)) + float64(i), []float64{float64(i % 7), float64(2 * (i % 7))}
		}), 100, 1e-9, true},
		{"noise", made(500, func(int) (float64, []float64) { return dice.NormFloat64(), nil }), 0, 0.2, true},
		{"what a table explains as well as time", made(50, func(i int) (float64, []float64) { return float64(i), []float64{float64(i)} }), 0, 0, false},
		{"too few", made(fewest-1, func(i int) (float64, []float64) { return float64(i), nil }), 0, 0, false},
	} {
		got, ok := fit(tt.points)
		if ok != tt.told || ok && math.Abs(got.slope-tt.slope) > tt.within {
			t.Errorf("%s: %+v, %t; want a slope of %v", tt.name, got, ok, tt.slope)
		}
		if ok && math.Abs(got.slope-tt.slope) > 4*got.error+1e-6 {
			t.Errorf("%s: %+v is farther from %v than its error says", tt.name, got, tt.slope)
		}
	}
}

// Neighbours that are alike tell less than as many that are not.
func TestFitOfSlowNoise(t *testing.T) {
	dice := rand.New(rand.NewPCG(5, 6))
	beyond := 0
	for range 200 {
		var points []point
		v := 0.0
		for i := range 200 {
			v = 0.8*v + dice.NormFloat64()
			points = append(points, point{at: float64(i) / 100, value: 1000 + v})
		}
		if got, ok := fit(points); !ok || math.Abs(got.slope) > sure*got.error {
			beyond++
		}
	}
	if beyond > 6 { // with independent neighbours, of which this error would be, one in 370
		t.Errorf("%d of 200 slopes of nothing are said to be something", beyond)
	}
}

func TestFences(t *testing.T) {
	k := &lock{name: "l", seen: map[uint64]bool{}}
	for _, tt := range []struct {
		fence, floor uint64
		ok           bool
	}{{5, 0, true}, {9, 5, true}, {7, 5, true}, {9, 5, false}, {8, 9, false}, {10, 9, true}} {
		if why := k.granted(tt.fence, tt.floor); (why == "") != tt.ok {
			t.Errorf("fence %d asked for after %d: %q", tt.fence, tt.floor, why)
		}
	}
	if k.highest() != 10 {
		t.Errorf("the highest is %d", k.highest())
	}
}

func TestScrape(t *testing.T) {
	text := "# HELP go_goroutines Number\ngo_goroutines 50\nprocess_resident_memory_bytes 5e+07\ngo_gc_heap_live_bytes 1e6\ngo_memstats_last_gc_time_seconds 1.5\n" +
		`prytany_state_bytes{group="main"} 9` + "\n" + `prytany_kept_changes{group="main"} 8` + "\n" + `prytany_config_entries{group="main"} 7` + "\n" +
		`prytany_fence_registers{group="main"} 6` + "\n" + `prytany_leaderships_total{group="main"} 2` + "\n" + `prytany_sessions{group="other"} 99` + "\n"
	for name := range tables { //lint:ordered any order will do
		text += name + " 3\n"
	}
	var s sample
	if err := s.read([]byte(text)); err != nil || s.Goroutines != 50 || s.Resident != 5e7 || s.Led != 2 || s.Fences != 6 || s.Tables["sessions"] != 3 || len(s.Tables) != len(tables) {
		t.Errorf("%+v, %v", s, err)
	}
	for name := range tables { //lint:ordered each by itself
		if err := s.read([]byte(strings.Replace(text, name, "renamed", 1))); err == nil {
			t.Errorf("a scrape without %s is taken for one in which it is empty", name)
		}
	}
}

func TestJudgeOverload(t *testing.T) {
	well := func() overloaded {
		return overloaded{capacity: 1000, factor: 10, took: 20 * time.Second, sent: 20_000, before: "1.1", after: "1.1", renewed: 300, late: time.Second,
			statuses: map[int][]time.Duration{http.StatusOK: {time.Second}, http.StatusServiceUnavailable: {3 * time.Millisecond, 9 * time.Second, 2 * time.Millisecond}}}
	}
	for name, tt := range map[string]struct { //lint:ordered each by itself
		spoil func(*overloaded)
		want  []string
	}{
		"well":      {func(*overloaded) {}, nil},
		"deposed":   {func(r *overloaded) { r.after = "2.3" }, []string{"… the leader stays"}},
		"expired":   {func(r *overloaded) { r.expired = 1 }, []string{"… held keepalives"}},
		"late":      {func(r *overloaded) { r.late = 11 * time.Second }, []string{"… held keepalives"}},
		"none kept": {func(r *overloaded) { r.renewed = 0 }, []string{"… held keepalives"}},
		"silent":    {func(r *overloaded) { r.noRetryAfter = 1 }, []string{"… and say when to come again"}},
		"slow": {func(r *overloaded) {
			r.statuses[429] = []time.Duration{9 * time.Second, 9 * time.Second, 9 * time.Second}
		}, []string{"… refusals come fast"}},
		"no refusal": {func(r *overloaded) { delete(r.statuses, 503) }, nil},
	} {
		r := well()
		tt.spoil(&r)
		if got := noes(judgeOverload(r)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: NO is said of %q; want of %q", name, got, tt.want)
		}
	}
}

func TestJudgeSlow(t *testing.T) {
	well := func() slowed {
		m := measured{p50: time.Millisecond, p99: 10 * time.Millisecond, done: 100}
		return slowed{n: 1000, without: []measured{m}, with: []measured{m}, longest: [3]time.Duration{10 * time.Second, 31 * time.Second, 60 * time.Second}}
	}
	for name, tt := range map[string]struct { //lint:ordered each by itself
		spoil func(*slowed)
		want  []string
	}{
		"well":       {func(*slowed) {}, nil},
		"never":      {func(r *slowed) { r.longest[2] = -1 }, []string{"… slow answers are cut off"}},
		"late":       {func(r *slowed) { r.longest[0] = 21 * time.Second }, []string{"… slow heads are cut off"}},
		"some stand": {func(r *slowed) { r.left = 2 }, []string{"… of the last ones are left"}},
	} {
		r := well()
		tt.spoil(&r)
		if got := noes(judgeSlow(r)); !slices.Equal(got, tt.want) {
			t.Errorf("%s: NO is said of %q; want of %q", name, got, tt.want)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, args := range []string{"-parts soak,else", "-nodes 1", "-rate 0", "-slow 2", "-for 1ms", "more", "-round 0s", "-clients 0", "-factor 0.5"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
	if o, err := parse([]string{"-nodes", "3", "-parts", "slow"}); err != nil || o.nodes != 3 || len(o.parts) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
}
