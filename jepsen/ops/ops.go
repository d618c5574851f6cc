// Package ops puts the lines of a history together to calls, each with its beginning
// and its end.
package ops

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/internal/sabotage"
)

// Never is the end of a call that has none: what it asks for may happen at any time
// later, or not at all.
const Never = time.Duration(math.MaxInt64)

// An Op is one call.
type Op struct {
	Seq      uint64 // of the line on which it begins
	Op       uint64
	Process  int
	F        string
	Key      string
	Request  string
	Node     string
	Session  string // as asked with, or as answered
	Fence    uint64 // as asked with, or as answered
	Kind     history.Kind
	Call     time.Duration // when it was sent
	End      time.Duration // when it was answered; Never if Kind is Info
	Ended    time.Duration // when it ended, whatever became of it; the end of the run if it did not
	Args     any
	Result   any
	Status   int
	Code     string // of a problem, with hyphens as the API has it
	Slot     uint64
	Revision uint64
	Error    string
}

// Answered reports whether the replicated state answered: by success or by a refusal.
func (o *Op) Answered() bool {
	return o.Kind == history.OK || o.Kind == history.Fail && (o.Slot > 0 || o.Revision > 0)
}

// Soft reports whether o is the end of a session by a client library, for which it is
// as good if the session was over before: nobody says which.
func (o *Op) Soft() bool {
	return o.F == history.CloseS && o.Kind == history.OK && o.Slot == 0 && o.Revision == 0
}

// Service reports whether o is a call of the service, and not something that a client
// notes about itself or asks of a resource.
func (o *Op) Service() bool {
	switch o.F {
	case history.Belief, history.ResourceRead, history.ResourceWrite, history.Watched:
		return false
	}
	return true
}

// Changes reports whether o asks for a command in the log.
func (o *Op) Changes() bool {
	switch o.F {
	case history.Put, history.Delete, history.Txn, history.Open, history.CloseS, history.Acquire, history.Release, history.AcquireAll,
		history.Yield, history.Proclaim, history.Transfer, history.Advance, history.ForgetFence:
		return true
	}
	return false
}

// String says in one line what o was and what became of it.
func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "line %d: at %v process %d", o.Seq, o.Call.Round(time.Microsecond), o.Process)
	if o.Node != "" {
		fmt.Fprintf(&b, " asked %s", o.Node)
	}
	fmt.Fprintf(&b, ": %s", o.F)
	if o.Key != "" {
		fmt.Fprintf(&b, " %s", o.Key)
	}
	if text := Short(o.Args); text != "" {
		fmt.Fprintf(&b, " %s", text)
	}
	if o.Session != "" {
		fmt.Fprintf(&b, " (session %s)", o.Session)
	}
	switch {
	case o.Kind == history.Info:
		b.WriteString("; nobody knows what became of it")
	default:
		fmt.Fprintf(&b, "; at %v %s", o.End.Round(time.Microsecond), o.Kind)
	}
	if o.Code != "" {
		fmt.Fprintf(&b, " %s", o.Code)
	}
	if o.Fence != 0 {
		fmt.Fprintf(&b, " fence %d", o.Fence)
	}
	if text := Short(o.Result); text != "" {
		fmt.Fprintf(&b, " %s", text)
	}
	if o.Slot != 0 {
		fmt.Fprintf(&b, ", slot %d", o.Slot)
	}
	if o.Revision != 0 {
		fmt.Fprintf(&b, ", revision %d", o.Revision)
	}
	return b.String()
}

// Short is v as JSON, cut off where it gets long; "" for nothing.
func Short(v any) string {
	if v == nil {
		return ""
	}
	b, err := json.Marshal(v)
	switch text := string(b); {
	case err != nil:
		return err.Error()
	case text == "{}" || text == "null":
		return ""
	case len(text) > 200:
		return strings.ToValidUTF8(text[:200], "") + "…"
	default:
		return text
	}
}

// A Problem is what a history cannot have.
type Problem struct {
	Seq  uint64
	Text string
}

// A History is a run as its calls and what surrounded them.
type History struct {
	Run      history.Run
	Ops      []*Op           // in the order of their beginnings
	Watched  []history.Event // what watchers were told, and why their streams ended
	Faults   []history.Event
	Notes    []history.Event
	Complete bool          // the run came to its end
	Until    time.Duration // when the last line was written
	Problems []Problem     // of the record itself: no verdict can be based on it
}

