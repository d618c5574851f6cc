package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/journal"
)

// base is the id before the first one of a journal here.
const base = 3 << 32

// witness is a server whose node keeps the newest events, of which there have
// been n.
func witness(keep, n int) (*Server, *journal.Journal) {
	cfg := config(newFake())
	j := journal.New(journal.Config{Node: "n1", Incarnation: 3, Keep: keep})
	cfg.Node, cfg.Events = "n1", j
	for i := range n {
		j.Note("link-down", "n2", "no answer for too long", fmt.Sprintf("event %d", i+1))
	}
	return New(cfg), j
}

// short says which events a reply has: "5 6", without what all ids have in common.
func shortIDs(events []api.NodeEvent) string {
	var out []string
	for _, e := range events {
		text := fmt.Sprint(e.ID - base)
		if e.Kind != "link-down" {
			text = e.Kind + text
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// nodeEventsOf decodes a stream of either format.
func nodeEventsOf(t *testing.T, contentType, body string) (out []api.NodeEvent) {
	t.Helper()
	decode := func(s string) api.NodeEvent {
		var e api.NodeEvent
		if err := json.Unmarshal([]byte(s), &e); err != nil {
			t.Fatalf("%v in %q", err, s)
		}
		return e
	}
	if contentType == api.TypeNDJSON {
		for line := range strings.Lines(body) {
			out = append(out, decode(line))
		}
		return out
	}
	for _, m := range parseSSE(body) {
		e := decode(m.data)
		if m.event != e.Kind || m.id != fmt.Sprint(e.ID) {
			t.Errorf("message %+v", m)
		}
		out = append(out, e)
	}
	return out
}

func TestEvents(t *testing.T) {
	s, _ := witness(5, 8)
	for _, tc := range []struct {
		target, want string
		next         uint64
	}{
		{"/v1/events", "4 5 6 7 8", base + 9},
		{"/v1/events?limit=2", "7 8", base + 9},
		{fmt.Sprintf("/v1/events?from=%d", base+6), "6 7 8", base + 9},
		{fmt.Sprintf("/v1/events?from=%d&limit=2", base+4), "4 5", base + 6},
		{fmt.Sprintf("/v1/events?from=%d", base+9), "", base + 9},
	} {
		rec := send(t, s, "GET", tc.target, "")
		var got api.NodeEvents
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 200 {
			t.Fatalf("%s: %d %s", tc.target, rec.Code, rec.Body)
		}
		if shortIDs(got.Events) != tc.want || got.Next != tc.next {
			t.Errorf("%s: %s, next %d", tc.target, shortIDs(got.Events), got.Next-base)
		}
	}
	rec := send(t, s, "GET", "/v1/events?limit=1", "")
	if !strings.Contains(rec.Body.String(), `"node":"n1","kind":"link-down","peer":"n2","reason":"no answer for too long","text":"event 8: no answer for too long"}`) {
		t.Errorf("%s", rec.Body)
	}
	if rec := send(t, New(config(newFake())), "GET", "/v1/events", ""); rec.Body.String() != `{"events":[],"next":1}`+"\n" {
		t.Errorf("without a journal: %s", rec.Body)
	}
}

// What is gone is 410 with where to go on; what never was is 400.
func TestEventsAreGone(t *testing.T) {
	s, _ := witness(5, 8)
	for _, headers := range [][]string{nil, {"Accept: text/event-stream"}, {"Accept: application/x-ndjson"}} {
		for _, from := range []uint64{1, base, base + 3, 2<<32 + 5} {
			p := problemIn(t, send(t, s, "GET", fmt.Sprintf("/v1/events?from=%d", from), "", headers...))
			if p.Status != http.StatusGone || p.Code != api.CodeCompacted || p.OldestID != base+4 {
				t.Errorf("from %d: %+v", from, p)
			}
		}
		p := problemIn(t, send(t, s, "GET", fmt.Sprintf("/v1/events?from=%d", base+10), "", headers...))
		if p.Status != http.StatusBadRequest || p.Field != "from" {
			t.Errorf("%+v", p)
		}
		p = problemIn(t, send(t, s, "GET", "/v1/events?from=9", "", append(headers, "Last-Event-ID: 7")...))
		if p.Code != api.CodeCompacted {
			t.Errorf("%+v", p)
		}
	}
}

// A stream tells what was there, then what comes, silence too, and says so when
// the node goes down or the reader has fallen behind.
func TestEventStream(t *testing.T) {
	for _, accept := range []string{api.TypeNDJSON, api.TypeSSE} {
		synctest.Test(t, func(t *testing.T) {
			s, j := witness(5, 8)
			ctx, stop := context.WithCancelCause(t.Context())
			r := httptest.NewRequest("GET", fmt.Sprintf("/v1/events?from=%d", base+2), nil).WithContext(ctx)
			r.Header.Set("Accept", accept)
			r.Header.Set(api.HeaderLastEventID, fmt.Sprint(base+6)) // goes first
			rec, done := httptest.NewRecorder(), make(chan struct{})
			go func() { defer close(done); ask(t, s, rec, rec, r) }()
			synctest.Wait()
			j.Note("link-down", "n2", "", "event 9")
			synctest.Wait()
			time.Sleep(25 * time.Second)
			j.Note("link-down", "n2", "", "event 10")
			synctest.Wait()
			if n := s.rooms[classStream].taken.Load(); n != 1 {
				t.Errorf("%d streams are counted", n)
			}
			stop(errStopping)
			<-done
			got := nodeEventsOf(t, accept, rec.Body.String())
			if want := "bookmark6 7 8 9 bookmark9 bookmark9 10 error10"; shortIDs(got) != want || rec.Header().Get("Content-Type") != accept {
				t.Errorf("%s %s", rec.Header().Get("Content-Type"), shortIDs(got))
			}
			last := got[len(got)-1]
			if p := last.Problem; p == nil || p.Code != api.CodeStopping || last.Node != "n1" || got[0].Text == "" {
				t.Errorf("%+v", last)
			}
		})
	}
}

// A stream begins with what is new, unless it is asked for more.
func TestEventStreamFromNowOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, j := witness(5, 8)
		ctx, stop := context.WithCancel(t.Context())
		r := httptest.NewRequest("GET", "/v1/events", nil).WithContext(ctx)
		r.Header.Set("Accept", api.TypeNDJSON)
		rec, done := httptest.NewRecorder(), make(chan struct{})
		go func() { defer close(done); ask(t, s, rec, rec, r) }()
		synctest.Wait()
		j.Note("link-down", "n2", "", "event 9")
		synctest.Wait()
		stop() // the reader is gone: nobody to tell
		<-done
		if got := shortIDs(nodeEventsOf(t, api.TypeNDJSON, rec.Body.String())); got != "bookmark8 9" {
			t.Error(got)
		}
	})
	s, _ := witness(5, 8)
	if rec := send(t, s, "HEAD", "/v1/events", "", "Accept: text/event-stream"); rec.Body.Len() > 0 || rec.Code != 200 {
		t.Errorf("HEAD: %d %s", rec.Code, rec.Body)
	}
}

