package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// forgetful is a server that keeps events from revision 50 on, and has one.
func forgetful(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("from"))
		if last, _ := strconv.Atoi(r.Header.Get(api.HeaderLastEventID)); max(from, last+1) < 50 {
			w.Header().Set("Content-Type", api.TypeProblem)
			w.WriteHeader(http.StatusGone)
			_, _ = fmt.Fprint(w, `{"status":410,"code":"compacted","title":"gone","applied":"no","oldest_revision":50}`)
			return
		}
		w.Header().Set("Content-Type", api.TypeNDJSON)
		_, _ = fmt.Fprint(w, `{"type":"bookmark","revision":50}`+"\n"+`{"type":"put","revision":60,"name":"a/b","entry":{"key":"a/b","value":"v","revision":60,"created_revision":60,"version":1}}`+"\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(srv.CloseClientConnections)
	return srv
}

// runHere runs the command in this process.
func runHere(t *testing.T, args ...string) (code int, out, talk string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	ctx, signals := cli.ListenForSignals(t.Context(), func(int) {})
	defer signals.Stop()
	code = run(ctx, args, cli.Streams{Stdin: os.Stdin, Stdout: &stdout, Stderr: &stderr}, signals)
	return code, stdout.String(), stderr.String()
}

func TestAWatchSaysWhatItMissed(t *testing.T) {
	srv := forgetful(t)
	code, out, talk := runHere(t, "watch", "a/", "--from", "7", "--addr", srv.URL)
	if want := "prytany: events before revision 50 are not kept any more: some may have been missed\n" +
		"try: prytany watch a/ --from 50, and read the state anew\n"; code != cli.CodeError || out != "" || strings.ReplaceAll(talk, cli.Self()+" ", "prytany ") != want {
		t.Errorf("exit code %d, %q, %q; want 1, nothing and %q", code, out, talk, want)
	}
	code, out, talk = runHere(t, "watch", "a/", "--from", "7", "--resync", "-1", "--addr", srv.URL)
	if code != 0 || !strings.Contains(out, `"name":"a/b"`) || !strings.Contains(talk, "some may have been missed") {
		t.Errorf("with --resync: exit code %d, %q, %q", code, out, talk)
	}
}

func TestEventsInTheEnvironment(t *testing.T) {
	srv := forgetful(t)
	code, out, talk := runHere(t, "watch", "a/", "--from", "50", "-1", "--addr", srv.URL,
		"--exec", `echo "$PRYTANY_WATCH_TYPE|$PRYTANY_WATCH_NAME|$PRYTANY_WATCH_REVISION|$PRYTANY_WATCH_VALUE|$PRYTANY_WATCH_REASON"`)
	if want := "put|a/b|60|v|\n"; code != 0 || out != want {
		t.Errorf("exit code %d, %q, %q; want %q", code, out, talk, want)
	}
}

// A stage is a server of state that somebody looks at, and of the events that make him look.
type stage struct {
	state atomic.Value  // JSON
	looks chan struct{} // one for each look at the state
	news  chan string   // types of events, about the name k
}

func (s *stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/v1/watch/") {
		w.Header().Set("Content-Type", api.TypeJSON)
		_, _ = fmt.Fprint(w, s.state.Load())
		select {
		case s.looks <- struct{}{}:
		case <-r.Context().Done():
		}
		return
	}
	w.Header().Set("Content-Type", api.TypeNDJSON)
	for revision := 2; ; revision++ {
		select {
		case <-r.Context().Done():
			return
		case kind := <-s.news:
			_, _ = fmt.Fprintf(w, `{"type":%q,"revision":%d,"name":"k"}`+"\n", kind, revision)
			w.(http.Flusher).Flush()
		}
	}
}

// act changes the state, tells of an event unless kind is "", and waits for a look.
func (s *stage) act(t *testing.T, state, kind string) {
	t.Helper()
	s.state.Store(state)
	limit := time.After(time.Minute)
	if kind != "" {
		select {
		case s.news <- kind:
		case <-limit:
			t.Fatal("nobody listens to events")
		}
	}
	select {
	case <-s.looks:
	case <-limit:
		t.Fatalf("nobody looks after an event of type %q", kind)
	}
}

// perform runs f against a stage, and returns it with the lines that f prints.
func perform(t *testing.T, f func(ctx context.Context, addr string, out io.Writer)) (*stage, *bufio.Scanner) {
	t.Helper()
	s := &stage{looks: make(chan struct{}), news: make(chan string)}
	srv := httptest.NewServer(s)
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx, srv.URL, w)
	}()
	limit := time.AfterFunc(time.Minute, func() { _ = r.Close() }) // ends a wait for a line
	t.Cleanup(func() {
		limit.Stop()
		cancel()
		_ = r.Close()
		<-done
		srv.CloseClientConnections()
		srv.Close()
	})
	return s, bufio.NewScanner(r)
}

// What changes between the first look and the beginning of the events is shown. What has
// happened and changed nothing is not.
func TestAChangeBeforeTheEventsBegin(t *testing.T) {
	s, lines := perform(t, func(ctx context.Context, addr string, out io.Writer) {
		run(ctx, []string{"get", "k", "--watch", "--addr", addr}, cli.Streams{Stdin: os.Stdin, Stdout: out, Stderr: io.Discard}, nil)
	})
	for _, step := range []struct {
		value, kind string
		shows       bool
	}{{"one", "", true}, {"two", api.EventBookmark, true}, {"two", api.EventPut, false}, {"three", api.EventPut, true}} {
		s.act(t, fmt.Sprintf(`{"key":"k","value":%q,"revision":1,"created_revision":1,"version":1}`, step.value), step.kind)
		if step.shows && (!lines.Scan() || lines.Text() != step.value) {
			t.Fatalf("after %+v it shows %q", step, lines.Text())
		}
	}
}

// Who waits is told of a holder that came before the events began, and not that he has the
// lock himself.
func TestAHolderBeforeTheEventsBegin(t *testing.T) {
	s, lines := perform(t, func(ctx context.Context, addr string, out io.Writer) {
		a := app{&cli.App{Streams: cli.Streams{Stderr: out}, Addr: addr, Group: api.MainGroup, Timeout: time.Minute}}
		c, err := a.ClientWith(0, nil)
		if err != nil {
			t.Error(err)
			return
		}
		a.tellQueue(ctx, c, "k", 5)
	})
	for _, step := range []struct{ owner, kind, says string }{
		{"b:1", api.EventBookmark, "waiting for k: held by b:1 (fence 6), lease 9s left"},
		{cli.Owner(), api.EventLock, ""},
		{"c:1", api.EventLock, "waiting for k: held by c:1 (fence 6), lease 9s left"},
	} {
		s.act(t, fmt.Sprintf(`{"name":"k","holders":[{"session":"s-1","owner":%q,"fence":6,"expires_in_ms":9000}],"waiters":[]}`, step.owner), step.kind)
		if step.says != "" && (!lines.Scan() || lines.Text() != step.says) {
			t.Fatalf("after %+v it says %q", step, lines.Text())
		}
	}
}
