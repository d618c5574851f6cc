package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/api"
)

// serve runs s on a real socket. stop is its server's.
func serve(t *testing.T, s *Server) (addr string, srv *http.Server, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, stop = s.NewHTTPServer()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	t.Cleanup(func() {
		stop()
		_ = srv.Close()
		<-ended
	})
	return ln.Addr().String(), srv, stop
}

// piped runs s within a bubble, and returns a connection to it. That holds nothing: a write
// lasts until the other side has read it all.
func piped(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, theirs := net.Pipe()
	p := pen{make(chan net.Conn, 1)}
	p.conns <- theirs
	srv, stop := s.NewHTTPServer()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(p) }()
	t.Cleanup(func() {
		_ = conn.Close()
		close(p.conns)
		<-ended
		stop()
		_ = srv.Close()
	})
	return conn
}

// exchange sends text as it is, closes its half of the connection if half, and
// returns the reply.
func exchange(t *testing.T, addr, text string, half bool) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return converse(t, conn, text, half)
}

// converse does so over conn.
func converse(t *testing.T, conn net.Conn, text string, half bool) *http.Response {
	t.Helper()
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	if half {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	took(t, text, resp)
	return resp
}

// took holds resp, the reply to text, to the document. What net/http refuses by
// itself is none of ours.
func took(t *testing.T, text string, resp *http.Response) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil || resp.Header.Get(api.HeaderRequestID) == "" {
		return
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	conforms(t, r, nil, resp.StatusCode, resp.Header, body)
}

// A body that ends early, is longer than it said or comes in bad chunks never
// becomes a value.
func TestBrokenBodies(t *testing.T) {
	f := newFake()
	addr, _, _ := serve(t, New(config(f)))
	for text, want := range map[string]int{
		"PUT /v1/config/a HTTP/1.1\nHost: x\nContent-Length: 10\n\nshort":                                                      400,
		"PUT /v1/config/a HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nshort\n":                                         400,
		"PUT /v1/config/a HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nzz\nshort\n":                                        400,
		"PUT /v1/config/a HTTP/1.1\nHost: x\nContent-Length: 300000\n\n":                                                       413,
		"PUT /v1/config/a HTTP/1.1\nHost: x\nContent-Length: 5\nContent-Length: 6\n\nshort":                                    400,
		"GET /v1/config/a HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nshort\n0\n\n":                                    400,
		"PUT /v1/locks/a HTTP/1.1\nHost: x\nContent-Length: 14\n\n{\"ttl\":\"15s\"}":                                           400,
		"PUT /v1/config/a HTTP/1.1\nHost: x\nX: " + strings.Repeat("x", 64<<10) + "\n\n":                                       431,
		"PUT /v1/config/a%zz HTTP/1.1\nHost: x\n\n":                                                                            400,
		"PUT /v1/config/" + strings.Repeat("%41", 513) + " HTTP/1.1\nHost: x\nContent-Length: 0\n\n":                           400,
		"OPTIONS * HTTP/1.1\nHost: x\n\n":                                                                                      404,
		"CONNECT a.example:80 HTTP/1.1\nHost: x\n\n":                                                                           404,
		"POST /v1/sessions HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: 99999999\n\n":                              413,
		"GET http://user:pw@other.example/v1/kv HTTP/1.1\nHost: x\n\n":                                                         404,
		"PUT /v1/config/a HTTP/1.1\nHost: x\nContent-Encoding: br\nContent-Length: 5\n\nshort":                                 415,
		"PUT /v1/config/a HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n50000\n" + strings.Repeat("v", 0x50000) + "\n0\n\n": 413,
	} {
		if resp := exchange(t, addr, text, true); resp.StatusCode != want {
			body, _ := io.ReadAll(resp.Body)
			t.Errorf("%.90q: %d, want %d: %s", text, resp.StatusCode, want, body)
		}
	}
	if f.count() != 0 {
		t.Errorf("calls: %+v", f.calls)
	}
}

// A client that does not send the body it has announced is cut off in time,
// whether anybody wants that body or not.
func TestSlowBody(t *testing.T) {
	for path, want := range map[string]int{"/v1/config/a": 408, "/nothing": 404, "/v1/config/a?b": 400} {
		synctest.Test(t, func(t *testing.T) {
			cfg := config(newFake())
			cfg.IOTimeout = 300 * time.Millisecond
			conn := piped(t, New(cfg))
			began := time.Now()
			resp := converse(t, conn, "PUT "+path+" HTTP/1.1\nHost: x\nContent-Length: 10\n\nshort", false)
			if took := time.Since(began); resp.StatusCode != want || took != cfg.IOTimeout {
				t.Errorf("%s: %d after %v, want %d after %v", path, resp.StatusCode, took, want, cfg.IOTimeout)
			}
		})
	}
}

// A body that came in time does not hurry what follows on its connection.
func TestDeadlinesAreCleared(t *testing.T) {
	cfg := config(filled())
	s := New(cfg)
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	ask(t, s, w, w.ResponseRecorder, httptest.NewRequest("PUT", "/v1/config/a", strings.NewReader("v")))
	if w.Code != 200 || !w.read.IsZero() || w.reads != 2 || w.write.IsZero() || w.writes != 1 {
		t.Errorf("%d: read deadline %v set %d times, write deadline %v set %d times", w.Code, w.read, w.reads, w.write, w.writes)
	}
}

// deadlines notes which deadlines are set.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write   time.Time
	reads, writes int
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.read, d.reads = t, d.reads+1; return nil }
func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write, d.writes = t, d.writes+1
	return nil
}

