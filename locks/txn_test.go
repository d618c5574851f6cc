package locks

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/locks/internal/history"
)

func (w *world) txn(c *TxnCommand) (Result, TxnResult) {
	w.t.Helper()
	got := w.do(c)
	out, err := command.DecodeTxn(got.Body)
	if err != nil && !got.Refused {
		w.t.Fatal(err)
	}
	return got, out
}

func put(key, value string) Op { return Op{Kind: OpPut, Key: key, Value: []byte(value)} }

func (w *world) entries() (out []string) {
	for key, e := range w.m.entries.From("") {
		out = append(out, fmt.Sprintf("%s=%s@%d.%d", key, e.Value, e.Revision, e.Version))
	}
	return out
}

func TestTxnSeesItsOwnSteps(t *testing.T) {
	w := newWorld(t)
	w.open("a")                                     // 1
	w.do(&PutCommand{Key: "k", Value: []byte("v")}) // 2
	w.do(&PutCommand{Key: "a/1", Session: "a"})     // 3
	w.do(&PutCommand{Key: "b", Value: []byte("b")}) // 4
	_, got := w.txn(&TxnCommand{If: []If{{Kind: IfValue, Name: "k", Value: []byte("v")}, {Kind: IfAlive, Name: "a"}}, Then: []Op{
		{Kind: OpGet, Key: "a/2"},
		{Kind: OpPut, Key: "a/2", Value: []byte("two"), ContentType: "text/plain", Session: "a"},
		{Kind: OpGet, Key: "a/2"},
		put("k", "w"),
		{Kind: OpGet, Key: "k"},
		{Kind: OpDeletePrefix, Key: "a/"},
		{Kind: OpGet, Key: "a/2"},
		{Kind: OpDelete, Key: "b"},
		{Kind: OpDelete, Key: "b"},
		put("b", "again"),
	}}) // 5
	want := TxnResult{Succeeded: true, Steps: []Done{
		{Kind: OpGet, Key: "a/2"},
		{Kind: OpPut, Key: "a/2", Revision: 5, Created: 5, Version: 1, Session: "a"},
		{Kind: OpGet, Key: "a/2", Found: true, Value: []byte("two"), ContentType: "text/plain", Revision: 5, Created: 5, Version: 1, Session: "a"},
		{Kind: OpPut, Key: "k", Revision: 5, Created: 2, Version: 2},
		{Kind: OpGet, Key: "k", Found: true, Value: []byte("w"), Revision: 5, Created: 2, Version: 2},
		{Kind: OpDeletePrefix, Key: "a/", Deleted: 2},
		{Kind: OpGet, Key: "a/2"},
		{Kind: OpDelete, Key: "b", Deleted: 1},
		{Kind: OpDelete, Key: "b"},
		{Kind: OpPut, Key: "b", Revision: 5, Created: 5, Version: 1},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := w.entries(), []string{"b=again@5.1", "k=w@5.2"}; !slices.Equal(got, want) {
		t.Errorf("entries %v; want %v", got, want)
	}
	wantEvents := []string{
		"put a/2 {two 5 5 1 a}", "put k {w 5 2 2 }", "delete a/1 a", "delete a/2 a", "delete b ", "put b {again 5 5 1 }",
	}
	if got := w.happened(); !slices.Equal(got, wantEvents) {
		t.Errorf("events %q\nwant   %q", got, wantEvents)
	}
	restored(t, w.m)
}

func TestTxnTellsOfEveryFailedCondition(t *testing.T) {
	w := newWorld(t)
	w.open("a")                                     // 1
	w.do(&PutCommand{Key: "k", Value: []byte("v")}) // 2
	w.acquire("l", "a")                             // 3
	_, got := w.txn(&TxnCommand{
		If: []If{
			{Kind: IfRevision, Name: "k", Revision: 1}, {Kind: IfRevision, Name: "x", Revision: 1}, {Kind: IfRevision, Name: "x"},
			{Kind: IfExists, Name: "x"}, {Kind: IfAbsent, Name: "k"}, {Kind: IfValue, Name: "k", Value: []byte("w")},
			{Kind: IfAlive, Name: "b"}, {Kind: IfCurrent, Name: "l", Revision: 2}, {Kind: IfCurrent, Name: "l", Revision: 3},
			{Kind: IfCurrent, Name: "m", Revision: 3},
		},
		Then: []Op{put("then", "")},
		Else: []Op{put("else", "")},
	})
	want := TxnResult{
		Failed: []Failed{
			{Index: 0, Current: 2}, {Index: 1}, {Index: 3}, {Index: 4, Current: 2}, {Index: 5, Current: 2}, {Index: 6},
			{Index: 7, Current: 3}, {Index: 9},
		},
		Steps: []Done{{Kind: OpPut, Key: "else", Revision: 4, Created: 4, Version: 1}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestTxnIsAllOrNothing(t *testing.T) {
	big := strings.Repeat("v", 60)
	tests := []struct {
		name string
		op   Op
		code Code
	}{
		{"a dead session", Op{Kind: OpPut, Key: "x", Session: "dead"}, SessionExpired},
		{"a stranger", Op{Kind: OpPut, Key: "x", Session: "stranger"}, SessionUnknown},
		{"more than the session may have", Op{Kind: OpPut, Key: "x", Session: "a"}, Overloaded},
		{"more entries than there may be", put("z", ""), Overloaded},
		{"more bytes than there may be", put("p/1", strings.Repeat("v", 300)), TooLarge},
		{"too many of a prefix", Op{Kind: OpDeletePrefix, Key: "p/"}, TooLarge},
		{"too much to return", Op{Kind: OpGet, Key: "new"}, TooLarge},
		{"no operation", Op{Kind: 9, Key: "x"}, Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.open("a", "dead")
			w.do(&EndCommand{ID: "dead"})
			for _, key := range []string{"p/1", "p/2", "p/3"} {
				w.do(&PutCommand{Key: key, Session: "a"})
			}
			w.m.bounds.perSession, w.m.bounds.locks, w.m.bounds.prefix = 3, 4, 2
			w.m.bounds.bytes, w.m.bounds.results = w.m.bytes+200, 3*history.Overhead+2*len(big)
			before := w.entries()
			got := w.do(&TxnCommand{Request: req("t"), Then: []Op{put("new", big), {Kind: OpGet, Key: "new"}, tt.op}})
			if !got.Refused || got.Code != tt.code || got.Step != 3 {
				t.Errorf("%+v; want code %d at step 3", got, tt.code)
			}
			if limit := map[string]string{"too many of a prefix": " 2 ", "too much to return": fmt.Sprintf(" %d ", w.m.bounds.results)}[tt.name]; !strings.Contains(got.Detail, limit) {
				t.Errorf("%q does not tell the limit of %s", got.Detail, limit)
			}
			if after := w.entries(); !slices.Equal(before, after) || w.happened() != nil {
				t.Errorf("entries %v; before %v; events %v", after, before, w.happened())
			}
			restored(t, w.m)
		})
	}
}

func TestTxnAtTheLimits(t *testing.T) {
	for name, op := range map[string]Op{
		"a smaller value":    {Kind: OpPut, Key: "mine", Value: []byte("1234"), Session: "a"},
		"a value as long":    {Kind: OpPut, Key: "mine", Value: []byte("54321")},
		"a get":              {Kind: OpGet, Key: "mine"},
		"a delete of one":    {Kind: OpDelete, Key: "p/1"},
		"a delete of a few":  {Kind: OpDeletePrefix, Key: "p/"},
		"a delete of no one": {Kind: OpDelete, Key: "x"},
	} {
		w := newWorld(t)
		w.open("a")
		w.do(&PutCommand{Key: "mine", Value: []byte("12345"), Session: "a"})
		w.do(&PutCommand{Key: "p/1"})
		w.m.bounds.perSession, w.m.bounds.locks, w.m.bounds.bytes = 1, 2, w.m.bytes-1 // as after a grant was remembered
		if got := w.do(&TxnCommand{Then: []Op{op}}); got.Refused {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The bound is that of a transaction, however many prefixes it names.
func TestTxnDeletesOnlySoMuch(t *testing.T) {
	w := newWorld(t)
	for i := range 6 {
		w.do(&PutCommand{Key: fmt.Sprint(i%2, "/", i)})
	}
	w.m.bounds.prefix = 5
	ops := []Op{{Kind: OpDeletePrefix, Key: "0/"}, {Kind: OpDeletePrefix, Key: "1/"}}
	if got := w.do(&TxnCommand{Then: ops}); got.Code != TooLarge || got.Step != 2 {
		t.Errorf("six at once: %+v", got)
	}
	w.m.bounds.prefix = 6
	if got := w.do(&TxnCommand{Then: ops}); got.Refused || w.m.entries.Len() != 0 {
		t.Errorf("six of six: %+v", got)
	}
}
