package bench

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/load"
)

// A report is what -o json prints.
type report struct {
	Bench      string   `json:"bench"`
	Clients    int      `json:"clients"`
	Addresses  int      `json:"addresses"`
	TargetRate float64  `json:"target_rate"` // 0: closed loop
	ValueSize  int      `json:"value_size,omitempty"`
	WarmupMS   int64    `json:"warmup_ms"`
	ElapsedMS  int64    `json:"elapsed_ms"`
	Operations []kind   `json:"operations"`
	Late       int64    `json:"late"`     // due within the time and never sent
	Verified   int64    `json:"verified"` // acknowledged operations, of the warm-up too, that were found to have happened
	Wrong      []string `json:"wrong"`    // what no correct cluster does
}

// A kind is what a report says of one kind of operation.
type kind struct {
	Name    string  `json:"name"`
	Done    int64   `json:"done"`
	Failed  int64   `json:"failed"`
	Unclear int64   `json:"outcome_unknown"` // among the failed
	Error   string  `json:"first_error,omitempty"`
	Rate    float64 `json:"rate"`
	Latency spread  `json:"latency_ms"` // from when an operation was due
	Service spread  `json:"service_ms"` // from when it was sent
}

// A spread is what a histogram says, in milliseconds.
type spread struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	P9s  float64 `json:"p99_99"`
	Max  float64 `json:"max"`
}

func spreadOf(k load.Kind, service bool) spread {
	h := k.Latency
	if service {
		h = k.Service
	}
	if h.TotalCount() == 0 {
		return spread{}
	}
	ms := func(percent float64) float64 {
		return float64(load.Quantile(h, percent)) / float64(time.Millisecond)
	}
	return spread{Mean: h.Mean() / 1000, P50: ms(50), P90: ms(90), P99: ms(99), P999: ms(99.9), P9s: ms(99.99), Max: ms(100)}
}

// report is what came of a run.
func (b *base) report(name string, res load.Result) report {
	r := report{
		Bench: name, Clients: b.settings.clients, Addresses: len(b.clients), TargetRate: b.rate, ValueSize: b.size,
		WarmupMS: b.warmup.Milliseconds(), ElapsedMS: res.Elapsed.Milliseconds(), Late: res.Late, Operations: []kind{}, Wrong: []string{},
	}
	for _, k := range res.Kinds {
		if k.Done == 0 && k.Failed == 0 {
			continue
		}
		out := kind{
			Name: k.Name, Done: k.Done, Failed: k.Failed, Unclear: k.Unclear, Rate: res.Rate(k),
			Latency: spreadOf(k, false), Service: spreadOf(k, true),
		}
		if k.First != nil {
			out.Error = k.First.Error()
		}
		r.Operations = append(r.Operations, out)
	}
	return r
}

// show prints a report.
func show(a *cli.App, r report) error {
	if a.JSON() {
		return a.PrintJSON(r)
	}
	head := []string{"OPERATION", "DONE", "FAILED", "RATE", "P50", "P90", "P99", "P99.9", "MAX"}
	if a.Output == "wide" {
		head = append(head, "MEAN", "P99.99", "SENT P50", "SENT P99", "SENT MAX")
	}
	t := cli.NewTable(head...)
	for _, k := range r.Operations {
		row := []string{
			k.Name, fmt.Sprint(k.Done), fmt.Sprint(k.Failed), rateText(k.Rate),
			msText(k.Latency.P50), msText(k.Latency.P90), msText(k.Latency.P99), msText(k.Latency.P999), msText(k.Latency.Max),
		}
		if a.Output == "wide" {
			row = append(row, msText(k.Latency.Mean), msText(k.Latency.P9s), msText(k.Service.P50), msText(k.Service.P99), msText(k.Service.Max))
		}
		t.Add(row...)
	}
	if err := a.Print(t); err != nil || a.Output == "name" {
		return err
	}
	for _, k := range r.Operations {
		if k.Failed > 0 {
			a.Say("prytany: %d of %d %s operations failed, of %d nobody knows whether they happened; the first: %s", k.Failed, k.Failed+k.Done, k.Name, k.Unclear, k.Error)
		}
	}
	if r.Late > 0 {
		a.Say("prytany: %d operations were due and never sent: all %d clients were busy. Latencies are those of a cluster that cannot keep up", r.Late, r.Clients)
	}
	return nil
}

// verdict is the error of a run whose answers were wrong, or that had none.
func (r report) verdict(res load.Result) error {
	if n := len(r.Wrong); n > 0 {
		return cli.Failure(cli.CodeError, "the cluster gave %d wrong %s; the first: %s", n, cli.Plural(n, "answer"), r.Wrong[0]).
			Try("the same with -o json, and report it: this must not happen")
	}
	for _, k := range res.Kinds {
		if k.Done == 0 && k.First != nil {
			return k.First
		}
	}
	return nil
}

func rateText(r float64) string { return fmt.Sprintf("%.0f/s", r) }

// msText is a time in milliseconds with three digits: 1.24ms, 103ms, 2.35s.
func msText(ms float64) string {
	unit := "ms"
	if ms >= 1000 {
		ms, unit = ms/1000, "s"
	}
	digits := 0
	switch {
	case ms < 10:
		digits = 2
	case ms < 100:
		digits = 1
	}
	return strconv.FormatFloat(ms, 'f', digits, 64) + unit
}

// A line shows progress on stderr: one line that changes, if a person looks.
type line struct {
	w        io.Writer
	terminal bool
	shown    bool
	lines    int
}

// quietFor is how many reports there are for each line in a log.
const quietFor = 10

func newLine(a *cli.App) *line {
	f, ok := a.Stderr.(*os.File)
	return &line{w: a.Stderr, terminal: ok && cli.IsTerminal(f)}
}

// show tells of p.
func (l *line) show(s *settings, p load.Progress) {
	text := fmt.Sprintf("warming up: %s of %s", p.Elapsed.Round(time.Second), s.warmup)
	if p.Warm {
		text = fmt.Sprintf("%s of %s: %.0f/s, 50 %% %s, 99 %% %s, %d failed", p.Elapsed.Round(time.Second), s.duration, p.Rate, p.P50, p.P99, p.Failed)
	}
	switch {
	case l.terminal:
		_, _ = fmt.Fprintf(l.w, "\r\x1b[K%s", text)
		l.shown = true
	default:
		if l.lines++; l.lines%quietFor == 0 {
			_, _ = fmt.Fprintln(l.w, text)
		}
	}
}

// end removes the line.
func (l *line) end() {
	if l.shown {
		_, _ = fmt.Fprint(l.w, "\r\x1b[K")
	}
}
