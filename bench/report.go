package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// results is everything that was measured, as -json writes it.
type results struct {
	Cores    int       `json:"cores"`
	Go       string    `json:"go"`
	Began    time.Time `json:"began"`
	Settings []string  `json:"settings"`
	Samples  []sample  `json:"samples"`
	Figures  []figure  `json:"figures"`
	Rows     []row     `json:"rows"`
}

func (r *results) machine() {
	r.Cores, r.Go, r.Began, r.Settings = runtime.NumCPU(), runtime.Version(), time.Now().UTC(), os.Args[1:]
}

// A row is one line of the table.
type row struct {
	What   string    `json:"what"`
	Values []float64 `json:"values"`           // medians, of each system
	Ratios []float64 `json:"ratios,omitempty"` // medians of the rounds, of each system but the last to the last
	Lowest []float64 `json:"lowest,omitempty"` // ratios of single rounds
	Most   []float64 `json:"most,omitempty"`
	Bar    string    `json:"bar,omitempty"`
	Met    []bool    `json:"met,omitempty"`
	unit   string
}

// A measure is one column of a sample.
type measure struct {
	name, unit string
	of         func(sample) float64
}

var measures = []measure{
	{"rate", "/s", func(s sample) float64 { return s.Rate }},
	{"latency, 50 %", "ms", func(s sample) float64 { return s.P50 }},
	{"latency, 99 %", "ms", func(s sample) float64 { return s.P99 }},
	{"server CPU per operation", "µs", func(s sample) float64 { return s.CPU }},
	{"client CPU per operation", "µs", func(s sample) float64 { return s.Client }},
	{"allocations of the servers per operation", "", func(s sample) float64 { return s.Mallocs }},
	{"durable writes of the servers per operation", "", func(s sample) float64 { return s.Syncs }},
}

// A bar is what a ratio to etcd has to be.
type bar struct {
	least bool // at least limit, otherwise at most
	limit float64
}

func (b bar) String() string {
	if b.least {
		return fmt.Sprintf("≥ %g", b.limit)
	}
	return fmt.Sprintf("≤ %g", b.limit)
}

func (b bar) met(ratio float64) bool {
	return b.least && ratio >= b.limit || !b.least && ratio <= b.limit
}

// barOf is what the project wants of a measure in a cell.
func barOf(c cell, m string) (bar, bool) {
	many := c.Clients == 64 || c.Clients == 256
	changes := c.Kind == "put" || c.Kind == "lock"
	switch {
	case m == "rate" && many && changes:
		return bar{true, 4}, true
	case m == "rate" && c.Kind == "get":
		return bar{true, 3}, true
	case m == "latency, 50 %" && c.Clients == 1 && changes:
		return bar{false, 0.5}, true
	case m == "latency, 99 %" && c.Clients == 64:
		return bar{false, 0.5}, true
	case m == "server CPU per operation" && c.Kind == "put":
		return bar{false, 0.3}, true
	}
	return bar{}, false
}

// barOfFigure is what the project wants of a figure.
func barOfFigure(what string) (b bar, absolute, ok bool) {
	switch {
	case strings.HasPrefix(what, "from the start"):
		return bar{false, 2000}, true, true
	case strings.HasPrefix(what, "resident memory of a node, ") && !strings.Contains(what, "idle"):
		return bar{false, 0.5}, false, true
	}
	return b, false, false
}

// rows makes the table of everything that was measured.
func (r *results) rows(systems []string) (out []row) {
	var cells []cell
	for _, s := range r.Samples {
		if !slices.Contains(cells, s.Cell) {
			cells = append(cells, s.Cell)
		}
	}
	for _, c := range cells {
		for _, m := range measures {
			values := map[string]map[int]float64{}
			for _, s := range r.Samples {
				if s.Cell == c {
					add(values, s.System, s.Round, m.of(s))
				}
			}
			x := newRow(fmt.Sprintf("%s, %d %s: %s", kindText(c.Kind), c.Clients, plural(c.Clients, "client"), m.name), m.unit, systems, values)
			if b, ok := barOf(c, m.name); ok {
				x.judge(b, x.Ratios)
			}
			out = append(out, x)
		}
	}
	var whats []string
	for _, f := range r.Figures {
		if !slices.Contains(whats, f.What) {
			whats = append(whats, f.What)
		}
	}
	for _, what := range whats {
		values, unit := map[string]map[int]float64{}, ""
		for _, f := range r.Figures {
			if f.What == what {
				add(values, f.System, f.Round, f.Value)
				unit = f.Unit
			}
		}
		x := newRow(what, unit, systems, values)
		if b, absolute, ok := barOfFigure(what); ok && absolute {
			x.judge(b, x.Values[:len(x.Values)-1])
			x.Bar += " " + unit
		} else if ok {
			x.judge(b, x.Ratios)
		}
		out = append(out, x)
	}
	return out
}

