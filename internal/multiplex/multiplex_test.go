package multiplex

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prytany/prytany/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// A world is a server on loopback whose connections share.
type world struct {
	*httptest.Server
	shared *Server
	stop   context.CancelCauseFunc // ends the contexts of all requests
}

func serve(t *testing.T, cfg ServerConfig) *world {
	t.Helper()
	w := &world{shared: NewServer(cfg)}
	base, stop := context.WithCancelCause(context.Background())
	w.Server = httptest.NewUnstartedServer(w.shared)
	w.Config.BaseContext = func(net.Listener) context.Context { return base }
	w.stop = stop
	w.Start()
	t.Cleanup(func() {
		stop(nil)
		w.shared.Close()
		w.shared.Shutdown(context.Background())
		w.Close()
	})
	return w
}

func (w *world) dial(t *testing.T) *Client {
	t.Helper()
	raw, err := net.Dial("tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(t.Context(), raw, w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// trust has c take no silence of its server for the end of it: a request that was broken
// off may have waited for any time on a slow machine.
func trust(c *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heardAt = time.Now().Add(time.Hour)
}

// raw speaks the protocol byte by byte.
func (w *world) raw(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", w.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn, upgraded(t, conn)
}

// upgraded has the server share conn, and reads what comes of it.
func upgraded(t *testing.T, conn net.Conn) *bufio.Reader {
	t.Helper()
	// The first frames may come with the question.
	_, _ = io.WriteString(conn, "GET "+Path+" HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v; want 101", resp, err)
	}
	return r
}

// A single is a listener with one connection.
type single chan net.Conn

func (s single) Accept() (net.Conn, error) {
	if c, ok := <-s; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (s single) Close() error   { return nil }
func (s single) Addr() net.Addr { return &net.TCPAddr{} }

// piped runs a server within a bubble, where time passes only while all wait, and speaks the
// protocol byte by byte over a connection that holds nothing: a write lasts until the other
// side has read it all.
func piped(t *testing.T, cfg ServerConfig) (*Server, net.Conn, *bufio.Reader) {
	t.Helper()
	shared := NewServer(cfg)
	conn, theirs := net.Pipe()
	ln := make(single, 1)
	ln <- theirs
	h := &http.Server{Handler: shared}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ln) }()
	t.Cleanup(func() {
		_ = conn.Close()
		shared.Shutdown(context.Background())
		close(ln)
		<-ended
		_ = h.Close()
	})
	return shared, conn, upgraded(t, conn)
}

func request(method, target string, fields ...string) []byte {
	b := appendString(appendString(nil, method), target)
	for _, f := range fields {
		b = appendString(b, f)
	}
	return b
}

// TestRequestIsWhole shows that a handler sees what it would see of HTTP, and a client
// what the handler has answered.
func TestRequestIsWhole(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		w.Header().Add("X-Two", "a")
		w.Header().Add("X-Two", "b")
		w.Header()["ETag"] = []string{`"7"`}
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("X-Late", "is not sent")
		_, _ = fmt.Fprintf(w, "%s %s %s %s %q %d %s %v %s %q", r.Method, r.URL.Path, r.URL.EscapedPath(), r.URL.RawQuery,
			r.Header["If-Match"], r.ContentLength, body, err, r.Host, r.RequestURI)
	})})
	c := w.dial(t)
	var told []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		WroteHeaderField: func(name string, values []string) { told = append(append(told, name), values...) },
		WroteRequest:     func(httptrace.WroteRequestInfo) { told = append(told, "all") },
	})
	rep, sent, err := c.Do(ctx, Request{
		Method: http.MethodPut, Target: "/v1/config/a%2Fb?x=1",
		Header: http.Header{"If-Match": {"1", "2"}}, Body: []byte("value"),
	})
	if err != nil || !sent {
		t.Fatal(sent, err)
	}
	want := fmt.Sprintf("PUT /v1/config/a/b /v1/config/a%%2Fb x=1 [%q %q] 5 value <nil> %s %q",
		"1", "2", w.Listener.Addr(), "/v1/config/a%2Fb?x=1")
	if string(rep.Body) != want || rep.Status != http.StatusTeapot {
		t.Errorf("%d %s; want 418 %s", rep.Status, rep.Body, want)
	}
	if want := []string{"If-Match", "1", "2", "all"}; !slices.Equal(told, want) {
		t.Errorf("who listened heard %q; want %q", told, want)
	}
	if h := rep.Header; !slices.Equal(h["X-Two"], []string{"a", "b"}) || h.Get("ETag") != `"7"` || h.Get("X-Late") != "" {
		t.Errorf("headers %q", h)
	}
}

