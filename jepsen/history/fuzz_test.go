package history

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

// FuzzRead reads anything as a history: what is taken is, written again, the same.
func FuzzRead(f *testing.F) {
	var b bytes.Buffer
	w := NewWriter(&b, Run{Name: "x", Nodes: []string{"a"}})
	w.Write(Event{Kind: Invoke, Process: 1, Op: 1, F: Put, Key: "k", Args: map[string]any{"value": "v", "n": 1 << 60}})
	w.Write(Event{Kind: OK, Process: 1, Op: 1, F: Put, Key: "k", Result: []any{nil, 1.5, "x"}, Slot: 2, Revision: 3})
	w.Write(Event{Kind: Fault, Fault: "kill", Phase: "begin", Nodes: []string{"a"}})
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"seq":1,"kind":"begin","run":{"version":2}}`))
	f.Add([]byte(`{"seq":1,"kind":"begin","run":{"version":-1,"time":1e400}}` + "\n" + `{"seq":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		run, events, err := Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		for _, e := range events {
			line, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		run2, events2, err := Read(&b)
		if err != nil || !reflect.DeepEqual(run2, run) || len(events2) != len(events) {
			t.Fatalf("%+v came back as %+v, %v", run, run2, err)
		}
		one, _ := json.Marshal(events)
		if two, _ := json.Marshal(events2); !bytes.Equal(one, two) {
			t.Fatalf("%s came back as %s", one, two)
		}
	})
}