func kindText(kind string) string {
	return map[string]string{"put": "put", "get": "linearizable get", "lock": "lock and unlock"}[kind]
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func add(values map[string]map[int]float64, system string, round int, v float64) {
	if values[system] == nil {
		values[system] = map[int]float64{}
	}
	values[system][round] = v
}

// newRow takes the median of each system's rounds, and of the ratios of rounds.
func newRow(what, unit string, systems []string, values map[string]map[int]float64) row {
	x := row{What: what, unit: unit}
	last := values[systems[len(systems)-1]]
	for i, name := range systems {
		var all, ratios []float64
		for round, v := range values[name] {
			all = append(all, v)
			if base := last[round]; base != 0 {
				ratios = append(ratios, v/base)
			}
		}
		x.Values = append(x.Values, median(all))
		if i < len(systems)-1 && len(ratios) > 0 {
			x.Ratios = append(x.Ratios, median(ratios))
			x.Lowest, x.Most = append(x.Lowest, slices.Min(ratios)), append(x.Most, slices.Max(ratios))
		}
	}
	return x
}

func (x *row) judge(b bar, values []float64) {
	x.Bar = b.String()
	for _, v := range values {
		x.Met = append(x.Met, b.met(v))
	}
}

// publish prints the table and writes the files that were asked for.
func (b *bench) publish() error {
	systems := split(b.systems)
	b.out.Rows = b.out.rows(systems)
	text := table(systems, b.out.Rows)
	fmt.Print(text)
	if b.jsonPath != "" {
		body, err := json.MarshalIndent(b.out, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(b.jsonPath, append(body, '\n'), 0o644); err != nil {
			return err
		}
	}
	if b.docPath != "" {
		return replace(b.docPath, fmt.Sprintf("%d cores, %s, rounds of %s after %s, %d of each, in turn; values of %d bytes; %d nodes each, %d keys there before; clients talk to %s.\n\n%s",
			b.out.Cores, b.out.Go, b.duration, b.warmup, b.rounds, b.size, b.nodes, b.keys, map[string]string{"all": "all nodes", "leader": "the leader"}[b.at], text))
	}
	return nil
}

// table is the rows as Markdown.
func table(systems []string, rows []row) string {
	var t strings.Builder
	t.WriteString("| what |")
	for _, s := range systems {
		fmt.Fprintf(&t, " %s |", s)
	}
	for _, s := range systems[:len(systems)-1] {
		fmt.Fprintf(&t, " %s/%s (of single rounds) |", s, systems[len(systems)-1])
	}
	t.WriteString(" bar |\n|" + strings.Repeat("---|", 2*len(systems)+1) + "\n")
	for _, x := range rows {
		fmt.Fprintf(&t, "| %s |", x.What)
		for _, v := range x.Values {
			fmt.Fprintf(&t, " %s |", strings.TrimSpace(number(v)+" "+x.unit))
		}
		for i := range systems[:len(systems)-1] {
			switch {
			case i >= len(x.Ratios):
				t.WriteString(" |")
			case x.Lowest[i] == x.Most[i]:
				fmt.Fprintf(&t, " %.2f |", x.Ratios[i])
			default:
				fmt.Fprintf(&t, " %.2f (%.2f to %.2f) |", x.Ratios[i], x.Lowest[i], x.Most[i])
			}
		}
		var met []string
		for _, ok := range x.Met {
			met = append(met, map[bool]string{true: "yes", false: "NO"}[ok])
		}
		if x.Bar != "" {
			fmt.Fprintf(&t, " %s", strings.TrimSuffix(x.Bar+": "+strings.Join(met, ", "), ": "))
		}
		t.WriteString(" |\n")
	}
	return t.String()
}

// number has three digits that count.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return fmt.Sprintf("%.*f", digits, v)
}

// The marks between which a table lies in a document.
const (
	beginMark = "<!-- peers: begin -->\n"
	endMark   = "<!-- peers: end -->"
)

// replace puts text between the marks of a document.
func replace(path, text string) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(doc), beginMark)
	_, after, found := strings.Cut(rest, endMark)
	if !ok || !found {
		return fmt.Errorf("%s has no lines %q and %q", path, strings.TrimSpace(beginMark), endMark)
	}
	return os.WriteFile(path, []byte(before+beginMark+text+endMark+after), 0o644)
}
