package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// Resign ends the term that Run serves: it ends the callback's context, with
// [ErrReleased] as its cause, and waits until the callback has returned and the
// server knows. Run then campaigns again. The callback itself resigns by
// returning. Without Run it ends the term that Campaign has won, as Unlock does.
// Without a term it does nothing. Errors: [ErrUnavailable], [ErrUnknownOutcome].
func (e *Election) Resign(ctx context.Context) error {
	t, _, err := e.serving(ctx)
	switch h := e.leading(); {
	case err != nil:
		return err
	case t != nil:
		return e.yield(ctx, t, "")
	case h != nil && !e.runs():
		return h.Unlock(ctx)
	}
	return nil
}

// Transfer makes the candidate with that session the leader, in one step. If
// this process leads by Run it ends the callback's context first and waits for
// the callback to return, as [Election.Resign] does. Whoever leads elsewhere
// hears of it when it is done. Errors: [ErrNotCandidate]; [ErrUnavailable],
// [ErrUnknownOutcome].
func (e *Election) Transfer(ctx context.Context, to string) error {
	for attempt := 0; ; attempt++ {
		t, leader, err := e.serving(ctx)
		switch {
		case err != nil:
			return err
		case t == nil:
			err = e.transfer(ctx, to, leader.Term)
			if errors.Is(err, ErrStaleFence) && link.Pause(ctx, attempt) {
				continue // somebody else leads now: perhaps Run
			}
			return err
		}
		all, err := e.Candidates(ctx) // nobody stops working for a name that is none
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(all, func(c Candidate) bool { return c.Session == to }) {
			return fmt.Errorf("%w: %s", ErrNotCandidate, to)
		}
		return e.yield(ctx, t, to)
	}
}

func (e *Election) runs() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running
}

// serving returns the term that Run serves. When the server has just elected
// Run's session, and others know, the news may still be on its way to Run:
// serving waits until the term has begun here. If there is none, leader is who
// leads instead, if it had to ask.
func (e *Election) serving(ctx context.Context) (t *term, leader Leader, err error) {
	for attempt := 0; ; attempt++ {
		e.mu.Lock()
		t, s, running := e.term, e.session, e.running
		e.mu.Unlock()
		if t != nil || !running {
			return t, Leader{}, nil
		}
		leader, err = e.Leader(ctx)
		switch {
		case errors.Is(err, ErrNotFound):
			return nil, Leader{}, nil
		case err != nil:
			return nil, Leader{}, err
		case s == nil || leader.Session != s.ID():
			return nil, leader, nil
		}
		if !link.Pause(ctx, attempt) {
			return nil, leader, context.Cause(ctx)
		}
	}
}

// yield ends the term t that Run serves, in favour of the session to unless that
// is "".
func (e *Election) yield(ctx context.Context, t *term, to string) error {
	e.mu.Lock()
	t.to = to
	e.mu.Unlock()
	t.stop(ErrReleased)
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// transfer has the server hand over, from the given term unless it is 0.
func (e *Election) transfer(ctx context.Context, to string, from uint64) error {
	body, err := json.Marshal(api.Transfer{To: to})
	if err != nil {
		return fmt.Errorf("prytany: %w", err)
	}
	header := jsonHeader()
	if from != 0 {
		header.Set("If-Match", api.FormatETag(from))
	}
	_, err = e.c.do(ctx, link.Request{Method: http.MethodPost, Path: e.path() + ":transfer", Header: header, Body: body, Change: true})
	return err
}
