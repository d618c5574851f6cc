package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// A liar is a node that answers as the API says, and does something wrong.
type liar struct {
	mu       sync.Mutex
	revision uint64
	entries  map[string]api.Entry
	fence    uint64

	forgets bool // every put of a key but the first
	twice   bool // counts every put of a key but the first twice
	old     bool // reads a value that was written before
	mixes   bool // reads another key's value
	stale   bool // grants with the same fence again
	fails   bool // every put
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision++
	w.Header().Set(api.HeaderRevision, fmt.Sprint(l.revision))
	w.Header().Set("Content-Type", api.TypeJSON)
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	body, _ := io.ReadAll(r.Body) // what is missing is wrong later
	switch kind, rest, _ := strings.Cut(path, "/"); {
	case kind == "config" && r.Method == http.MethodPut:
		l.put(w, rest, body)
	case kind == "config":
		l.get(w, rest)
	case kind == "sessions":
		if r.URL.Query().Has("hold") {
			l.mu.Unlock()
			<-r.Context().Done()
			l.mu.Lock()
		}
		answer(w, api.SessionCreated{ID: "s-1", TTLMS: 60000, ExpiresInMS: new(int64(60000))})
	case kind == "locks" && r.Method == http.MethodPut:
		if !l.stale || l.fence == 0 {
			l.fence = l.revision
		}
		answer(w, api.Grant{Name: rest, Session: "s-1", Fence: l.fence, Mode: "exclusive", Slots: 1, ExpiresInMS: new(int64(60000))})
	case kind == "locks":
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, api.Transacted{Succeeded: true})
	}
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func refuse(w http.ResponseWriter, status int, code api.Code) {
	w.WriteHeader(status)
	answer(w, api.Problem{Status: status, Code: code, Applied: api.AppliedNo, Detail: "no"})
}

func (l *liar) put(w http.ResponseWriter, key string, value []byte) {
	if l.fails {
		refuse(w, http.StatusInsufficientStorage, api.CodeInvalid)
		return
	}
	e := l.entries[key]
	switch {
	case l.forgets && e.Version > 0:
		return
	case l.twice && e.Version > 0:
		e.Version++
	}
	if !l.old || e.Version == 0 {
		v := string(value)
		e.Value = &v
	}
	e.Key, e.Revision = key, l.revision
	e.Version++
	l.entries[key] = e
}

func (l *liar) get(w http.ResponseWriter, key string) {
	e, ok := l.entries[key]
	if !ok {
		refuse(w, http.StatusNotFound, api.CodeKeyNotFound)
		return
	}
	if l.mixes {
		for _, other := range l.entries {
			e.Value = other.Value
		}
		e.Value = l.entries[key[:len(key)-1]+"1"].Value
	}
	w.Header().Set("ETag", api.FormatETag(e.Revision))
	w.Header().Set(api.HeaderCreated, "1")
	w.Header().Set(api.HeaderVersion, fmt.Sprint(e.Version))
	_, _ = io.WriteString(w, *e.Value)
}

// runAgainst runs a command against a liar.
func runAgainst(t *testing.T, l *liar, args ...string) (code int, out, talk string) {
	t.Helper()
	l.entries = map[string]api.Entry{}
	return runAt(t.Context(), l, args...)
}

// runAt runs a command against a node.
func runAt(ctx context.Context, node http.Handler, args ...string) (code int, out, talk string) {
	srv := httptest.NewServer(node)
	defer srv.Close()
	defer srv.CloseClientConnections()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var stdout, stderr bytes.Buffer
	a := &cli.App{
		Streams: cli.Streams{Stdout: &stdout, Stderr: &stderr}, Addr: srv.URL, Group: api.MainGroup, Output: "table",
		Timeout: time.Minute, GiveUp: cancel, FromEnv: map[string]bool{}, Self: "prytany",
	}
	cmd := Command(a)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(ctx); err != nil {
		code = a.Fail(err)
	}
	return code, stdout.String(), stderr.String()
}

// What a wrong server does is found, and said.
func TestWrongAnswersAreFound(t *testing.T) {
	short := []string{"--clients", "2", "--duration", "1s", "--warmup", "0s"}
	for _, tt := range []struct {
		name string
		l    *liar
		args []string
		code int
		want string
	}{
		{"nothing", &liar{}, []string{"put"}, 0, ""},
		{"nothing", &liar{}, []string{"mixed"}, 0, ""},
		{"nothing", &liar{}, []string{"lock"}, 0, ""},
		{"a put is forgotten", &liar{forgets: true}, []string{"put"}, 1, "puts were acknowledged"},
		{"a put is done twice", &liar{twice: true}, []string{"put"}, 1, "puts were acknowledged"},
		{"an old value is read", &liar{old: true}, []string{"mixed", "--reads", "0.5"}, 1, "was acknowledged"},
		{"another's value is read", &liar{mixes: true}, []string{"get"}, 1, "has a value that nobody wrote there"},
		{"another's value is read", &liar{mixes: true}, []string{"get", "--keys", "5"}, 1, "has a value that nobody wrote there"},
		{"a fence comes again", &liar{stale: true}, []string{"lock"}, 1, "was granted with fence"},
		{"nothing works", &liar{fails: true}, []string{"put"}, 1, "prytany: no"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			code, out, talk := runAgainst(t, tt.l, append(tt.args, short...)...)
			if code != tt.code || !strings.Contains(talk, tt.want) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, tt.code, tt.want, out, talk)
			}
		})
	}
}

// What is under way when somebody stops a command comes to its end before all that was
// written is removed.
func TestWhatIsUnderWayEnds(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancelCause(t.Context())
	l := &liar{entries: map[string]api.Entry{}}
	var puts, ended atomic.Int64
	runAt(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut:
			puts.Add(1)
			stop(cli.SignalError{Sig: syscall.SIGINT})
			select {
			case <-time.After(2 * time.Second):
				ended.Add(1)
			case <-r.Context().Done():
			}
		case r.Method == http.MethodPost && ended.Load() < puts.Load():
			t.Errorf("removed what was written when %d of %d puts had ended", ended.Load(), puts.Load())
		}
		l.ServeHTTP(w, r)
	}), "put", "--clients", "1", "--duration", "10m", "--warmup", "0s")
	if puts.Load() == 0 || ended.Load() < puts.Load() {
		t.Errorf("%d of %d puts have ended", ended.Load(), puts.Load())
	}
}

func TestTimes(t *testing.T) {
	for ms, want := range map[float64]string{0: "0.00ms", 0.1234: "0.12ms", 9.876: "9.88ms", 12.34: "12.3ms", 123.4: "123ms", 1234: "1.23s", 61234: "61.2s"} {
		if got := msText(ms); got != want {
			t.Errorf("%v ms: %s, want %s", ms, got, want)
		}
	}
}
