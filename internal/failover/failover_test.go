package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/fault"
)

func TestLongestGap(t *testing.T) {
	const from, to = 100, 200
	for _, tt := range []struct {
		name    string
		acks    []time.Duration
		gap, at time.Duration
	}{
		{"nothing at all", nil, 100, 100},
		{"nothing after the fault", []time.Duration{90, 98}, 100, 100},
		{"begins with the fault", []time.Duration{10, 95, 150, 160, 200}, 50, 100},
		{"gaps before the fault do not count", []time.Duration{10, 99, 120, 140, 160, 180, 199}, 20, 100},
		{"one that goes on after the end counts whole", []time.Duration{100, 150, 260}, 110, 150},
		{"what begins after the end does not", []time.Duration{100, 150, 200, 900}, 50, 100},
		{"the tail", []time.Duration{100, 110, 120}, 80, 120},
	} {
		if gap, at := longestGap(tt.acks, from, to); gap != tt.gap || at != tt.at {
			t.Errorf("%s: %d from %d; want %d from %d", tt.name, gap, at, tt.gap, tt.at)
		}
	}
}

func TestChanges(t *testing.T) {
	see := func(ballots ...string) (out []sight) {
		for _, b := range ballots {
			out = append(out, sight{Ballot: b})
		}
		return out
	}
	for _, tt := range []struct {
		seen   []sight
		rounds int
		want   int
	}{
		{see("3.1"), 0, 0},
		{nil, 0, 0},
		{see("3.1", "4.2"), 1, 1},
		{see("3.1", "4.2", "4.2"), 1, 1},
		{see("3.1", "5.2"), 2, 2}, // 4.x was never seen
		{see("3.1", "4.2", "5.1"), 2, 2},
	} {
		if got := changes(tt.seen, tt.rounds); got != tt.want {
			t.Errorf("changes(%v, %d) = %d; want %d", tt.seen, tt.rounds, got, tt.want)
		}
	}
}

func TestRound(t *testing.T) {
	if n, err := round("17.3"); n != 17 || err != nil {
		t.Errorf("round: %d, %v", n, err)
	}
	for _, bad := range []string{"", "x.1", "-1.2"} {
		if n, err := round(bad); err == nil {
			t.Errorf("round(%q) = %d", bad, n)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{4}, 4}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median(%v) = %v; want %v", tt.in, got, tt.want)
		}
	}
}

func gaps(name string, ms ...float64) (out []result) {
	for i, g := range ms {
		out = append(out, result{Scenario: name, Run: i + 1, GapMS: g, Changes: 1})
	}
	return out
}

func TestBars(t *testing.T) {
	b := bar{median: 200, worst: 400, changes: &[2]int{1, 1}}
	if got := b.missed("kill", gaps("kill", 150, 400, 200)); got != nil {
		t.Errorf("exactly at the bar: missed %q", got)
	}
	bad := gaps("kill", 201, 250, 401)
	bad[0].Changes, bad[1].Changes = 0, 2
	want := []string{
		"kill: median gap 250 ms; want at most 200",
		"kill: run 1: 0 changes of the leader; want 1",
		"kill: run 2: 2 changes of the leader; want 1",
		"kill: run 3: gap 401 ms; want at most 400",
	}
	if got := b.missed("kill", bad); !slices.Equal(got, want) {
		t.Errorf("missed %q; want %q", got, want)
	}
	calm := gaps("cloudflare", 5)
	calm[0].Changes, calm[0].Failed = 0, map[string]failures{"n2": {NotApplied: 1, TimedOut: 2}}
	want = []string{"cloudflare: run 1: 3 failed requests; want none"}
	if got := (bar{changes: &[2]int{0, 0}, noFailures: true}).missed("cloudflare", calm); !slices.Equal(got, want) {
		t.Errorf("missed %q; want %q", got, want)
	}
	if got := (bar{}).missed("loss", bad); got != nil {
		t.Errorf("without a bar: missed %q", got)
	}
}

