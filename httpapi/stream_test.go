package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/locks/service"
)

// A message is one message of a text/event-stream.
type message struct{ id, event, data string }

// parseSSE reads a text/event-stream as the specification says, without a
// thought for who wrote it: lines end with CR, LF or both; a field's value loses
// one blank at its beginning; data may have many lines; a message without data
// is none; the id stays until there is another; what is not ended by an empty
// line is dropped.
func parseSSE(text string) (out []message) {
	text = strings.TrimPrefix(text, "\uFEFF")
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	var m message
	var data []string
	for {
		line, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return out
		}
		text = rest
		if line == "" {
			if len(data) > 0 {
				m.data = strings.Join(data, "\n")
				out = append(out, m)
			}
			m.event, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			if !strings.Contains(value, "\x00") {
				m.id = value
			}
		case "event":
			m.event = value
		case "data":
			data = append(data, value)
		}
	}
}

func TestParseSSE(t *testing.T) {
	got := parseSSE("\uFEFF: comment\nid: 1\nevent:put\ndata: a\ndata:  b\ndata\n\ndata: c\r\n\r\nid: 2\n\nretry: 5\ndata:d\r\rdata: cut")
	want := []message{{"1", "put", "a\n b\n"}, {"1", "", "c"}, {"2", "", "d"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

// everything is every type of event, with texts that would break a format
// that is not careful.
var everything = []locks.Change{
	{Revision: 51, Events: []locks.Event{
		{Type: locks.EventPut, Name: "a\nb", Entry: &locks.Entry{Key: "a\nb", Value: []byte("1\n\n2\r\ndata: 3\u2028"), ContentType: "text/plain", Revision: 51, Created: 51, Version: 1}},
		{Type: locks.EventPut, Name: "b", Entry: &locks.Entry{Key: "b", Value: []byte("\xff"), Revision: 51, Created: 40, Version: 2, Session: "s-1"}},
		{Type: locks.EventDelete, Name: "c"},
	}},
	{Revision: 53, Events: []locks.Event{{Type: locks.EventLock, Name: "nightly", Session: "s-1", Owner: "w\nid: 9", Fence: 53, Mode: locks.Shared}}},
	{Revision: 54, Events: []locks.Event{
		{Type: locks.EventUnlock, Name: "nightly", Session: "s-1", Owner: "w", Fence: 53, Reason: "forced: <stuck>"},
		{Type: locks.EventLeader, Name: "web", Session: "s-2", Owner: "x", Fence: 54, Value: "http://x?a&b"},
		{Type: locks.EventExpire, Name: "b"},
		{Type: locks.EventSession, Name: "s-1", Session: "s-1", Owner: "w", Reason: "expired"},
		{Type: locks.EventYield, Name: "web", Session: "s-2", Fence: 54, Within: 10 * time.Second, Reason: "deploy"},
	}},
}

// eventsOf decodes a stream of either format, and checks what the format adds.
func eventsOf(t *testing.T, contentType, body string) (out []api.Event) {
	t.Helper()
	decode := func(s string) api.Event {
		var e api.Event
		d := json.NewDecoder(strings.NewReader(s))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
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
	last := ""
	for _, m := range parseSSE(body) {
		e := decode(m.data)
		if !e.More {
			last = fmt.Sprint(e.Revision)
		}
		if m.event != e.Type || m.id != last {
			t.Errorf("message %+v, last id %s", m, last)
		}
		out = append(out, e)
	}
	return out
}

// A stream tells a bookmark, then everything in order, as the one format or the
// other; silence is a bookmark; it ends with why.
func TestWatch(t *testing.T) {
	for _, accept := range []string{api.TypeNDJSON, api.TypeSSE} {
		f := newFake()
		f.stream = &script{turns: []turn{
			{changes: everything[:1], upTo: 52},
			{upTo: 52},
			{changes: everything[1:], upTo: 54},
			{err: &locks.Error{Code: locks.Compacted, Current: 70, Detail: "too slow"}},
		}}
		rec := send(t, New(config(f)), "GET", "/v1/watch/", "", "Accept: "+accept)
		got := eventsOf(t, accept, rec.Body.String())
		var shape []string
		for _, e := range got {
			shape = append(shape, fmt.Sprint(e.Type, " ", e.Revision, map[bool]string{true: "+"}[e.More]))
		}
		const want = "bookmark 50,put 51+,put 51+,delete 51,bookmark 52,lock 53,unlock 54+,leader 54+,expire 54+,session 54+,yield 54,error 54"
		if strings.Join(shape, ",") != want {
			t.Fatalf("%s: %q\nwant %q", accept, shape, want)
		}
		one := "1\n\n2\r\ndata: 3\u2028"
		for i, want := range map[int]api.Event{
			1:  {Type: "put", Revision: 51, More: true, Name: "a\nb", Entry: &api.Entry{Key: "a\nb", Value: &one, ContentType: "text/plain", Revision: 51, CreatedRevision: 51, Version: 1}},
			5:  {Type: "lock", Revision: 53, Name: "nightly", Session: "s-1", Owner: "w\nid: 9", Fence: 53, Mode: "shared"},
			7:  {Type: "leader", Revision: 54, More: true, Name: "web", Session: "s-2", Owner: "x", Fence: 54, Value: "http://x?a&b"},
			9:  {Type: "session", Revision: 54, More: true, Name: "s-1", Session: "s-1", Owner: "w", Reason: "expired"},
			10: {Type: "yield", Revision: 54, Name: "web", Session: "s-2", Fence: 54, WithinMS: 10000, Reason: "deploy"},
		} {
			if !reflect.DeepEqual(got[i], want) {
				t.Errorf("%s: event %d: %+v\nwant %+v", accept, i, got[i], want)
			}
		}
		if p := got[11].Problem; p.Code != api.CodeCompacted || p.OldestRevision != 70 || p.Status != 410 || p.RequestID != rec.Header().Get(api.HeaderRequestID) {
			t.Errorf("%s: %+v", accept, p)
		}
		if f.stream.closed != 1 {
			t.Errorf("%s: closed %d times", accept, f.stream.closed)
		}
	}
}

// A stream begins where it was asked to.
func TestWatchBegins(t *testing.T) {
	for target, want := range map[string]string{"/v1/watch": "50", "/v1/watch?from=7": "6", "/v1/watch?from=1": "0"} {
		rec := send(t, New(config(filled())), "GET", target, "")
		if line, _, _ := strings.Cut(rec.Body.String(), "\n"); line != `{"type":"bookmark","revision":`+want+`}` {
			t.Errorf("%s: %s", target, rec.Body)
		}
	}
}

// Who follows an election is told first who leads, then what changes after the
// revision that was read.
func TestObserveElection(t *testing.T) {
	for _, tc := range []struct {
		set   func(f *fake)
		first string
	}{
		{func(*fake) {}, `{"type":"leader","revision":50,"name":"web","session":"s-14","owner":"web-2","fence":37,"value":"http://n2"}`},
		{func(f *fake) { f.lock.Holders[0].Elected = false }, `{"type":"unlock","revision":50,"name":"web"}`},
		{func(f *fake) { f.lock.Holders = nil }, `{"type":"unlock","revision":50,"name":"web"}`},
		{func(f *fake) { f.lockErr = &locks.Error{Code: locks.LockUnknown} }, `{"type":"unlock","revision":50,"name":"web"}`},
	} {
		f := filled()
		tc.set(f)
		f.stream.turns = append([]turn{{changes: everything[2:], upTo: 54}}, f.stream.turns...)
		rec := send(t, New(config(f)), "GET", "/v1/elections/web", "", "Accept: application/x-ndjson", "Last-Event-ID: 3")
		first, rest, _ := strings.Cut(rec.Body.String(), "\n")
		if first != tc.first || !strings.HasPrefix(rest, `{"type":"unlock","revision":54,`) || rec.Header().Get("ETag") != "" {
			t.Errorf("%v %s\nwant %s", rec.Header(), rec.Body, tc.first)
		}
		want := service.Watch{Prefix: "web", Exact: true, From: 51, Types: locks.EventSet(0).With(locks.EventLeader).With(locks.EventUnlock)}
		if f.count() != 2 || !reflect.DeepEqual(f.calls[1], want) {
			t.Errorf("%+v", f.calls)
		}
	}
	f := filled()
	f.lockErr = &locks.Error{Code: locks.NoLeader}
	if rec := send(t, New(config(f)), "GET", "/v1/elections/web", "", "Accept: text/event-stream"); problemIn(t, rec).Code != api.CodeNoLeader || f.count() != 1 {
		t.Errorf("%d %s, %+v", rec.Code, rec.Body, f.calls)
	}
}

// A stream outlives the time for a request, says how far it is, and ends with
// its client.
func TestStreamLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.stream = &script{idle: true}
		s := New(config(f))
		ctx, cancel := context.WithCancel(t.Context())
		rec := httptest.NewRecorder()
		done := make(chan struct{})
		go func() {
			s.ServeHTTP(rec, httptest.NewRequest("GET", "/v1/watch/a", nil).WithContext(ctx))
			close(done)
		}()
		time.Sleep(65 * time.Second)
		if n := s.rooms[classStream].taken.Load(); n != 1 || s.rooms[classNormal].taken.Load() != 0 {
			t.Errorf("%d streams are counted", n)
		}
		cancel()
		<-done
		if got := strings.Count(rec.Body.String(), "bookmark"); got != 7 || strings.Contains(rec.Body.String(), "error") || f.stream.closed != 1 {
			t.Errorf("%d bookmarks: %s", got, rec.Body)
		}
		if n := s.rooms[classStream].taken.Load(); n != 0 {
			t.Errorf("%d streams are still counted", n)
		}
	})
}

// The time for the reader runs only while something is being written.
func TestStreamClearsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		ctx, cancel := context.WithCancel(t.Context())
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		go New(config(f)).ServeHTTP(w, httptest.NewRequest("GET", "/v1/watch/a", nil).WithContext(ctx))
		synctest.Wait()
		if !w.write.IsZero() || w.writes < 3 || !w.Flushed || !strings.Contains(w.Body.String(), "bookmark") {
			t.Errorf("write deadline %v set %d times: %s", w.write, w.writes, w.Body)
		}
		cancel()
		synctest.Wait()
	})
}