// TestManyAtOnce has many ask at once, over one connection, in any order of answers.
func TestManyAtOnce(t *testing.T) {
	var reads atomic.Int64
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reads.Add(1)%3 == 0 {
			time.Sleep(time.Millisecond)
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(bytes.ToUpper(b))
	})})
	c := w.dial(t)
	var all sync.WaitGroup
	for g := range 64 {
		all.Go(func() {
			for i := range 50 {
				body := strings.Repeat(fmt.Sprintf("worker %d, request %d; ", g, i), 1+i%7*40)
				rep, _, err := c.Do(t.Context(), Request{Method: http.MethodPut, Target: "/x", Body: []byte(body)})
				if err != nil || string(rep.Body) != strings.ToUpper(body) {
					t.Errorf("%q, %v", rep.Body, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestBreakOff shows that who goes away is noticed by the handler, and by nobody else.
func TestBreakOff(t *testing.T) {
	waiting, broken := make(chan struct{}), make(chan error, 1)
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			close(waiting)
			<-r.Context().Done()
			broken <- r.Context().Err()
		}
	})})
	c := w.dial(t)
	trust(c)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-waiting; cancel() }()
	_, sent, err := c.Do(ctx, Request{Method: http.MethodGet, Target: "/wait"})
	if !errors.Is(err, context.Canceled) || !sent {
		t.Errorf("%v, sent %v; want it broken off, and sent", err, sent)
	}
	if err := <-broken; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler was told %v", err)
	}
	if rep, _, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}); err != nil || rep.Status != 200 {
		t.Errorf("after it: %v, %v", rep, err)
	}
}

// TestConnectionLost shows that requests under way end when the connection does, on
// both sides, and that nobody takes it for usable.
func TestConnectionLost(t *testing.T) {
	waiting, ended := make(chan struct{}), make(chan struct{})
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(waiting)
		<-r.Context().Done()
		close(ended)
	})})
	c := w.dial(t)
	go func() { <-waiting; _ = c.raw.Close() }()
	_, sent, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"})
	if !errors.Is(err, ErrOver) || !sent {
		t.Errorf("%v, sent %v; want ErrOver, and sent", err, sent)
	}
	<-ended
	if c.Room() || !c.Over() {
		t.Error("a lost connection has room")
	}
	if _, sent, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}); !errors.Is(err, ErrOver) || sent {
		t.Errorf("%v, sent %v; want ErrOver, and not sent", err, sent)
	}
}

var errDown = errors.New("going down")

// TestServerLeaves shows what a client hears when a node goes down: waits are broken off
// by the handler, who knows why; what is under way is answered; nothing more is taken.
func TestServerLeaves(t *testing.T) {
	waiting, slow := make(chan struct{}), make(chan struct{})
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		waiting <- struct{}{}
		if r.URL.Path == "/slow" {
			<-slow
			w.WriteHeader(http.StatusCreated)
			return
		}
		<-r.Context().Done()
		if context.Cause(r.Context()) == errDown {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})})
	c := w.dial(t)
	var all sync.WaitGroup
	for path, status := range map[string]int{"/slow": http.StatusCreated, "/wait": http.StatusServiceUnavailable} {
		all.Go(func() {
			rep, _, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: path})
			if err != nil || rep.Status != status {
				t.Errorf("%s: %v, %v; want %d", path, rep, err, status)
			}
		})
		<-waiting
	}
	w.stop(errDown)
	for !c.Over() { // it hears so while the slow one is under way
		time.Sleep(time.Millisecond)
	}
	if _, sent, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/more"}); !errors.Is(err, ErrOver) || sent {
		t.Errorf("%v, sent %v; want ErrOver, and not sent", err, sent)
	}
	close(slow)
	all.Wait()
	w.shared.Shutdown(t.Context()) // comes to an end by itself
}

