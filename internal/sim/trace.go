package sim

import (
	"fmt"
	"strings"
	"time"
)

// traceKept is how many of the last trace lines a failure prints.
const traceKept = 64

// A line of the trace. It is formatted only if somebody reads it.
type line struct {
	at   time.Duration
	node int // index, or -1 for the world
	what string
	arg  any
}

func (l line) String() string {
	who := "world"
	if l.node >= 0 {
		who = fmt.Sprintf("node %d", l.node+1)
	}
	arg := ""
	if l.arg != nil {
		arg = fmt.Sprintf(" %+v", l.arg)
		if len(arg) > 400 {
			arg = arg[:400] + "…"
		}
	}
	return fmt.Sprintf("%12.6fs %s: %s%s", l.at.Seconds(), who, l.what, arg)
}

// A trace remembers the last lines of a run and a hash of all of it: two runs
// with the same hash did the same things at the same times.
type trace struct {
	ring [traceKept]line
	n    int
	hash uint64
	live func(line) // gets each line at once; nil means nobody
}

// add records a line.
func (t *trace) add(l line) {
	t.ring[t.n%traceKept] = l
	t.n++
	t.mix(uint64(l.at), uint64(l.node), uint64(len(l.what)))
	if t.live != nil {
		t.live(l)
	}
}

// mix folds facts into the hash.
func (t *trace) mix(facts ...uint64) {
	for _, f := range facts {
		t.hash = (t.hash ^ f) * 0x9e3779b97f4a7c15
		t.hash ^= t.hash >> 29
	}
}

// last returns the remembered lines, oldest first.
func (t *trace) last() string {
	var b strings.Builder
	for i := max(0, t.n-traceKept); i < t.n; i++ {
		b.WriteString(t.ring[i%traceKept].String())
		b.WriteByte('\n')
	}
	return b.String()
}
