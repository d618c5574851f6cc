package ops

import (
	"bytes"
	"testing"

	"github.com/prytany/prytany/jepsen/history"
)

// FuzzPair puts the lines of any history together: each call is there once, ends no
// sooner than it begins, and can be said.
func FuzzPair(f *testing.F) {
	var b bytes.Buffer
	w := history.NewWriter(&b, history.Run{Name: "x"})
	w.Write(history.Event{Kind: history.Invoke, Process: 1, Op: 1, F: history.Put, Key: "k", Request: "r", Args: map[string]any{"value": "v"}})
	w.Write(history.Event{Kind: history.OK, Process: 1, Op: 1, F: history.Put, Key: "k", Slot: 2, Revision: 3})
	w.Write(history.Event{Kind: history.Invoke, Process: 2, Op: 2, F: history.Get})
	w.Write(history.Event{Kind: history.Fault, Fault: "pause-node", Phase: "begin", Nodes: []string{"a"}})
	w.Write(history.Event{Kind: history.Fault, Fault: "pause-node", Phase: "end", Nodes: []string{"a"}})
	w.Write(history.Event{Kind: history.Info, F: history.Watched, Process: 3})
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		run, events, err := history.Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		h := Pair(run, events)
		seen := map[uint64]bool{}
		for _, o := range h.Ops {
			if seen[o.Seq] || o.Kind == history.Invoke || o.Kind == history.Info && o.End != Never {
				t.Fatalf("%+v", o)
			}
			seen[o.Seq] = true
			_, _, _, _, _ = o.String(), o.Answered(), o.Soft(), o.Service(), o.Changes()
		}
		h.Windows()
	})
}