// TestNotLookedAt shows that requests which the server did not take are known not to
// have been.
func TestNotLookedAt(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _ = there.Close() }()
	go func() {
		r := bufio.NewReader(there)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(there, "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n")
		for range 2 {
			if _, err := readFrame(r, MaxBody, func() {}); err != nil {
				return
			}
		}
		b := appendFrame(nil, kindGoAway, 1, nil, nil)
		b = appendFrame(b, kindReply, 1, appendString(nil, "204"), nil)
		_, _ = there.Write(b)
	}()
	c, err := NewClient(t.Context(), here, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all sync.WaitGroup
	var answered, untouched atomic.Int64
	for range 2 {
		all.Go(func() {
			switch rep, sent, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}); {
			case err == nil && rep.Status == http.StatusNoContent:
				answered.Add(1)
			case errors.Is(err, ErrOver) && !sent:
				untouched.Add(1)
			default:
				t.Errorf("%v, sent %v, %v", rep, sent, err)
			}
		})
	}
	all.Wait()
	if answered.Load() != 1 || untouched.Load() != 1 {
		t.Errorf("%d answered, %d untouched; want one of each", answered.Load(), untouched.Load())
	}
}

// TestHandlerFails shows that a handler that panics, or writes too much, spoils one
// request and no other.
func TestHandlerFails(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		case "/large":
			_, err := w.Write(make([]byte, MaxReply))
			if err == nil {
				_, err = w.Write([]byte("x"))
			}
			if err == nil {
				t.Error("nobody tells the handler")
			}
		}
	})})
	c := w.dial(t)
	for path, want := range map[string]error{"/panic": ErrAborted, "/large": ErrLarge} {
		if _, sent, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: path}); !errors.Is(err, want) || !sent {
			t.Errorf("%s: %v, sent %v; want %v, and sent", path, err, sent, want)
		}
	}
	if rep, _, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}); err != nil || rep.Status != 200 {
		t.Errorf("after them: %v, %v", rep, err)
	}
}

// TestTooLargeToSend shows that a client does not send what the server would not take.
func TestTooLargeToSend(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.NotFoundHandler()})
	c := w.dial(t)
	for _, r := range []Request{
		{Method: http.MethodPut, Target: "/", Body: make([]byte, MaxBody+1)},
		{Method: http.MethodGet, Target: "/" + strings.Repeat("x", maxHead)},
	} {
		if _, sent, err := c.Do(t.Context(), r); err == nil || sent {
			t.Errorf("%v, sent %v; want an error, and not sent", err, sent)
		}
	}
	if !c.Room() {
		t.Error("the connection is spoilt")
	}
}

// TestBadFrames shows that the server ends a connection whose client does not keep to
// the protocol, and answers 400 to a frame that is no request of HTTP.
func TestBadFrames(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler was called") })})
	for name, b := range map[string][]byte{
		"unknown kind":   appendFrame(nil, 9, 1, nil, nil),
		"a reply":        appendFrame(nil, kindReply, 1, appendString(nil, "200"), nil),
		"large head":     append(appendFrame(nil, kindRequest, 1, nil, nil)[:2], 0xff, 0xff, 0xff, 0x7f, 0),
		"large body":     append(appendFrame(nil, kindRequest, 1, nil, nil)[:2], 0, 0xff, 0xff, 0xff, 0x7f),
		"endless number": bytes.Repeat([]byte{0xff}, 40),
		"id 0":           appendFrame(nil, kindRequest, 0, request("GET", "/"), nil),
	} {
		conn, r := w.raw(t)
		_, _ = conn.Write(b)
		if got, err := io.ReadAll(r); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") || len(got) > 0 {
			t.Errorf("%s: %q, %v; want the end", name, got, err)
		}
	}
	for name, head := range map[string][]byte{
		"nothing":         nil,
		"no target":       appendString(nil, "GET"),
		"odd method":      request("G T", "/"),
		"no path":         request("GET", "x"),
		"bad escape":      request("GET", "/%zz"),
		"half a field":    request("GET", "/", "A"),
		"odd field name":  request("GET", "/", "A b", "c"),
		"odd field value": request("GET", "/", "A", "b\nc"),
		"string too long": append(appendString(nil, "GET"), 9, '/'),
		"number too long": append(appendString(nil, "GET"), 0xff, 0xff, 0xff, 0xff),
		"CONNECT":         request("CONNECT", "x:1"),
	} {
		conn, r := w.raw(t)
		_, _ = conn.Write(appendFrame(nil, kindRequest, 1, head, nil))
		f, err := readFrame(r, MaxReply, func() {})
		h := headOf(f)
		if status := h.status(); err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: %d, %v; want 400", name, status, err)
		}
	}
}