// Streams and held keepalives have rooms of their own.
func TestRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.block = true
		cfg := config(f)
		cfg.MaxInFlight, cfg.MaxStreams, cfg.MaxHeld = 1, 2, 3
		s := New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		fill := func(n int, method, target string, headers ...string) {
			for range n {
				r := httptest.NewRequest(method, target, nil).WithContext(ctx)
				for _, h := range headers {
					name, value, _ := strings.Cut(h, ": ")
					r.Header.Set(name, value)
				}
				go s.ServeHTTP(httptest.NewRecorder(), r)
			}
			synctest.Wait()
		}
		fill(1, "GET", "/v1/locks/a")
		fill(1, "PUT", "/v1/sessions/a")
		fill(1, "GET", "/v1/watch/a")
		fill(1, "GET", "/v1/elections/a", "Accept: text/event-stream")
		fill(3, "PUT", "/v1/sessions/a?hold=5s")
		if f.count() != 7 {
			t.Errorf("%d calls", f.count())
		}
		if got, want := s.Open(), map[string]int{"normal": 1, "keepalive": 1, "stream": 2, "held": 3}; !maps.Equal(got, want) {
			t.Errorf("open are %v; want %v", got, want)
		}
		for target, limit := range map[string]string{"GET /v1/config/a": "1", "GET /v1/elections/a": "1", "PUT /v1/sessions/a": "1", "GET /v1/watch": "2", "PUT /v1/sessions/b?hold=5s": "3"} {
			method, target, _ := strings.Cut(target, " ")
			if p := problemIn(t, send(t, s, method, target, "")); p.Code != api.CodeOverloaded || p.Limit != limit || f.count() != 7 {
				t.Errorf("%s %s: %+v", method, target, p)
			}
		}
		cancel()
		synctest.Wait()
		for class, n := range s.Open() {
			if n != 0 {
				t.Errorf("%d requests of class %s are still counted when all have ended", n, class)
			}
		}
	})
}