// Pair makes a History of the lines of one.
func Pair(run history.Run, events []history.Event) *History {
	h := &History{Run: run}
	p := pairing{h: h, open: map[uint64]*Op{}, busy: map[int]*Op{}, left: map[int]bool{}, requests: map[string]uint64{}}
	for i := range events {
		e := &events[i]
		h.Until = max(h.Until, e.At)
		switch e.Kind {
		case history.Begin:
			if i > 0 {
				p.problem(e, "a second run begins")
			}
		case history.Invoke:
			p.begin(e)
		case history.OK, history.Fail, history.Info:
			if e.F == history.Watched {
				h.Watched = append(h.Watched, *e)
			} else {
				p.end(e)
			}
		case history.Fault:
			h.Faults = append(h.Faults, *e)
		case history.Note:
			h.Notes = append(h.Notes, *e)
		case history.End:
			h.Complete = true
			if i != len(events)-1 {
				p.problem(e, "there are lines after the end")
			}
		default:
			p.problem(e, "there is no kind of line called %q", e.Kind)
		}
	}
	for _, o := range h.Ops {
		if o.Kind == history.Invoke {
			o.Kind, o.End, o.Ended = history.Info, Never, h.Until
		}
	}
	if sabotage.On(sabotage.DropUnknown) {
		h.Ops = slices.DeleteFunc(h.Ops, func(o *Op) bool { return o.Kind == history.Info })
	}
	return h
}

type pairing struct {
	h        *History
	open     map[uint64]*Op
	busy     map[int]*Op
	left     map[int]bool // processes that may call nothing any more
	requests map[string]uint64
}

func (p *pairing) problem(e *history.Event, format string, args ...any) {
	p.h.Problems = append(p.h.Problems, Problem{e.Seq, fmt.Sprintf(format, args...)})
}

func (p *pairing) begin(e *history.Event) {
	if e.F == history.Watched {
		return // only what a watch is told counts
	}
	if p.open[e.Op] != nil {
		p.problem(e, "call %d begins a second time", e.Op)
		return
	}
	o := &Op{
		Seq: e.Seq, Op: e.Op, Process: e.Process, F: e.F, Key: e.Key, Request: e.Request, Node: e.Node,
		Session: e.Session, Fence: e.Fence, Kind: history.Invoke, Call: e.At, Args: e.Args,
	}
	if o.F != history.Belief { // that goes on while its holder calls
		if p.left[o.Process] {
			p.problem(e, "process %d makes a call after one of which nobody knows", o.Process)
		}
		if before := p.busy[o.Process]; before != nil {
			p.problem(e, "process %d begins a call while its call %d is under way", o.Process, before.Op)
		}
		p.busy[o.Process] = o
	}
	if o.Request != "" {
		if before, ok := p.requests[o.Request]; ok {
			p.problem(e, "request %s is that of call %d too", o.Request, before)
		}
		p.requests[o.Request] = o.Op
	}
	p.open[o.Op] = o
	p.h.Ops = append(p.h.Ops, o)
}

func (p *pairing) end(e *history.Event) {
	o := p.open[e.Op]
	switch {
	case o == nil:
		p.problem(e, "call %d ends and has not begun", e.Op)
		return
	case o.Kind != history.Invoke:
		p.problem(e, "call %d ends a second time", e.Op)
		return
	case e.At < o.Call:
		p.problem(e, "call %d ends before it begins", e.Op)
		return
	}
	if o.F != history.Belief {
		delete(p.busy, o.Process)
		p.left[o.Process] = p.left[o.Process] || e.Kind == history.Info
	}
	o.Kind, o.End, o.Ended = e.Kind, e.At, e.At
	if e.Kind == history.Info {
		o.End = Never
	}
	if e.Session != "" {
		o.Session = e.Session
	}
	if e.Fence != 0 {
		o.Fence = e.Fence
	}
	if o.Node == "" {
		o.Node = e.Node
	}
	if o.Key == "" {
		o.Key = e.Key
	}
	o.Result, o.Status, o.Slot, o.Revision, o.Error = e.Result, e.Status, e.Slot, e.Revision, e.Error
	o.Code = strings.ReplaceAll(e.Code, "_", "-")
}

// A Window is a fault from its beginning to its end.
type Window struct {
	Name       string
	Nodes      []string
	Begin, End time.Duration
	Ended      bool // else End is that of the run
}

// Windows returns the faults of a run, in the order of their beginnings. An end
// belongs to the oldest open fault of its name that hits the same nodes, or of its
// name alone.
func (h *History) Windows() (out []Window) {
	for _, e := range h.Faults {
		if e.Phase != "end" {
			out = append(out, Window{Name: e.Fault, Nodes: e.Nodes, Begin: e.At, End: h.Until})
			if e.Phase == "" {
				out[len(out)-1].End, out[len(out)-1].Ended = e.At, true
			}
			continue
		}
		at := -1
		for i := range out {
			if out[i].Name != e.Fault || out[i].Ended {
				continue
			}
			same := fmt.Sprint(out[i].Nodes) == fmt.Sprint(e.Nodes)
			if same || at < 0 {
				at = i
			}
			if same {
				break
			}
		}
		if at >= 0 {
			out[at].End, out[at].Ended = e.At, true
		}
	}
	return out
}
