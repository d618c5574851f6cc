package ops

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/prytany/prytany/jepsen/history"
)

// TestPairAfterReading writes a history, reads it, and pairs its calls.
func TestPairAfterReading(t *testing.T) {
	var b bytes.Buffer
	w := history.NewWriter(&b, history.Run{Name: "x", TTL: time.Second})
	at := func(ms int) time.Duration { return time.Duration(ms) * time.Millisecond }
	for _, e := range []history.Event{
		{At: at(1), Kind: history.Invoke, Process: 1, Op: 1, F: history.Open, Request: "a", Args: history.OpenArgs{TTL: int64(time.Second)}},
		{At: at(2), Kind: history.OK, Process: 1, Op: 1, F: history.Open, Session: "s", Slot: 4, Revision: 7, Result: history.OpenResult{TTL: int64(time.Second)}},
		{At: at(3), Kind: history.Invoke, Process: 1, Op: 2, F: history.KeepAlive, Key: "s", Session: "s"},
		{At: at(4), Kind: history.Fault, Fault: "kill", Phase: "begin", Nodes: []string{"n1"}},
		{At: at(5), Kind: history.Fault, Fault: "kill", Phase: "begin", Nodes: []string{"n2"}},
		{At: at(6), Kind: history.Info, Process: 1, Op: 2, F: history.KeepAlive},
		{At: at(7), Kind: history.Fault, Fault: "kill", Phase: "end", Nodes: []string{"n2"}},
		{At: at(8), Kind: history.Fault, Fault: "clock-jump", Nodes: []string{"n3"}},
		{At: at(9), Kind: history.Invoke, Process: 2, Op: 3, F: history.CloseS, Key: "s"},
	} {
		w.Write(e)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	run, events, err := history.Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	h := Pair(run, events)
	if len(h.Problems) > 0 || !h.Complete || len(h.Ops) != 3 {
		t.Fatalf("%v, complete %v, %d calls", h.Problems, h.Complete, len(h.Ops))
	}
	if o := h.Ops[0]; o.Session != "s" || o.Slot != 4 || o.Revision != 7 || o.Call != at(1) || o.End != at(2) || !o.Answered() || !o.Changes() {
		t.Errorf("the first call is %+v", o)
	}
	if o := h.Ops[1]; o.Kind != history.Info || o.End != Never || o.Ended != at(6) || o.Answered() {
		t.Errorf("the second call is %+v", o)
	}
	if o := h.Ops[2]; o.Kind != history.Info || o.End != Never || o.Ended != h.Until {
		t.Errorf("the third call is %+v", o)
	}
	want := []Window{
		{"kill", []string{"n1"}, at(4), h.Until, false}, {"kill", []string{"n2"}, at(5), at(7), true}, {"clock-jump", []string{"n3"}, at(8), at(8), true},
	}
	if got := h.Windows(); !reflect.DeepEqual(got, want) {
		t.Errorf("faults %v; want %v", got, want)
	}
	l := Lives(h, 0.1)["s"]
	if l.Opened != h.Ops[0] || l.Renewed != h.Ops[0] || l.AtLeast != at(901) || l.Last != at(6) || l.Closed != h.Ops[2] || l.Told != nil {
		t.Errorf("the session: %+v", l)
	}
}

func TestPairRefuses(t *testing.T) {
	call := func(kind history.Kind, process int, op uint64, request string) history.Event {
		return history.Event{Kind: kind, Process: process, Op: op, F: history.Put, Request: request}
	}
	for name, events := range map[string][]history.Event{
		"an end without a beginning":  {call(history.OK, 1, 1, "")},
		"two ends":                    {call(history.Invoke, 1, 1, "a"), call(history.OK, 1, 1, ""), call(history.OK, 1, 1, "")},
		"two beginnings":              {call(history.Invoke, 1, 1, "a"), call(history.Invoke, 2, 1, "b")},
		"two calls at a time":         {call(history.Invoke, 1, 1, "a"), call(history.Invoke, 1, 2, "b")},
		"a call after an unknown one": {call(history.Invoke, 1, 1, "a"), call(history.Info, 1, 1, ""), call(history.Invoke, 1, 2, "b")},
		"a request twice":             {call(history.Invoke, 1, 1, "a"), call(history.Invoke, 2, 2, "a")},
		"a line after the end":        {{Kind: history.End}, call(history.Invoke, 1, 1, "a")},
		"a kind there is not":         {{Kind: "maybe"}},
		"a second run":                {{Kind: history.Note}, {Kind: history.Begin}},
		"an end before the beginning": {{At: 5, Kind: history.Invoke, Process: 1, Op: 1}, {At: 4, Kind: history.OK, Process: 1, Op: 1}},
	} {
		if h := Pair(history.Run{}, events); len(h.Problems) != 1 {
			t.Errorf("%s: %v", name, h.Problems)
		}
	}
}
