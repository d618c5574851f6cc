package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

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
