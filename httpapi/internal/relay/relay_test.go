package relay

import (
	"cmp"
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

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

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

// patience is how long anything may take on a slow machine.
const patience = time.Minute

// patient is a Relay that gives other nodes all the time they need.
func patient(t *testing.T) *Relay { return with(t, Config{}) }

// hasty is a Relay that soon asks the next node.
func hasty(t *testing.T) *Relay { return with(t, Config{Patience: 400 * time.Millisecond}) }

// watchful is a Relay that soon finds out that a node is silent.
func watchful(t *testing.T) *Relay {
	return with(t, Config{Ping: 250 * time.Millisecond, Pong: 2 * time.Second})
}

// with is a Relay with those times of cfg that are set, and otherwise patient.
func with(t *testing.T, cfg Config) *Relay {
	cfg.Dial, cfg.Patience, cfg.Pong = patience, cmp.Or(cfg.Patience, patience), cmp.Or(cfg.Pong, patience)
	r := New(cfg)
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

// bounded is a context that ends what hangs.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// happens waits until c is closed, or has a value.
func happens(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Errorf("does not happen: %s", what)
	}
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
		resp, err := patient(t).Do(bounded(t), []string{node}, q)
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
	silent := map[string]bool{"deaf": true, "hangs in the head": true} // patience ends the wait for these
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
					text, err := io.ReadAll(r.Body)
					if err != nil {
						return // patience has ended here, too
					}
					got <- string(text)
					w.Header().Set("X-Key", r.Header.Get("Idempotency-Key"))
				})
				q := request(method, "/", "")
				if method == "PUT" {
					q.Body = []byte("value")
				}
				r := patient(t)
				if silent[name] {
					r = hasty(t)
				}
				resp, err := r.Do(bounded(t), []string{first(t), second}, q)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 200 || resp.Header.Get("X-Key") != "k" || <-got != string(q.Body) {
					t.Errorf("%d %v", resp.StatusCode, resp.Header)
				}
			})
		}
	}
}

// Whoever refuses for a reason of the request has answered.
func TestAnswersStand(t *testing.T) {
	for _, status := range []int{200, 204, 304, 400, 404, 409, 412, 422, 500, 504} {
		resp, err := patient(t).Do(bounded(t), []string{saying(t, status, ""), breaking(t)}, request("PUT", "/", "v"))
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
			resp, err := patient(t).Do(bounded(t), nodes, q)
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
		var enough <-chan time.Time // never for the first two
		if asked.Add(1) > 2 {
			enough = time.After(time.Second)
		}
		select {
		case <-enough:
		case <-r.Context().Done():
		}
	}
	resp, err := hasty(t).Do(bounded(t), []string{serve(t, slow), deaf(t), serve(t, slow)}, request("PUT", "/", "v"))
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
	var held atomic.Int64
	holding := serve(t, func(w http.ResponseWriter, q *http.Request) {
		held.Add(1)
		time.Sleep(time.Second) // longer than patience alone
	})
	q := request("PUT", "/", "")
	q.Wait = patience
	resp, err := hasty(t).Do(bounded(t), []string{holding, nobody(t)}, q)
	if err != nil || held.Load() != 1 {
		t.Fatalf("%v, asked %d times", err, held.Load())
	}
	resp.Body.Close()

	q.Wait = time.Hour
	if resp, err = watchful(t).Do(bounded(t), []string{deaf(t), holding}, q); err != nil {
		t.Fatal(err) // of bounded, if the node that was stopped was not found out
	}
	resp.Body.Close()
}

// When time is up or the client has gone, so is the request at the other node.
func TestEndsWithItsContext(t *testing.T) {
	r := patient(t)
	arrived, ended := make(chan struct{}, 8), make(chan struct{}, 8)
	hanging := serve(t, func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		arrived <- struct{}{}
		<-q.Context().Done()
		ended <- struct{}{}
	})
	for i, cause := range []error{errors.New("the client has gone"), context.DeadlineExceeded} {
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { <-arrived; cancel(cause) }()
		_, err := r.Do(ctx, []string{hanging, hanging}[:i+1], request("PUT", "/", "v"))
		if e, ok := errors.AsType[*Error](err); !ok || !e.Sent || !errors.Is(err, cause) {
			t.Errorf("%v", err)
		}
		happens(t, "the request ends at the other node", ended)
	}
	canceled, stop := context.WithCancel(t.Context())
	stop()
	_, err := r.Do(canceled, []string{hanging}, request("PUT", "/", "v"))
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", e, err)
	}
}

// What comes bit by bit is there bit by bit, and breaks where the other node breaks.
func TestStreams(t *testing.T) {
	r := patient(t)
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
	resp, err := patient(t).Do(t.Context(), []string{streaming}, request("GET", "/", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	happens(t, "the request ends at the other node", gone)
}

// A stream whose node was stopped ends, and the relay does not wait for ever.
func TestStreamOfAStoppedNode(t *testing.T) {
	node := serve(t, func(w http.ResponseWriter, q *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-q.Context().Done()
	})
	stop := make(chan struct{})
	proxy := freezing(t, strings.TrimPrefix(node, "http://"), stop)
	resp, err := watchful(t).Do(bounded(t), []string{proxy}, request("GET", "/", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	close(stop)
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v; want the end of the connection", err)
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
	r := patient(t)
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
	ctx := bounded(t)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			resp, err := r.Do(ctx, []string{node, node}, request("PUT", "/", "v"))
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