func headOf(f frame) *head { return &head{rest: f.head} }

// TestTooManyOpen shows that the number of requests under way is bounded.
func TestTooManyOpen(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
	conn, r := w.raw(t)
	var b []byte
	for i := range 2*MaxOpen + 1 {
		b = appendFrame(b, kindRequest, uint64(i+1), request("GET", "/"), nil)
	}
	_, _ = conn.Write(b)
	if _, err := io.ReadAll(r); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v; want the end", err)
	}
	c := w.dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range MaxOpen {
		all.Go(func() { _, _, _ = c.Do(ctx, Request{Method: http.MethodGet, Target: "/"}) })
	}
	for c.Room() {
		time.Sleep(time.Millisecond)
	}
	if _, sent, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}); !errors.Is(err, ErrOver) || sent {
		t.Errorf("%v, sent %v; want ErrOver, and not sent", err, sent)
	}
	cancel()
	all.Wait()
}

// TestSlowClients shows that a frame that does not come to its end, a client that takes
// no answers and one that asks nothing are given up, each when its time is over.
func TestSlowClients(t *testing.T) {
	const soon, idle = 50 * time.Millisecond, time.Second
	for _, tt := range []struct {
		name string
		send []byte
		want time.Duration
	}{
		{"nothing", nil, idle},
		{"half a frame", appendFrame(nil, kindRequest, 1, request("GET", "/"), nil)[:5], soon},
		{"half a body", appendFrame(nil, kindRequest, 1, request("PUT", "/"), []byte("body"))[:12], soon},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, conn, r := piped(t, ServerConfig{
					IOTimeout: soon, IdleTimeout: idle,
					Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a handler was called") }),
				})
				_, _ = conn.Write(tt.send)
				began := time.Now()
				if _, err := io.ReadAll(r); err != nil || time.Since(began) != tt.want {
					t.Errorf("%v after %v; want the end after %v", err, time.Since(began), tt.want)
				}
			})
		})
	}
	t.Run("no answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var made atomic.Int64
			shared, conn, _ := piped(t, ServerConfig{
				IOTimeout: soon, IdleTimeout: time.Hour,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, err := w.Write(make([]byte, MaxReply)); err == nil && r.Context().Err() == nil {
						made.Add(1)
					}
				}),
			})
			var b []byte
			for i := range 64 {
				b = appendFrame(b, kindRequest, uint64(i+1), request("GET", "/"), nil)
			}
			_, _ = conn.Write(b) // and reads nothing
			began := time.Now()
			shared.Shutdown(t.Context())
			if took := time.Since(began); took != soon {
				t.Errorf("a client that reads nothing was kept for %v; want %v", took, soon)
			}
			if n := made.Load(); n == 0 || n > 2*maxQueued/MaxReply {
				t.Errorf("%d answers of 1 MiB were made for it", n)
			}
		})
	})
}

// TestPlain shows how a client learns that a server knows nothing of all this.
func TestPlain(t *testing.T) {
	for name, h := range map[string]http.Handler{
		"another path": http.NotFoundHandler(),
		"another upgrade": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(400)
		}),
	} {
		srv := httptest.NewServer(h)
		raw, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := NewClient(t.Context(), raw, "x"); !errors.Is(err, ErrPlain) {
			t.Errorf("%s: %v; want ErrPlain", name, err)
		}
		srv.Close()
	}
	// One that says nothing is not waited for for ever.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := NewClient(ctx, raw, "x"); err == nil || errors.Is(err, ErrPlain) {
		t.Errorf("%v; want another error", err)
	}
}