// Over either protocol what happens arrives at once, and a node that goes down
// says so.
func TestStreamsOverTheWire(t *testing.T) {
	for major, set := range map[int]func(*http.Protocols){
		1: func(p *http.Protocols) { p.SetHTTP1(true) },
		2: func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		f := newFake()
		f.stream = &script{more: make(chan turn)}
		addr, srv, stop := serve(t, New(config(f)))
		tr := &http.Transport{Protocols: new(http.Protocols)}
		set(tr.Protocols)
		req, _ := http.NewRequest("GET", "http://"+addr+"/v1/watch/a", nil)
		req.Header.Set("Accept", api.TypeSSE)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != major || resp.StatusCode != 200 || resp.ContentLength != -1 {
			t.Errorf("%s %s, %d bytes", resp.Proto, resp.Status, resp.ContentLength)
		}
		body := bufio.NewReader(resp.Body)
		var all strings.Builder
		expect := func(event string) {
			t.Helper()
			for {
				line, err := body.ReadString('\n')
				if all.WriteString(line); err != nil {
					t.Fatalf("HTTP/%d: waiting for %s: %v after %s", major, event, err, &all)
				}
				if line == "event: "+event+"\n" {
					return
				}
			}
		}
		expect("bookmark")
		for i, event := range []string{"delete", "lock", "yield"} {
			f.stream.more <- turn{changes: everything[i : i+1], upTo: everything[i].Revision}
			expect(event) // before there is more
		}
		stop()
		expect(api.EventError)
		rest, err := io.ReadAll(body)
		if err != nil {
			t.Errorf("HTTP/%d: not ended as it should be: %v", major, err)
		}
		all.Write(rest)
		conforms(t, req, nil, 200, resp.Header, []byte(all.String()))
		events := eventsOf(t, api.TypeSSE, all.String())
		if e := events[len(events)-1]; e.Revision != 54 || e.Problem.Code != api.CodeStopping || !e.Problem.Retryable {
			t.Errorf("HTTP/%d: %+v", major, e)
		}
		if err := srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		tr.CloseIdleConnections()
	}
}