func TestSummaryAndTable(t *testing.T) {
	runs := gaps("kill", 100, 300)
	runs[0].Leader, runs[1].Leader, runs[1].Changes, runs[1].SlowMS = "n1", "n2", 3, 320
	runs[0].Failed = map[string]failures{"n1": {Refused: 2}, "n2": {TimedOut: 1}}
	runs[1].Failed = map[string]failures{"n1": {Broken: 1}, "n3": {NotApplied: 4}}
	runs[1].Victims, runs[1].Unsafe = []string{"n1"}, []string{"lost"}
	got := summarize(scenario{name: "kill", what: "gone"}, runs)
	want := row{
		Scenario: "kill", What: "gone", Runs: 2, Median: 200, Worst: 300, Slowest: 320, Fewest: 1, Most: 3,
		AtVictim: failures{Refused: 2, Broken: 1}, Elsewhere: failures{TimedOut: 1, NotApplied: 4},
		Note: "UNSAFE, 1 times", violations: 1,
	}
	if got != want {
		t.Errorf("row %+v; want %+v", got, want)
	}
	r := report{
		Date: "d", Kernel: "k", CPUs: 2, Go: "go", Binary: "prytany v", Timing: "default", Load: "1, 2",
		Rows: []row{got, summarize(scenario{name: "transfer", what: "moved"}, nil)}, Missed: []string{"kill: run 2: late"},
	}
	wantText := `d; Linux k, 2 cores, go; prytany v; timing default; load average 1, 2.

| scenario | runs | gap, median | gap, worst | slowest writer | changes | failed at the leader | failed elsewhere | note |
|---|---|---|---|---|---|---|---|---|
| kill: gone | 2 | 200 ms | 300 ms | 320 ms | 1 to 3 | 1 broken, 2 refused | 1 no answer, 4 not applied | UNSAFE, 1 times |
| transfer: moved | 0 | – | – | – | – | – | – |  |

Missed:

- kill: run 2: late
`
	if text := r.markdown(); text != wantText {
		t.Errorf("table:\n%s\nwant:\n%s", text, wantText)
	}
	r.Missed = nil
	if !strings.HasSuffix(r.markdown(), "\nNo bar was missed.\n") {
		t.Error("does not say that no bar was missed")
	}
}

func TestVerdict(t *testing.T) {
	r := report{Missed: []string{"late"}}
	if r.verdict(options{}) != nil || r.verdict(options{bars: true}) == nil {
		t.Error("a missed bar must count if, and only if, bars do")
	}
	for _, r := range []report{
		{Runs: []result{{Unsafe: []string{"lost"}}}},
		{Failures: []failure{{"kill", "does not settle"}}},
	} {
		if r.verdict(options{}) == nil {
			t.Errorf("%+v: no error", r)
		}
	}
	r = report{Failures: []failure{{"transfer", errNotOffered.Error()}}}
	if err := r.verdict(options{bars: true}); err != nil {
		t.Errorf("what the binary does not offer: %v", err)
	}
}

