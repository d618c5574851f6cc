package link

import (
	"bytes"
	"errors"
	"testing"

	"github.com/prytany/prytany/internal/api"
)

// FuzzTail reads any lines: whatever they are, a revision is told once and whole,
// and later ones after earlier ones.
func FuzzTail(f *testing.F) {
	for _, seed := range []string{
		"",
		`{"type":"bookmark","revision":3}`,
		`{"type":"put","revision":4,"more":true,"name":"a"}` + "\n" + `{"type":"put","revision":4,"name":"b"}` + "\n" + `{"type":"delete","revision":5,"name":"b"}`,
		`{"type":"put","revision":4,"more":true}` + "\n" + `{"type":"put","revision":5}`,
		`{"type":"put","revision":4,"more":true}` + "\n" + `{"type":"bookmark","revision":4}`,
		`{"type":"put","revision":4}` + "\n" + `{"type":"put","revision":4}` + "\n" + `{"type":"put","revision":3}`,
		`{"type":"error","revision":4,"problem":{"status":410,"code":"compacted","oldest_revision":9}}`,
		`{"type":"error","revision":4}`,
		`{"type":"put","revision":-1}`,
		"<html>",
	} {
		f.Add([]byte(seed), uint64(4))
	}
	f.Fuzz(func(t *testing.T, data []byte, from uint64) {
		tail := Tail{From: from}
		var told uint64
		for line := range bytes.Lines(data) {
			events, err := tail.add(line)
			var p *Refusal
			switch {
			case err != nil && !errors.Is(err, errBroken) && !errors.As(err, &p):
				t.Fatalf("%q: %v", line, err)
			case err != nil:
				tail.pending = nil // as with a new connection
			}
			for i, e := range events {
				if e.Revision != events[0].Revision || e.More != (i < len(events)-1) {
					t.Fatalf("no whole revision: %+v", events)
				}
			}
			if len(events) == 0 {
				continue
			}
			if e := events[0]; e.Revision < told || e.Type != api.EventBookmark && (e.Revision == told || e.Revision < from) {
				t.Fatalf("told of %+v after %d, from %d", e, told, from)
			}
			told = events[0].Revision
		}
	})
}

// A stream from the first revision on begins with a bookmark before it.
func TestTailFromTheBeginning(t *testing.T) {
	tail := Tail{From: 1}
	for i, line := range []string{`{"type":"bookmark","revision":0}`, `{"type":"put","revision":1,"name":"a"}`} {
		if events, err := tail.add([]byte(line)); err != nil || len(events) != 1 || events[0].Revision != uint64(i) {
			t.Errorf("%s: %+v, %v", line, events, err)
		}
	}
	of := Tail{State: true} // of an election in a group of which nothing was changed yet
	if events, err := of.add([]byte(`{"type":"unlock","revision":0,"name":"a"}`)); err != nil || len(events) != 1 {
		t.Errorf("%+v, %v", events, err)
	}
}