// A reader that takes nothing is cut off, and the stream closed; its answer does
// not look whole.
func TestSlowReaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.stream = &script{more: make(chan turn), gone: make(chan struct{})}
		cfg := config(f)
		cfg.StreamTimeout = 100 * time.Millisecond
		conn := piped(t, New(cfg))
		if _, err := io.WriteString(conn, "GET /v1/watch/a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		if err != nil || !strings.Contains(line, "bookmark") {
			t.Fatalf("%q, %v; want a bookmark", line, err)
		}
		time.Sleep(time.Hour) // nothing happens
		began := time.Now()
		e := locks.Event{Type: locks.EventPut, Name: "a", Entry: &locks.Entry{Key: "a", Value: []byte("v"), Revision: 51}}
		f.stream.more <- turn{changes: []locks.Change{{Revision: 51, Events: []locks.Event{e}}}, upTo: 51}
		<-f.stream.gone
		if took := time.Since(began); took != cfg.StreamTimeout {
			t.Errorf("cut off after %v; want %v", took, cfg.StreamTimeout)
		}
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("the answer looks whole after %d bytes", n)
		}
	})
}

// Held keepalives end when the node goes down, with something that may be sent
// again elsewhere.
func TestStopEndsHeldKeepalives(t *testing.T) {
	f := newFake()
	f.block = true
	ctx, cancel := context.WithCancelCause(t.Context())
	r := httptest.NewRequest("PUT", "/v1/sessions/s?hold=1m", nil).WithContext(ctx)
	cancel(errStopping)
	if p := problemIn(t, answerTo(t, New(config(f)), r)); p.Code != api.CodeStopping || !p.Retryable {
		t.Errorf("%+v", p)
	}
}