// slowly is a reader that lets events pass while it reads the first ones.
type slowly struct {
	http.ResponseWriter
	meanwhile func()
}

func (s *slowly) Write(b []byte) (int, error) {
	if s.meanwhile != nil {
		s.meanwhile()
		s.meanwhile = nil
	}
	return s.ResponseWriter.Write(b)
}

func (s *slowly) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Whoever falls behind what is kept hears so: nothing is left out in silence.
func TestEventStreamFallsBehind(t *testing.T) {
	s, j := witness(5, 8)
	rec := httptest.NewRecorder()
	w := &slowly{rec, func() {
		for i := range 9 {
			j.Note("member-dead", "n2", "", fmt.Sprintf("event %d", i+9))
		}
	}}
	r := httptest.NewRequest("GET", fmt.Sprintf("/v1/events?from=%d", base+6), nil)
	r.Header.Set("Accept", api.TypeNDJSON)
	ask(t, s, w, rec, r)
	got := nodeEventsOf(t, api.TypeNDJSON, rec.Body.String())
	if p := got[len(got)-1].Problem; shortIDs(got) != "bookmark5 error5" || p.Code != api.CodeCompacted || p.OldestID != base+13 {
		t.Errorf("%s %+v", shortIDs(got), p)
	}
}

// What happens arrives before there is more.
func TestEventsOverTheWire(t *testing.T) {
	s, j := witness(5, 0)
	addr, _, _ := serve(t, s)
	req, _ := http.NewRequest("GET", "http://"+addr+"/v1/events", nil)
	req.Header.Set("Accept", api.TypeSSE)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	in := bufio.NewScanner(resp.Body)
	for _, kind := range []string{"bookmark", "claim", "leading"} {
		if kind != "bookmark" {
			j.Note(kind, "", "", "it happened")
		}
		for in.Text() != "event: "+kind && in.Scan() {
		}
	}
	if in.Err() != nil || in.Text() != "event: leading" {
		t.Errorf("%q, %v", in.Text(), in.Err())
	}
}