// At shutdown a long poll ends at once, and says why; a change that is still
// under way is not called a failure.
func TestStopEndsRequests(t *testing.T) {
	f := newFake()
	f.block = true
	addr, srv, stop := serve(t, New(config(f)))
	type end struct {
		method string
		body   string
		status int
	}
	ends := make(chan end, 2)
	for _, method := range []string{"GET", "PUT"} {
		go func() {
			req, _ := http.NewRequest(method, "http://"+addr+"/v1/locks/a?wait=5m", nil)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				ends <- end{method, err.Error(), 0}
				return
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			conforms(t, req, nil, resp.StatusCode, resp.Header, body)
			ends <- end{method, string(body), resp.StatusCode}
		}()
	}
	for f.count() < 2 {
		time.Sleep(time.Millisecond) // real sockets: nothing to wait on
	}
	stop()
	for range 2 {
		e := <-ends
		want, code := 503, api.CodeStopping
		if e.method == "PUT" {
			want, code = 504, api.CodeOutcomeUnknown
		}
		if e.status != want || !strings.Contains(e.body, string(code)) {
			t.Errorf("%s: %d %s", e.method, e.status, e.body)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// A change that does not wait for others is not broken off at shutdown.
func TestStopLetsChangesEnd(t *testing.T) {
	f := filled()
	f.block, f.free = true, make(chan struct{})
	addr, srv, stop := serve(t, New(config(f)))
	ended := make(chan string, 1)
	go func() {
		req, _ := http.NewRequest("PUT", "http://"+addr+"/v1/config/a", strings.NewReader("x"))
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			ended <- err.Error()
			return
		}
		_ = resp.Body.Close()
		ended <- resp.Status
	}()
	for f.count() < 1 {
		time.Sleep(time.Millisecond) // real sockets: nothing to wait on
	}
	stop()
	select {
	case got := <-ended:
		t.Fatalf("broken off: %s", got)
	case <-time.After(100 * time.Millisecond):
	}
	close(f.free)
	if got := <-ended; !strings.HasPrefix(got, "20") {
		t.Errorf("got %s", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// A long poll that is broken off with nothing new says so, even if the service
// answers with what it has.
func TestStopIsNotUnchanged(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStopping)
	for target, want := range map[string]int{"/v1/config/a?wait=1m": 503, "/v1/locks/a?wait=1m": 503, "/v1/config/a": 304} {
		r := httptest.NewRequest("GET", target, nil).WithContext(ctx)
		r.Header.Set("If-None-Match", `"42", "37"`)
		if want == 503 {
			r.Header.Set("If-None-Match", map[bool]string{true: `"42"`, false: `"37"`}[strings.Contains(target, "config")])
		}
		rec := answerTo(t, New(config(filled())), r)
		if rec.Code != want {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Body)
		}
	}
}

func TestBothProtocols(t *testing.T) {
	f := filled()
	addr, srv, _ := serve(t, New(config(f)))
	if srv.WriteTimeout != 0 || srv.ReadHeaderTimeout == 0 || srv.IdleTimeout == 0 || srv.MaxHeaderBytes == 0 {
		t.Errorf("timeouts: %+v", srv)
	}
	for major, set := range map[int]func(*http.Protocols){
		1: func(p *http.Protocols) { p.SetHTTP1(true) },
		2: func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		tr := &http.Transport{Protocols: new(http.Protocols)}
		set(tr.Protocols)
		for range 2 {
			req, _ := http.NewRequest("PUT", "http://"+addr+"/v1/config/a//b", strings.NewReader("v"))
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			conforms(t, req, []byte("v"), resp.StatusCode, resp.Header, body)
			if resp.StatusCode != 200 || resp.ProtoMajor != major || resp.Header.Get("ETag") != `"42"` {
				t.Errorf("HTTP/%d: %s %s %s", major, resp.Proto, resp.Status, body)
			}
		}
		tr.CloseIdleConnections()
	}
}

// A late is a body that comes after a while.
type late struct{ left, read int }

func (b *late) Read(p []byte) (int, error) {
	if b.read == b.left {
		return 0, io.EOF
	}
	if b.read == 0 {
		time.Sleep(20 * time.Millisecond)
	}
	n := min(len(p), b.left-b.read)
	b.read += n
	return n, nil
}

// Over HTTP/2 too a refusal comes after the body that it is about: a client that
// is still sending it would miss the reply.
func TestRefusalWaitsForTheBody(t *testing.T) {
	addr, _, _ := serve(t, New(config(newFake())))
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	for target, want := range map[string]int{"/v1/config/a?b": 400, "/nothing": 404, "/v1/config/a": 413} {
		body := &late{left: 300_000}
		req, _ := http.NewRequest("PUT", "http://"+addr+target, body)
		req.ContentLength = int64(body.left)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || body.read != body.left {
			t.Errorf("%s: %s after %d of %d bytes", target, resp.Status, body.read, body.left)
		}
	}
}

// A call of the service ends: Timeout after what was asked for.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.block = true
		s := New(config(f))
		for target, want := range map[string]time.Duration{"/v1/config/a": 15 * time.Second, "/v1/config/a?wait=1m": 75 * time.Second} {
			began := time.Now()
			if p := problemIn(t, send(t, s, "GET", target, "")); p.Code != api.CodeNoLeader {
				t.Errorf("%s: %+v", target, p)
			}
			if took := time.Since(began); took != want {
				t.Errorf("%s: ended after %v, want %v", target, took, want)
			}
		}
	})
}