// TestOthersGoOn shows that a server answers requests of plain HTTP too, at the same
// path as well.
func TestOthersGoOn(t *testing.T) {
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	for _, path := range []string{"/", Path} {
		resp, err := http.Get(w.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(b) != path {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestRetire shows that a connection which is given up lets end what is under way.
func TestRetire(t *testing.T) {
	waiting, go1 := make(chan struct{}), make(chan struct{})
	w := serve(t, ServerConfig{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(waiting); <-go1 })})
	c := w.dial(t)
	var all sync.WaitGroup
	all.Go(func() {
		if rep, _, err := c.Do(t.Context(), Request{Method: http.MethodGet, Target: "/"}); err != nil || rep.Status != 200 {
			t.Errorf("%v, %v", rep, err)
		}
	})
	<-waiting
	c.Retire()
	if c.Room() {
		t.Error("it takes more")
	}
	close(go1)
	all.Wait()
	<-c.gone
}

// FuzzHead holds heads to what they say: what is read is what was written.
func FuzzHead(f *testing.F) {
	f.Add(request("GET", "/v1/config/a", "If-Match", `"1"`, "Accept", "a", "Accept", "b"))
	f.Add([]byte{3, 'G', 'E', 'T', 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		h := head{rest: string(b)}
		method, target := h.next(), h.next()
		fields := h.header()
		if h.bad {
			return
		}
		again := head{rest: string(appendHeader(appendString(appendString(nil, method), target), fields))}
		m2, t2 := again.next(), again.next()
		same := again.header()
		if again.bad || m2 != method || t2 != target || len(same) != len(fields) {
			t.Fatalf("%q %q %q became %q %q %q", method, target, fields, m2, t2, same)
		}
		for name, values := range fields {
			if !slices.Equal(values, same[name]) {
				t.Errorf("%q: %q became %q", name, values, same[name])
			}
			if !fieldName(name) {
				t.Errorf("field %q", name)
			}
		}
	})
}

// FuzzFrames sends a server anything: it answers, or ends the connection.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, kindRequest, 1, request("PUT", "/"), []byte("x")), kindCancel, 1, nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), maxHead)
		for {
			before := 0
			fr, err := readFrame(r, MaxBody, func() { before++ })
			if err != nil {
				return
			}
			if fr.kind < kindRequest || fr.kind > kindGoAway || len(fr.body) > MaxBody || len(fr.head) > maxHead {
				t.Fatalf("%+v", fr)
			}
			x := exchange{c: &conn{s: NewServer(ServerConfig{})}, ctx: t.Context(), frame: fr}
			if req := x.request(); req != nil && (req.URL.Path == "" || req.RequestURI[0] != '/') {
				t.Fatalf("%+v", req)
			}
		}
	})
}

// crowd has n goroutines do b.N times something together.
func crowd(b *testing.B, n int, do func() error) {
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// BenchmarkDo is one small request and its answer over loopback, with so many at once.
func BenchmarkDo(b *testing.B) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = io.WriteString(w, `{"key":"a","revision":1}`)
	})
	shared := NewServer(ServerConfig{Handler: h})
	srv := httptest.NewServer(shared)
	defer srv.Close()
	defer shared.Close()
	body := make([]byte, 256)
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d at once", n), func(b *testing.B) {
			raw, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c, err := NewClient(b.Context(), raw, "x")
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			crowd(b, n, func() error {
				_, _, err := c.Do(b.Context(), Request{Method: http.MethodPut, Target: "/v1/config/a", Body: body})
				return err
			})
		})
		b.Run(fmt.Sprintf("%d at once by net/http", n), func(b *testing.B) {
			hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
			defer hc.CloseIdleConnections()
			crowd(b, n, func() error {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodPut, srv.URL+"/v1/config/a", bytes.NewReader(body))
				if err != nil {
					return err
				}
				resp, err := hc.Do(req)
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				return resp.Body.Close()
			})
		})
	}
}
