package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/prytany/prytany/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a node that speaks HTTP/2 without TLS, and returns its URL.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 100}
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// fast is a Relay whose times suit tests.
func fast(t *testing.T) *Relay {
	r := New(Config{Dial: 500 * time.Millisecond, Patience: 400 * time.Millisecond, Ping: 250 * time.Millisecond, Pong: time.Second, Idle: time.Second})
	t.Cleanup(r.CloseIdle)
	return r
}

// nobody is the URL of a node that is not there.
func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// deaf is the URL of a node whose kernel takes connections, and which does nothing, as
// one that was stopped.
func deaf(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String()
}

// breaking is the URL of a node that takes requests and then drops the connection.
func breaking(t *testing.T) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
}

// saying is the URL of a node that answers with a status and a body.
func saying(t *testing.T, status int, text string) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
}

func refusal(code api.Code, applied api.Applied) string {
	return fmt.Sprintf(`{"code":%q,"applied":%q}`, code, applied)
}

func request(method, target, body string) Request {
	u, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	return Request{Method: method, URL: u, Header: http.Header{"Idempotency-Key": {"k"}}, Body: []byte(body)}
}

// within bounds a test, and fails it if it takes that long.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// What was sent arrives, byte by byte, and what was answered comes back.
func TestPassesOn(t *testing.T) {
	body := strings.Repeat("x\x00", 1<<20)
	node := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		if r.ProtoMajor != 2 || r.Method != "PUT" || r.URL.EscapedPath() != "/v1/groups/g/config/a//..%2Fb%3F" || r.URL.RawQuery != "x=%zz&wait=1s" ||
			string(got) != body || r.ContentLength != int64(len(body)) || r.Header.Get("Prytany-Guard") != "a;fence=1" || r.Host == "" {
			t.Errorf("%s %s %s: %d bytes, %v", r.Proto, r.Method, r.URL, len(got), r.Header)
		}
		w.Header().Set("ETag", `"41"`)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(got)
	})
	q := request("PUT", "/v1/groups/g/config/a//..%2Fb%3F?wait=1s", body)
	q.URL.RawQuery = "x=%zz&wait=1s"
	q.Header.Set("Prytany-Guard", "a;fence=1")
	for range 2 {
		resp, err := fast(t).Do(within(t, 10*time.Second), []string{node}, q)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 201 || resp.Header.Get("ETag") != `"41"` || string(got) != body {
			t.Errorf("%d %v: %d bytes, %v", resp.StatusCode, resp.Header, len(got), err)
		}
		resp.Body.Close()
	}
}

