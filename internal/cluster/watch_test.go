package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// A stream is a watch under way.
type stream struct {
	a    apiTest
	path string
	sse  bool
	in   *bufio.Scanner
	last string // Last-Event-ID
}

// stream opens a watch that ends with the test.
func (a apiTest) stream(path, accept string, header ...string) *stream {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	a.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url()+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	for err == nil && resp.StatusCode == http.StatusServiceUnavailable { // until ctx ends
		_ = resp.Body.Close()
		time.Sleep(10 * time.Millisecond)
		resp, err = http.DefaultClient.Do(req)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != accept {
		a.t.Fatalf("GET %s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
	}
	return &stream{a: a, path: path, sse: accept == api.TypeSSE, in: bufio.NewScanner(resp.Body)}
}

// read returns the next event.
func (s *stream) read() (e api.Event) {
	s.a.t.Helper()
	event, id, data := "", "", ""
	for s.in.Scan() {
		line := s.in.Text()
		switch {
		case !s.sse:
			data = line
		case line != "":
			field, value, _ := strings.Cut(line, ": ")
			switch field {
			case "event":
				event = value
			case "id":
				id = value
			case "data":
				data += value
			}
			continue
		}
		if data == "" {
			continue
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			s.a.t.Fatalf("%s: %v: %s", s.path, err, data)
		}
		if s.sse && (event != e.Type || (id == "") != e.More || id != "" && id != strconv.FormatUint(e.Revision, 10)) {
			s.a.t.Fatalf("%s: message %s with id %q: %+v", s.path, event, id, e)
		}
		if id != "" {
			s.last = id
		}
		return e
	}
	s.a.t.Fatalf("%s: the stream ended: %v", s.path, s.in.Err())
	return e
}

// next returns the next event that is no bookmark, which must be of a type.
func (s *stream) next(kind string) api.Event {
	s.a.t.Helper()
	for {
		e := s.read()
		if e.Type == api.EventBookmark && kind != api.EventBookmark {
			continue
		}
		if e.Type != kind {
			s.a.t.Fatalf("%s: %+v; want %s", s.path, e, kind)
		}
		return e
	}
}

func testWatches(a apiTest) {
	for _, accept := range []string{api.TypeNDJSON, api.TypeSSE} {
		testWatch(a, accept, "watch/"+strings.ReplaceAll(accept, "/", "-")+"/")
	}
	a.do(200, "GET", "/v1/status", "", nil)
	p := a.fails(400, api.CodeInvalid, "GET", "/v1/watch/x?from=0", "")
	if p.Field != "from" {
		a.t.Errorf("refusal %+v", p)
	}
}

func testWatch(a apiTest, accept, prefix string) {
	s := a.stream("/v1/watch/"+prefix, accept)
	begin := s.next(api.EventBookmark)
	session := a.session("30s")
	a.do(201, "PUT", "/v1/config/"+prefix+"k", "v", nil)
	a.do(201, "PUT", "/v1/config/elsewhere/"+prefix, "v", nil)
	put := s.next(api.EventPut)
	if put.Name != prefix+"k" || put.Entry == nil || *put.Entry.Value != "v" || put.Revision <= begin.Revision {
		a.t.Errorf("put %+v", put)
	}
	fence := a.acquire(prefix+"l", session, "")
	if e := s.next(api.EventLock); e.Fence != fence || e.Session != session || e.Revision != fence {
		a.t.Errorf("lock %+v", e)
	}
	a.do(201, "PUT", "/v1/config/"+prefix+"attached", "v", nil, api.HeaderSession, session)
	s.next(api.EventPut)
	a.do(200, "PUT", "/v1/elections/"+prefix+"e", fmt.Sprintf(`{"session":%q,"value":"me"}`, session), nil)
	if e := s.next(api.EventLeader); e.Value != "me" {
		a.t.Errorf("leader %+v", e)
	}
	a.do(204, "DELETE", "/v1/config/"+prefix+"k", "", nil)
	deleted := s.next(api.EventDelete)

	// One revision's events come together: the end of the session.
	a.do(204, "DELETE", "/v1/sessions/"+session, "", nil)
	var kinds []string
	for {
		e := s.read()
		if e.Type == api.EventBookmark {
			continue
		}
		kinds = append(kinds, e.Type)
		if !e.More {
			break
		}
	}
	if fmt.Sprint(kinds) != "[expire unlock unlock]" {
		a.t.Errorf("the end of a session: %v", kinds)
	}

	// Another node goes on from any revision: nothing missing, nothing twice.
	again := a.stream(fmt.Sprintf("/v1/watch/%s?from=%d", prefix, put.Revision), accept)
	for _, kind := range []string{api.EventPut, api.EventLock, api.EventPut, api.EventLeader, api.EventDelete, api.EventExpire} {
		again.next(kind)
	}
	after := a.stream("/v1/watch/"+prefix, accept, api.HeaderLastEventID, strconv.FormatUint(deleted.Revision, 10))
	after.next(api.EventExpire)
	only := a.stream(fmt.Sprintf("/v1/watch/%s?from=%d&events=unlock,leader", prefix, put.Revision), accept)
	only.next(api.EventLeader)
	only.next(api.EventUnlock)
}