// body is v as JSON.
func body(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriterKnowsItsOwnTries(t *testing.T) {
	current := func(n uint64) api.Problem {
		return api.Problem{Status: 412, Code: api.CodeRevisionMismatch, Applied: api.AppliedNo, CurrentRevision: &n}
	}
	for _, tt := range []struct {
		name   string
		open   bool
		status int
		reply  any
		ok     bool
		wrong  int
		failed failures
	}{
		{"acknowledged", false, 200, api.Put{Version: 5, Revision: 80}, true, 0, failures{}},
		{"one write is missing", false, 200, api.Put{Version: 4, Revision: 80}, true, 1, failures{}},
		{"one happened twice", false, 200, api.Put{Version: 6, Revision: 80}, true, 1, failures{}},
		{"an earlier try was applied", true, 412, current(75), true, 0, failures{}},
		{"there was no earlier try", false, 412, current(75), true, 1, failures{}},
		{"the newest write is gone", true, 412, current(60), true, 1, failures{}},
		{"refused", false, 503, api.Problem{Code: api.CodeNoLeader, Applied: api.AppliedNo}, false, 0, failures{NotApplied: 1}},
		{"unknown", false, 503, api.Problem{Code: api.CodeOutcomeUnknown, Applied: api.AppliedUnknown}, false, 0, failures{Unknown: 1}},
	} {
		w := &writer{key: "k", version: 4, revision: 70, open: tt.open}
		ok := w.answered(tt.status, body(t, tt.reply), 1)
		if ok != tt.ok || len(w.wrong) != tt.wrong || w.failed != tt.failed || (len(w.acks) == 1) != tt.ok {
			t.Errorf("%s: %t, wrong %q, failed %+v, acks %v", tt.name, ok, w.wrong, w.failed, w.acks)
		}
		if wantOpen := tt.failed.Unknown > 0; w.open != wantOpen {
			t.Errorf("%s: open %t; want %t", tt.name, w.open, wantOpen)
		}
	}
}

func TestFailuresAreToldApart(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want failures
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, failures{Refused: 1}},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, failures{Refused: 1}},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, failures{TimedOut: 1}},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, failures{Broken: 1}},
		{fmt.Errorf("put: %w", errors.New("EOF")), failures{Broken: 1}},
	} {
		var f failures
		if f.count(tt.err); f != tt.want {
			t.Errorf("%v: %+v; want %+v", tt.err, f, tt.want)
		}
	}
	all := failures{1, 2, 3, 4, 5}
	if got, want := all.plus(all), (failures{2, 4, 6, 8, 10}); got != want || all.sum() != 15 {
		t.Errorf("sum %d, double %+v", all.sum(), got)
	}
	if got, want := all.String(), "1 refused, 2 no answer, 3 broken, 4 not applied, 5 unknown"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	if got := (failures{}).String(); got != "0" {
		t.Errorf("none: %q", got)
	}
}

func TestWindowsLeaveTheVictimOut(t *testing.T) {
	ms := func(values ...int) (out []time.Duration) {
		for _, v := range values {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	a, b := &node{name: "a"}, &node{name: "b"}
	x := &trial{
		writers: []*writer{{node: a, acks: ms(95, 110, 120, 300, 310, 390)}, {node: b, acks: ms(98, 160, 299, 305, 395), failed: failures{Broken: 1}}},
		windows: []window{{from: ms(100)[0], to: ms(200)[0], victim: a}, {from: ms(300)[0], to: ms(400)[0]}},
	}
	x.judge(&watcher{}, standing{})
	// The first gap is b's alone, from 160 on; the second is of both.
	if want := []float64{139, 80}; !reflect.DeepEqual(x.res.StepsMS, want) || x.res.GapMS != 139 || x.res.GapAtMS != 60 {
		t.Errorf("steps %v, gap %v from %v; want %v, 139 from 60", x.res.StepsMS, x.res.GapMS, x.res.GapAtMS, want)
	}
	if x.res.SlowMS != 139 || x.res.Acks != 11 || !reflect.DeepEqual(x.res.Failed, map[string]failures{"b": {Broken: 1}}) {
		t.Errorf("%+v", x.res)
	}
}

func TestFlags(t *testing.T) {
	o, err := parse([]string{"-only", "kill,load", "-runs", "3"})
	if err != nil || !slices.Equal(o.wanted(), []string{"kill", "load"}) || o.runs != 3 || !o.bars {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = parse(nil); err != nil || !slices.Equal(o.wanted(), names()) {
		t.Errorf("without flags: %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-only", "kil"}, {"-runs", "0"}, {"kill"}} {
		if o, err := parse(bad); err == nil {
			t.Errorf("%q is taken: %+v", bad, o)
		}
	}
}

func TestNothingOfOthersIsSwept(t *testing.T) {
	t.Setenv(dirVariable, "/tmp/other-1")
	if dir, err := dirOf(options{inside: "prytany-fo-1"}); err == nil {
		t.Errorf("took %s", dir)
	}
	t.Setenv(dirVariable, "/tmp/prytany-fo-1-2345")
	if dir, err := dirOf(options{inside: "prytany-fo-1"}); err != nil || dir != "/tmp/prytany-fo-1-2345" {
		t.Errorf("%s, %v", dir, err)
	}
	if found, err := fault.MountsUnder(""); found != nil || err != nil {
		t.Errorf("of no directory: %v, %v", found, err)
	}
}