// Who cannot answer is passed over, whatever is wrong with it.
func TestGoesOnToTheNext(t *testing.T) {
	for name, first := range map[string]func(t *testing.T) string{
		"nobody there":       nobody,
		"deaf":               deaf,
		"breaks":             breaking,
		"no URL":             func(*testing.T) string { return "http://a b" },
		"no host":            func(*testing.T) string { return "n2" },
		"not a member":       func(t *testing.T) string { return saying(t, 421, refusal(api.CodeNotMember, api.AppliedNo)) },
		"no leader":          func(t *testing.T) string { return saying(t, 503, refusal(api.CodeNoLeader, api.AppliedNo)) },
		"of another program": func(t *testing.T) string { return saying(t, 503, "<html>") },
		"claims too much":    func(t *testing.T) string { return saying(t, 503, refusal(api.CodeNoLeader, api.AppliedUnknown)) },
		"hangs in the head": func(t *testing.T) string {
			return serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
	} {
		for _, method := range []string{"GET", "PUT", "HEAD"} {
			t.Run(name+" "+method, func(t *testing.T) {
				got := make(chan string, 8)
				second := serve(t, func(w http.ResponseWriter, r *http.Request) {
					text, _ := io.ReadAll(r.Body)
					got <- string(text)
					w.Header().Set("X-Key", r.Header.Get("Idempotency-Key"))
				})
				q := request(method, "/", "")
				if method == "PUT" {
					q.Body = []byte("value")
				}
				began := time.Now()
				resp, err := fast(t).Do(within(t, 10*time.Second), []string{first(t), second}, q)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 200 || resp.Header.Get("X-Key") != "k" || <-got != string(q.Body) {
					t.Errorf("%d %v", resp.StatusCode, resp.Header)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

// Whoever refuses for a reason of the request has answered.
func TestAnswersStand(t *testing.T) {
	for _, status := range []int{200, 204, 304, 400, 404, 409, 412, 422, 500, 504} {
		resp, err := fast(t).Do(within(t, 10*time.Second), []string{saying(t, status, ""), breaking(t)}, request("PUT", "/", "v"))
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != status {
			t.Errorf("%d, want %d", resp.StatusCode, status)
		}
	}
}

// What is said when nobody answers depends on whether anybody may have acted.
func TestNobodyAnswers(t *testing.T) {
	noLeader := refusal(api.CodeNoLeader, api.AppliedNo)
	no := func(t *testing.T) string { return saying(t, 503, noLeader) }
	vague := func(t *testing.T) string { return saying(t, 503, refusal(api.CodeNoLeader, api.AppliedUnknown)) }
	stranger := func(t *testing.T) string { return saying(t, 421, refusal(api.CodeNotMember, api.AppliedNo)) }
	for name, tc := range map[string]struct {
		nodes  []func(t *testing.T) string
		once   bool
		status int // of the answer; 0: an error
		sent   bool
		is     error
	}{
		"nobody there":                   {nodes: []func(t *testing.T) string{nobody, nobody}},
		"all refuse":                     {nodes: []func(t *testing.T) string{no, no}, status: 503},
		"some refuse":                    {nodes: []func(t *testing.T) string{nobody, no, stranger}, status: 503},
		"no members":                     {nodes: []func(t *testing.T) string{stranger, stranger}, is: ErrNotMembers},
		"one breaks":                     {nodes: []func(t *testing.T) string{breaking}, sent: true},
		"one breaks, the others refuse":  {nodes: []func(t *testing.T) string{breaking, no, stranger}, sent: true},
		"one refuses, the other breaks":  {nodes: []func(t *testing.T) string{no, breaking}, sent: true},
		"one knows not, others refuse":   {nodes: []func(t *testing.T) string{vague, no}, sent: true},
		"once, all refuse":               {nodes: []func(t *testing.T) string{nobody, no}, once: true, status: 503},
		"once, one breaks, one would do": {nodes: []func(t *testing.T) string{breaking, func(t *testing.T) string { return saying(t, 200, "") }}, once: true, sent: true},
		"once, after one who cannot":     {nodes: []func(t *testing.T) string{no, nobody, func(t *testing.T) string { return saying(t, 200, "") }}, once: true, status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			var nodes []string
			for _, f := range tc.nodes {
				nodes = append(nodes, f(t))
			}
			q := request("PUT", "/", "v")
			if q.Once = tc.once; tc.once {
				q.Header.Del("Idempotency-Key")
			}
			resp, err := fast(t).Do(within(t, 10*time.Second), nodes, q)
			if tc.status != 0 {
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != tc.status || tc.status == 503 && string(text) != noLeader {
					t.Errorf("%d %s", resp.StatusCode, text)
				}
				return
			}
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Sent != tc.sent || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v, %v", resp, err)
			}
		})
	}
}

// A node that needs longer than the others' patience gets it, in a later round.
func TestPatienceGrows(t *testing.T) {
	var asked atomic.Int64
	slow := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
		}
	}
	resp, err := fast(t).Do(within(t, 10*time.Second), []string{serve(t, slow), deaf(t), serve(t, slow)}, request("PUT", "/", "v"))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 200 || asked.Load() < 3 {
		t.Errorf("%d after %d tries", resp.StatusCode, asked.Load())
	}
}

// The wait that was asked for is granted; a node that was stopped is found out by its
// silence all the same, long before that.
func TestWaits(t *testing.T) {
	r := fast(t)
	var held atomic.Int64
	holding := serve(t, func(w http.ResponseWriter, q *http.Request) {
		held.Add(1)
		time.Sleep(time.Second)
	})
	q := request("PUT", "/", "")
	q.Wait = 3 * time.Second
	resp, err := r.Do(within(t, 10*time.Second), []string{holding, nobody(t)}, q)
	if err != nil || held.Load() != 1 {
		t.Fatalf("%v, asked %d times", err, held.Load())
	}
	resp.Body.Close()

	q.Wait = time.Hour
	began := time.Now()
	if resp, err = r.Do(within(t, 10*time.Second), []string{deaf(t), holding}, q); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a node that was stopped was found out after %v", took)
	}
}

// When time is up or the client has gone, so is the request at the other node.
func TestEndsWithItsContext(t *testing.T) {
	r := fast(t)
	ended := make(chan struct{}, 8)
	hanging := serve(t, func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		<-q.Context().Done()
		ended <- struct{}{}
	})
	cause := errors.New("the client has gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
	_, err := r.Do(ctx, []string{hanging}, request("PUT", "/", "v"))
	if e, ok := errors.AsType[*Error](err); !ok || !e.Sent || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the other node goes on")
	}
	_, err = r.Do(within(t, 300*time.Millisecond), []string{hanging, hanging}, request("PUT", "/", "v"))
	if e, ok := errors.AsType[*Error](err); !ok || !e.Sent || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	canceled, stop := context.WithCancel(t.Context())
	stop()
	_, err = r.Do(canceled, []string{hanging}, request("PUT", "/", "v"))
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", e, err)
	}
}

