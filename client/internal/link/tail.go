package link

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prytany/prytany/internal/api"
)

const (
	// openFor is how long a node may take to begin a stream, and silentFor how
	// long it may be silent within: it sends a bookmark every ten seconds.
	openFor   = 10 * time.Second
	silentFor = 25 * time.Second
	// maxLine bounds one event: a value of 256 KiB, each byte of it escaped.
	maxLine = 4 << 20
	// steadyFor is how long a stream lasts that did not fail at once.
	steadyFor = time.Second
)

var (
	errSilent = errors.New("prytany: the stream has fallen silent")
	errCut    = errors.New("prytany: the stream was cut off")
	errBroken = errors.New("prytany: the stream makes no sense")
)

// A Tail follows a stream of events over as many connections as it takes. It
// tells of each revision once, when all its events are there.
type Tail struct {
	Link  *Link
	Path  string
	Query url.Values
	From  uint64 // the first revision wanted, before any is known; 0: the next
	State bool   // each connection begins with the present state, and none is resumed

	begun   bool        // after is known: 0 is a revision too, that of a new group
	after   uint64      // everything up to here has been told
	pending []api.Event // of a revision that is not complete
}

// Follow calls f with the events of one revision after the other, or with one
// bookmark, until f says no, in which case it returns nil; until ctx ends; or
// until it meets a refusal that will not go away.
func (t *Tail) Follow(ctx context.Context, f func(events []api.Event) bool) error {
	for attempt := 0; ; attempt++ {
		began := t.Link.Now()
		err := t.read(ctx, f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case final(err):
			return err
		}
		if t.Link.Now()-began > steadyFor {
			attempt = 0
		}
		t.Link.Log.Debug("stream broken", "path", t.Path, "after", t.after, "attempt", attempt+1, "err", err)
		var p *Refusal
		errors.As(err, &p)
		if !pause(ctx, attempt, p) {
			return context.Cause(ctx)
		}
	}
}

// final reports whether a stream that ended with err would do so again.
func final(err error) bool {
	var p *Refusal
	if !errors.As(err, &p) {
		return errors.Is(err, ErrRequest)
	}
	return p.Code == api.CodeCompacted || !retryable(p) && !p.Retryable
}

// read follows one connection, to its end.
func (t *Tail) read(ctx context.Context, f func(events []api.Event) bool) (err error) {
	at, turned := t.Link.Pick()
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(turned, func() { cancel(errTurned) })()
	silence := time.AfterFunc(openFor, func() { cancel(errSilent) })
	defer silence.Stop()
	defer func() {
		if err != nil && ctx.Err() == nil && !errors.Is(context.Cause(attempt), errTurned) && !final(err) {
			t.Link.Avoid(at)
		}
		if cause := context.Cause(attempt); err != nil && cause != nil {
			err = cause
		}
	}()
	req, err := t.Link.build(attempt, t.Link.endpoints[at].url, t.request())
	if err != nil {
		return err
	}
	resp, err := t.Link.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine))
		if err != nil {
			return err
		}
		return decodeProblem(Reply{resp.StatusCode, resp.Header, body})
	}
	t.pending = nil // half a revision comes again, whole
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for {
		silence.Reset(silentFor)
		if !lines.Scan() {
			return cmp.Or(lines.Err(), errCut)
		}
		events, err := t.add(lines.Bytes())
		if err != nil {
			return err
		}
		silence.Stop() // what follows takes as long as the caller likes
		if len(events) > 0 && !f(events) {
			return nil
		}
	}
}

// request asks for what has not been told.
func (t *Tail) request() Request {
	r := Request{Method: http.MethodGet, Path: t.Path, Query: maps.Clone(t.Query), Header: http.Header{"Accept": {api.TypeNDJSON}}}
	switch {
	case t.State:
	case t.begun:
		r.Header.Set(api.HeaderLastEventID, strconv.FormatUint(t.after, 10))
	case t.From != 0:
		if r.Query == nil {
			r.Query = url.Values{}
		}
		r.Query.Set("from", strconv.FormatUint(t.From, 10))
	}
	return r
}

// add takes one line, and returns the events of a revision when it is the last
// of them.
func (t *Tail) add(line []byte) ([]api.Event, error) {
	var e api.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	switch {
	case e.Type == api.EventError && e.Problem != nil:
		return nil, &Refusal{Problem: e.Problem}
	case e.Type == "", e.Type == api.EventError, e.Revision == 0 && e.Type != api.EventBookmark && !t.State,
		len(t.pending) > 0 && (t.pending[0].Revision != e.Revision || e.Type == api.EventBookmark):
		return nil, fmt.Errorf("%w: %q", errBroken, line[:min(len(line), 200)])
	}
	t.pending = append(t.pending, e)
	if e.More {
		return nil, nil
	}
	events := t.pending
	t.pending = nil
	known := t.after
	t.begun, t.after = true, max(t.after, e.Revision)
	switch {
	case t.State:
	case e.Type == api.EventBookmark && e.Revision < known, // of a node that lags behind
		e.Type != api.EventBookmark && e.Revision <= known,
		e.Type != api.EventBookmark && e.Revision < t.From:
		return nil, nil // told before
	}
	return events, nil
}
