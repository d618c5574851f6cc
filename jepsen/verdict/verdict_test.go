package verdict

import (
	"bytes"
	"strings"
	"testing"
)

func TestTheWorstCounts(t *testing.T) {
	for _, tt := range []struct {
		of   []Outcome
		want Outcome
		exit int
	}{
		{[]Outcome{Passed, None}, Passed, ExitPassed},
		{[]Outcome{Passed, Undecided, None}, Undecided, ExitUndecided},
		{[]Outcome{Undecided, Rejected, Passed}, Rejected, ExitRejected},
		{[]Outcome{Rejected, Failed, Undecided}, Failed, ExitFailed},
	} {
		v := &Verdict{}
		for _, o := range tt.of {
			v.Checks = append(v.Checks, &Check{Outcome: o})
		}
		if v.Close(); v.Outcome != tt.want || v.Exit != tt.exit {
			t.Errorf("%v: %s, exit code %d; want %s, %d", tt.of, v.Outcome, v.Exit, tt.want, tt.exit)
		}
	}
}

func TestBreachesAreCountedAndTheFirstNamed(t *testing.T) {
	c := New("x", "it must be")
	for range maxOffenders + 3 {
		c.Fail("it is not", About{Text: "this call", Line: 7})
	}
	c.Doubt("who knows")
	if c.Outcome != Failed || c.Breaches != maxOffenders+3 || len(c.Offenders) != maxOffenders || c.Offenders[0].Lines[0] != 7 {
		t.Errorf("%+v", c)
	}
	v := &Verdict{Checks: []*Check{c}}
	v.Close()
	var b bytes.Buffer
	if err := v.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FAIL", "it is not", "this call", "and 3 more", "who knows"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text does not say %q:\n%s", want, b.String())
		}
	}
}