func TestRTT(t *testing.T) {
	cfg := config(newFake())
	if rec := send(t, New(cfg), "GET", "/v1/rtt", ""); rec.Body.String() != `{"node":"","round_trips":[]}`+"\n" {
		t.Errorf("%s", rec.Body)
	}
	cfg.RTT = func() api.RTT {
		return api.RTT{Node: "n1", QuorumMS: 0.5, RoundTrips: []api.RoundTrip{
			{Node: "n2", MeasuredMS: 0.5, P99MS: 1.5, PredictedMS: 0.25, Error: 0.1, QuorumMS: 0.75}, {Node: "n3", PredictedMS: 20}}}
	}
	const want = `{"node":"n1","quorum_ms":0.5,"round_trips":[{"node":"n2","measured_ms":0.5,"p99_ms":1.5,"predicted_ms":0.25,"error":0.1,` +
		`"quorum_ms":0.75},{"node":"n3","predicted_ms":20}]}` + "\n"
	if rec := send(t, New(cfg), "GET", "/v1/rtt", ""); rec.Body.String() != want {
		t.Errorf("%s", rec.Body)
	}
}

// The lead is handed to whom the request says, and a node asked not to forward
// does not.
func TestTransferLead(t *testing.T) {
	for _, tc := range []struct {
		target, body string
		headers      []string
		to           string
		forward      bool
	}{
		{"/v1/leader:transfer", `{"to":"n2"}`, nil, "n2", true},
		{"/v1/groups/main/leader:transfer", `{}`, nil, "", true},
		{"/v1/leader:transfer", "", []string{"Prytany-Forward: ?1"}, "", true},
		{"/v1/leader:transfer", "", []string{"Prytany-Forward: ?0", "Idempotency-Key: k"}, "", false},
	} {
		cfg := config(newFake())
		cfg.Transfer = func(ctx context.Context, group, to string, forward bool) (api.HandedOver, error) {
			if _, bounded := ctx.Deadline(); group != "main" || to != tc.to || forward != tc.forward || !bounded {
				t.Errorf("%s %s: to %q, forward %v, bounded %v", tc.target, tc.body, to, forward, bounded)
			}
			return api.HandedOver{From: "n1", To: "n2", TookMS: 12.5}, nil
		}
		rec := send(t, New(cfg), "POST", tc.target, tc.body, tc.headers...)
		if rec.Code != 200 || rec.Body.String() != `{"from":"n1","to":"n2","took_ms":12.5}`+"\n" {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
	}
}

// The outcome of a hand-over is told as it is.
func TestTransferLeadFails(t *testing.T) {
	for _, tc := range []struct {
		err   error
		body  string
		want  string
		after string
	}{
		{&api.Problem{Code: api.CodeVoterUnknown}, `{"to":"n9"}`, "404 voter-unknown no false", ""},
		{&api.Problem{Code: api.CodeNoHeir}, "", "409 no-heir no true", "1"},
		{&api.Problem{Code: api.CodeHandingOver}, "", "409 handing-over no true", "1"},
		{&api.Problem{Code: api.CodeNoLeader}, "", "503 no-leader no true", "1"},
		{&api.Problem{Code: api.CodeOutcomeUnknown}, "", "504 outcome-unknown unknown false", ""},
		{&api.Problem{Code: api.CodeOutcomeUnknown}, `{"to":"n2"}`, "504 outcome-unknown unknown true", ""},
		{context.DeadlineExceeded, `{"to":"n2"}`, "504 outcome-unknown unknown true", ""},
		{errors.New("a bug"), "", "500 internal unknown false", ""},
	} {
		cfg := config(newFake())
		cfg.Transfer = func(context.Context, string, string, bool) (api.HandedOver, error) { return api.HandedOver{}, tc.err }
		rec := send(t, New(cfg), "POST", "/v1/leader:transfer", tc.body, "Idempotency-Key: k")
		p := problemIn(t, rec)
		if got := fmt.Sprint(p.Status, " ", p.Code, " ", p.Applied, " ", p.Retryable); got != tc.want || rec.Header().Get("Retry-After") != tc.after {
			t.Errorf("%v %s: %s, Retry-After %q", tc.err, tc.body, got, rec.Header().Get("Retry-After"))
		}
	}
	if p := problemIn(t, send(t, New(config(newFake())), "POST", "/v1/leader:transfer", "")); p.Code != api.CodeNoHeir {
		t.Errorf("%+v", p)
	}
	cfg := config(newFake())
	cfg.IsLeader = func(string) bool { return false }
	if p := problemIn(t, send(t, New(cfg), "POST", "/v1/leader:transfer", "", "Prytany-Forward: ?0")); p.Code != api.CodeNotLeader || p.Leader == "" {
		t.Errorf("%+v", p)
	}
}