// What comes bit by bit is there bit by bit, and breaks where the other node breaks.
func TestStreams(t *testing.T) {
	r := fast(t)
	next := make(chan string)
	gone := make(chan struct{})
	streaming := serve(t, func(w http.ResponseWriter, q *http.Request) {
		defer close(gone)
		rc := http.NewResponseController(w)
		_ = rc.Flush()
		for {
			select {
			case s := <-next:
				if s == "" {
					panic(http.ErrAbortHandler)
				}
				_, _ = io.WriteString(w, s)
				_ = rc.Flush()
			case <-q.Context().Done():
				return
			}
		}
	})
	resp, err := r.Do(t.Context(), []string{streaming}, request("GET", "/", ""))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	for _, want := range []string{"a\n", "b\n"} {
		next <- want
		if n, err := resp.Body.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
	next <- ""
	if n, err := resp.Body.Read(buf); err == nil || err == io.EOF {
		t.Errorf("a broken stream ends well: %d, %v", n, err)
	}
	resp.Body.Close()
	<-gone
}

// A body that nobody reads to its end lets go of the other node.
func TestCloseEndsTheRequest(t *testing.T) {
	gone := make(chan struct{})
	streaming := serve(t, func(w http.ResponseWriter, q *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
		close(gone)
	})
	resp, err := fast(t).Do(t.Context(), []string{streaming}, request("GET", "/", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the other node goes on")
	}
}

// A stream whose node was stopped ends, and the relay does not wait for ever.
func TestStreamOfAStoppedNode(t *testing.T) {
	node := serve(t, func(w http.ResponseWriter, q *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
	})
	stop := make(chan struct{})
	proxy := freezing(t, strings.TrimPrefix(node, "http://"), stop)
	resp, err := fast(t).Do(t.Context(), []string{proxy}, request("GET", "/", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	close(stop)
	began := time.Now()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// freezing passes bytes on to a node until stop, and then keeps its connections open.
func freezing(t *testing.T, to string, stop <-chan struct{}) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var all []net.Conn
	wg.Go(func() {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			return
		}
		all = append(all, in, out)
		pump := func(a, b net.Conn) {
			buf := make([]byte, 4096)
			for {
				n, err := a.Read(buf)
				select {
				case <-stop:
					return
				default:
				}
				if err != nil {
					return
				}
				_, _ = b.Write(buf[:n])
			}
		}
		wg.Go(func() { pump(in, out) })
		wg.Go(func() { pump(out, in) })
	})
	t.Cleanup(func() {
		l.Close()
		for _, c := range all {
			c.Close()
		}
		wg.Wait()
	})
	return "http://" + l.Addr().String()
}

// More requests than a connection takes open another one; none is lost.
func TestManyAtOnce(t *testing.T) {
	r := New(Config{})
	defer r.CloseIdle()
	const n = 350 // a connection takes 100
	var here atomic.Int64
	all := make(chan struct{})
	node := serve(t, func(w http.ResponseWriter, q *http.Request) {
		if here.Add(1) == n {
			close(all)
		}
		select {
		case <-all:
		case <-q.Context().Done():
		}
	})
	ctx := within(t, 20*time.Second)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			q := request("PUT", "/", "v")
			q.Wait = time.Minute
			resp, err := r.Do(ctx, []string{node, node}, q)
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
		})
	}
	wg.Wait()
	if here.Load() != n {
		t.Errorf("%d requests arrived of %d", here.Load(), n)
	}
}

func TestHeaders(t *testing.T) {
	in := http.Header{
		"Connection": {"close, X-Mine"}, "X-Mine": {"1"}, "Te": {"trailers"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AA"}, "Expect": {"100-continue"},
		"Origin": {"http://n1"}, "Sec-Fetch-Site": {"same-origin"}, "Transfer-Encoding": {"chunked"}, "Content-Length": {"3"},
		"Prytany-Guard": {"a;fence=1"}, "If-Match": {`"1"`, `"2"`}, "Accept": {"text/event-stream"}, "Accept-Encoding": {"gzip"},
	}
	out := Onward(in)
	for name := range in {
		_, kept := out[name]
		if want := strings.HasPrefix(name, "Prytany-") || name == "If-Match" || strings.HasPrefix(name, "Accept"); kept != want {
			t.Errorf("%s passed on: %v", name, kept)
		}
	}
	if len(in["Connection"]) != 1 || len(out["If-Match"]) != 2 || out.Get("User-Agent") != "" || len(out["User-Agent"]) != 1 {
		t.Errorf("%v %v", in, out)
	}
	to := http.Header{"Cache-Control": {"no-store"}, "Prytany-Request-Id": {"A"}}
	Back(to, http.Header{"Cache-Control": {"no-cache"}, "Date": {"now"}, "Connection": {"close"}, "Prytany-Revision": {"7"}})
	if len(to) != 2 || to.Get("Cache-Control") != "no-cache" || to.Get("Prytany-Revision") != "7" {
		t.Errorf("%v", to)
	}
}