// When waiters fill the node, others are told so, and keepalives and probes
// still get through.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.block = true
		cfg := config(f)
		cfg.MaxInFlight = 3
		s := New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for i := range 3 {
			r := httptest.NewRequest("GET", fmt.Sprintf("/v1/locks/%d?wait=1m", i), nil).WithContext(ctx)
			go s.ServeHTTP(httptest.NewRecorder(), r)
		}
		synctest.Wait()
		p := problemIn(t, send(t, s, "GET", "/v1/locks/a", ""))
		if p.Code != api.CodeOverloaded || p.Limit != "3" || !p.Retryable || f.count() != 3 {
			t.Errorf("%+v", p)
		}
		f.mu.Lock()
		f.block = false
		f.mu.Unlock()
		if rec := send(t, s, "PUT", "/v1/sessions/s", ""); rec.Code != 200 {
			t.Errorf("keepalive: %s", rec.Body)
		}
		if rec := send(t, s, "GET", "/livez", ""); rec.Code != 200 {
			t.Errorf("livez: %s", rec.Body)
		}
		cancel()
		synctest.Wait()
		if rec := send(t, s, "GET", "/v1/locks/a", ""); rec.Code != 200 {
			t.Errorf("afterwards: %s", rec.Body)
		}
	})
}

func TestObserve(t *testing.T) {
	cfg := config(filled())
	var got []string
	cfg.Observe = func(route string, status int, _ time.Duration) { got = append(got, fmt.Sprint(status, " ", route)) }
	s := New(cfg)
	for _, target := range []string{"/v1/locks/secret", "/v1/groups/main/locks/secret", "/v1/groups/nope/locks/secret", "/secret", "/livez"} {
		send(t, s, "GET", target, "")
	}
	want := "200 /v1/locks/{name}|200 /v1/locks/{name}|404 /v1/locks/{name}|404 none|200 /livez"
	if strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
}
