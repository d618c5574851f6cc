// Package verdict is what checkers say about a run: one [Check] for each property,
// and the [Verdict] that follows from them.
package verdict

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/prytany/prytany/jepsen/history"
)

// An Outcome of a check.
type Outcome string

// The outcomes, the worst first.
const (
	// Failed: something happened that may not.
	Failed Outcome = "FAIL"
	// Rejected: the run cannot tell anything, whatever the other checks say.
	Rejected Outcome = "rejected"
	// Undecided: nothing wrong was found, and it was not shown that nothing is.
	Undecided Outcome = "undecided"
	// Passed: what was checked is as it must be.
	Passed Outcome = "pass"
	// None: there was nothing to check.
	None Outcome = "nothing"
)

var order = []Outcome{Failed, Rejected, Undecided, Passed, None}

// Worse returns the worse of two.
func Worse(a, b Outcome) Outcome {
	if slices.Index(order, b) < slices.Index(order, a) {
		return b
	}
	return a
}

// The exit codes of a program that ends with a verdict.
const (
	ExitPassed    = 0
	ExitFailed    = 1
	ExitUndecided = 2
	ExitRejected  = 3
	// ExitUnusable is for what is no verdict: wrong arguments, files that cannot be read.
	ExitUnusable = 4
)

// Exit returns the exit code for o.
func (o Outcome) Exit() int {
	switch o {
	case Failed:
		return ExitFailed
	case Undecided:
		return ExitUndecided
	case Rejected:
		return ExitRejected
	}
	return ExitPassed
}

// maxOffenders is how many are named of what breaks one check; all are counted.
const maxOffenders = 5

// A Check is what was found about one property.
type Check struct {
	Name      string           `json:"name"`  // short, for programs: never changes
	Title     string           `json:"title"` // what must be
	Outcome   Outcome          `json:"outcome"`
	Detail    string           `json:"detail,omitempty"` // what was looked at, or why nothing is known
	Breaches  int              `json:"breaches,omitempty"`
	Offenders []Offender       `json:"offenders,omitempty"` // the first of them
	Counts    map[string]int64 `json:"counts,omitempty"`    // of what was looked at
}

// An Offender is one breach in words, and the lines of the history that it is about.
type Offender struct {
	Text  string   `json:"text"`
	Ops   []string `json:"ops,omitempty"`   // the calls in words
	Lines []uint64 `json:"lines,omitempty"` // where they begin
}

// New returns a Check that has passed so far.
func New(name, title string) *Check {
	return &Check{Name: name, Title: title, Outcome: Passed, Counts: map[string]int64{}}
}

// Fail notes a breach. about are the calls or lines that show it: each has a String
// that says what it is.
func (c *Check) Fail(text string, about ...About) {
	c.Outcome = Failed
	if c.Breaches++; c.Breaches > maxOffenders {
		return
	}
	o := Offender{Text: text}
	for _, a := range about {
		o.Ops, o.Lines = append(o.Ops, a.Text), append(o.Lines, a.Line)
	}
	c.Offenders = append(c.Offenders, o)
}

// An About is a call, or a line, in words.
type About struct {
	Text string
	Line uint64
}

// Doubt makes c undecided, unless it has failed.
func (c *Check) Doubt(format string, args ...any) {
	if c.Outcome != Failed {
		c.Outcome = Undecided
	}
	c.add(fmt.Sprintf(format, args...))
}

// Say adds to what c tells.
func (c *Check) Say(format string, args ...any) { c.add(fmt.Sprintf(format, args...)) }

// maxDetail is after how many bytes a check says no more: that is for people.
const maxDetail = 2000

// add adds to Detail what is not there yet.
func (c *Check) add(text string) {
	if strings.Contains(c.Detail, text) || len(c.Detail) > maxDetail {
		return
	}
	if c.Detail != "" {
		text = "; " + text
	}
	c.Detail += text
}

// Nothing says that there was nothing to check, unless something was found.
func (c *Check) Nothing(format string, args ...any) *Check {
	if c.Outcome == Passed {
		c.Outcome = None
	}
	c.add(fmt.Sprintf(format, args...))
	return c
}

// A Verdict is what all checks say of one run.
type Verdict struct {
	Run     history.Run      `json:"run"`
	Outcome Outcome          `json:"outcome"`
	Exit    int              `json:"exit"`
	Checks  []*Check         `json:"checks"`
	Counts  map[string]int64 `json:"counts"` // of the run: calls by their end, faults
	// Lost is how many updates a resource lost that did not look at fences. In a
	// negative control it is what the run is for: over a campaign it must not be 0.
	Lost int64 `json:"lost_unfenced"`
	// Beside are files that belong to the verdict, by their names.
	Beside []File `json:"-"`
}

// A File is one to be written beside a report.
type File struct {
	Name  string
	Title string
	Data  []byte
}

// Close fills in Outcome and Exit.
func (v *Verdict) Close() {
	v.Outcome = Passed
	for _, c := range v.Checks {
		v.Outcome = Worse(v.Outcome, c.Outcome)
	}
	v.Exit = v.Outcome.Exit()
}

// Check returns the check of that name, nil if there is none.
func (v *Verdict) Check(name string) *Check {
	for _, c := range v.Checks {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Text writes v for people: a line for each check, and under it what broke it.
func (v *Verdict) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: run %s, seed %d, workload %s\n", v.Outcome, v.Run.Name, v.Run.Seed, v.Run.Workload)
	for _, c := range v.Checks {
		fmt.Fprintf(&b, "%-9s %-22s %s", c.Outcome, c.Name, c.Title)
		if c.Detail != "" {
			fmt.Fprintf(&b, " (%s)", c.Detail)
		}
		b.WriteByte('\n')
		for _, o := range c.Offenders {
			fmt.Fprintf(&b, "          %s\n", o.Text)
			for _, op := range o.Ops {
				fmt.Fprintf(&b, "            %s\n", op)
			}
		}
		if more := c.Breaches - len(c.Offenders); more > 0 {
			fmt.Fprintf(&b, "          and %d more\n", more)
		}
	}
	if v.Run.Negative {
		fmt.Fprintf(&b, "negative control: %d updates lost without fences\n", v.Lost)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
