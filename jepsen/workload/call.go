//go:build linux

package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
)

// patience is how long a call waits for its answer, beside what it asks the server to
// wait.
const patience = 2 * time.Second

// A call is one request, and how it is told in the history.
type call struct {
	f       string
	key     string
	session string
	args    any

	method string
	path   string // below /v1/
	query  url.Values
	header map[string]string
	body   []byte
	wait   time.Duration // that the server is asked for

	tries   int // how often it is asked at most; 0 means once
	perTry  time.Duration
	missing api.Code // a refusal that is an answer like any other: there is no such thing

	// says fills in what the answer says: Result, Fence, Session.
	says func(a *answer, e *history.Event)
}

// An answer is what a server said.
type answer struct {
	sent    bool // something may have reached it
	status  int
	header  http.Header
	body    []byte
	problem *api.Problem // of statuses from 400 on
	err     error        // there is no answer
}

// do makes the call, writes its start and its end down, and returns the end.
func (w *worker) do(ctx context.Context, c call) history.Event {
	begin := history.Event{Kind: history.Invoke, Process: w.id, Op: w.unique(), F: c.f, Key: c.key, Session: c.session, Args: c.args, Node: w.Names[w.at]}
	if c.method != http.MethodGet {
		begin.Request = fmt.Sprintf("%d-%d", w.Seed, begin.Op)
	}
	w.write(begin)
	end := begin
	end.At, end.Args = 0, nil
	open := false // an attempt may have taken effect, or may yet
	for try := 0; ; try++ {
		a := w.send(ctx, c, begin.Request)
		end.Node = w.Names[w.at]
		end.Kind, end.Error = verdictOf(a, c.missing), ""
		end.Status, end.Code = a.status, ""
		end.Slot, end.Revision = number(a.header, api.HeaderSlot), number(a.header, api.HeaderRevision)
		if a.err != nil {
			end.Error = a.err.Error()
		}
		if a.problem != nil {
			end.Code = string(a.problem.Code)
		}
		definite := end.Kind == history.OK || end.Kind == history.Fail && end.Slot > 0
		if definite && c.says != nil {
			c.says(a, &end)
		}
		open = open || end.Kind == history.Info
		if definite || !open && c.tries == 0 {
			break
		}
		if try+1 >= c.tries || ctx.Err() != nil {
			if open && c.method != http.MethodGet {
				end.Kind = history.Info
			}
			break
		}
		w.roam()
		sleep(ctx, time.Duration(try+1)*20*time.Millisecond)
	}
	if end.Kind == history.Info && c.method == http.MethodGet {
		end.Kind = history.Fail // a read that was not answered changed nothing
	}
	w.write(end)
	switch {
	case end.Kind == history.Info:
		w.away()
	case end.Kind == history.Fail && end.Slot == 0:
		w.roam()
	}
	return end
}

// verdictOf says which end of the call the answer is.
func verdictOf(a *answer, missing api.Code) history.Kind {
	switch {
	case a.err != nil && a.sent:
		return history.Info
	case a.err != nil:
		return history.Fail
	case a.problem == nil:
		return history.OK
	case missing != "" && a.problem.Code == missing:
		return history.OK
	case a.problem.Applied == api.AppliedNo:
		return history.Fail
	}
	return history.Info
}

// send asks the worker's node once. A call that began before ctx ended is seen through.
func (w *worker) send(ctx context.Context, c call, request string) *answer {
	limit := c.perTry
	if limit == 0 {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit+c.wait)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	at := w.Nodes[w.at] + "/v1/" + c.path
	if len(c.query) > 0 {
		at += "?" + c.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, c.method, at, bytes.NewReader(c.body))
	if err != nil {
		return &answer{err: err}
	}
	req.Header.Set("Accept", api.TypeJSON)
	if request != "" {
		req.Header.Set(api.HeaderIdempotencyKey, request)
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return &answer{sent: sent.Load(), err: err}
	}
	a := &answer{sent: true, status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && a.status >= http.StatusBadRequest {
		a.problem = &api.Problem{}
		err = json.Unmarshal(a.body, a.problem)
	}
	if err != nil {
		return &answer{sent: true, err: err}
	}
	return a
}

// number reads a header that is a number; 0 if it is none.
func number(h http.Header, name string) uint64 {
	n, _ := strconv.ParseUint(h.Get(name), 10, 64)
	return n
}

// read decodes an answer's body. The API that we speak is our own: what does not
// decode is shown in the history's Error, and is missed in its Result.
func read[T any](a *answer, e *history.Event) (v T) {
	if err := json.Unmarshal(a.body, &v); err != nil {
		e.Error = "unreadable answer: " + err.Error()
	}
	return v
}

// fill encodes a body of ours.
func fill(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	return b
}
