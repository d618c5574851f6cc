package deadline

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

type readOnly struct {
	http.ResponseWriter
	at []time.Time
}

func (r *readOnly) SetReadDeadline(t time.Time) error { r.at = append(r.at, t); return nil }
func (r *readOnly) Unwrap() http.ResponseWriter       { return r.ResponseWriter }

type writeOnly struct {
	http.ResponseWriter
	at []time.Time
}

func (w *writeOnly) SetWriteDeadline(t time.Time) error { w.at = append(w.at, t); return nil }

// Deadlines are set wherever in a chain of writers they can be, and nowhere else.
func TestControlLooksThroughWriters(t *testing.T) {
	inner := &writeOnly{ResponseWriter: httptest.NewRecorder()}
	outer := &readOnly{ResponseWriter: inner}
	for _, w := range []http.ResponseWriter{outer, httptest.NewRecorder(), inner} {
		k := Of(w)
		k.LimitRead(time.Minute)
		k.ClearRead()
		k.LimitWrite(time.Minute)
		k.ClearWrite()
	}
	if len(outer.at) != 2 || len(inner.at) != 4 || outer.at[0].IsZero() || !outer.at[1].IsZero() || inner.at[2].IsZero() || !inner.at[3].IsZero() {
		t.Errorf("read %v, write %v", outer.at, inner.at)
	}
}
