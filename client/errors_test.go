package client

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/prytany/prytany/internal/api"
)

// kinds are the errors that a refusal may match.
var kinds = []error{ErrHeld, ErrLockLost, ErrLimitMismatch, ErrUpgradeRefused, ErrNotCandidate, ErrSessionExpired, ErrNotFound, ErrConflict, ErrStaleFence, ErrCompacted, ErrUnavailable, ErrUnknownOutcome, ErrClosed, ErrReleased}

func TestCodesMatchKinds(t *testing.T) {
	for _, tt := range []struct {
		code    api.Code
		applied api.Applied
		want    error // nil: none
	}{
		{api.CodeInternal, api.AppliedUnknown, ErrUnknownOutcome},
		{api.CodeInternal, api.AppliedNo, nil},
		{api.CodeInvalid, api.AppliedNo, nil},
		{api.CodeLockHeld, api.AppliedNo, ErrHeld},
		{api.CodeLockUnknown, api.AppliedNo, ErrNotFound},
		{api.CodeSessionUnknown, api.AppliedNo, ErrSessionExpired},
		{api.CodeSessionExpired, api.AppliedNo, ErrSessionExpired},
		{api.CodeStaleFence, api.AppliedNo, ErrStaleFence},
		{api.CodeRevisionMismatch, api.AppliedNo, ErrConflict},
		{api.CodeKeyNotFound, api.AppliedNo, ErrNotFound},
		{api.CodeKeyReused, api.AppliedNo, nil},
		{api.CodeNoLeader, api.AppliedNo, ErrUnavailable},
		{api.CodeOverloaded, api.AppliedNo, ErrUnavailable},
		{api.CodeOutcomeUnknown, api.AppliedUnknown, ErrUnknownOutcome},
		{api.CodeTooLarge, api.AppliedNo, nil},
		{api.CodeNotApplied, api.AppliedNo, ErrUnavailable},
		{api.CodeLimitMismatch, api.AppliedNo, ErrLimitMismatch},
		{api.CodeUpgradeRefused, api.AppliedNo, ErrUpgradeRefused},
		{api.CodeSessionNeeded, api.AppliedNo, nil},
		{api.CodeNotCandidate, api.AppliedNo, ErrNotCandidate},
		{api.CodeCompacted, api.AppliedNo, ErrCompacted},
		{api.CodeNotFound, api.AppliedNo, ErrNotFound},
		{api.CodeMethodNotAllowed, api.AppliedNo, nil},
		{api.CodeGroupUnknown, api.AppliedNo, ErrNotFound},
		{api.CodeFenceRequired, api.AppliedNo, nil},
		{api.CodeNotLeader, api.AppliedNo, ErrUnavailable},
		{api.CodeForbiddenOrigin, api.AppliedNo, nil},
		{api.CodeForbiddenHost, api.AppliedNo, nil},
		{api.CodeEncoding, api.AppliedNo, nil},
		{api.CodeTimeout, api.AppliedNo, ErrUnavailable},
		{api.CodeStopping, api.AppliedNo, ErrUnavailable},
		{api.CodeNotReady, api.AppliedNo, ErrUnavailable},
		{"of a later version", api.AppliedNo, nil},
		{"of a later version", api.AppliedUnknown, ErrUnknownOutcome},
	} {
		err := error(problemError(&api.Problem{Code: tt.code, Applied: tt.applied}, 0))
		for _, kind := range kinds {
			if got := errors.Is(fmt.Errorf("put: %w", err), kind); got != (kind == tt.want) {
				t.Errorf("%s, applied %s: is %q: %v", tt.code, tt.applied, kind, got)
			}
		}
	}
}

func TestOutcomeIsNotThatOfTheLastAttempt(t *testing.T) {
	last := problemError(&api.Problem{Code: api.CodeNoLeader, Applied: api.AppliedNo, RequestID: "r1"}, 0)
	err := error(&outcomeError{ErrUnknownOutcome, last, context.DeadlineExceeded})
	if errors.Is(err, ErrUnavailable) || !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v matches the wrong kind", err)
	}
	var p *ProblemError
	if !errors.As(err, &p) || p.RequestID != "r1" {
		t.Errorf("%v does not show the last refusal", err)
	}
}

func TestEndpoints(t *testing.T) {
	for _, tt := range []struct{ in, want string }{ // want "": refused
		{"http://10.0.0.1:7480", "http://10.0.0.1:7480"},
		{"https://example.org/", "https://example.org"},
		{"localhost:7480", "http://localhost:7480"},
		{"[::1]:7480", "http://[::1]:7480"},
		{"example.org", "http://example.org"},
		{"", ""},
		{"ftp://example.org", ""},
		{"http://", ""},
		{"http://h:port", ""},
		{"http://h:70000", ""},
		{"http://h/path", ""},
		{"http://h?q=1", ""},
		{"http://h#f", ""},
		{"http://%zz", ""},
	} {
		c, err := New(Config{Endpoints: []string{tt.in}})
		switch {
		case (err != nil) != (tt.want == ""):
			t.Errorf("%q: %v", tt.in, err)
		case err == nil && c.Endpoints()[0] != tt.want:
			t.Errorf("%q is %q; want %q", tt.in, c.Endpoints()[0], tt.want)
		}
	}
	t.Setenv(EnvAddr, " h1:1 ,, http://h2:2 ")
	c, err := New(Config{})
	if err != nil || fmt.Sprint(c.Endpoints()) != "[http://h1:1 http://h2:2]" {
		t.Errorf("from the environment: %v, %v", c.Endpoints(), err)
	}
}

func TestTwoConditionsOfAKindAreBothSent(t *testing.T) {
	h := headerOf([]Condition{IfRevision(3), IfPresent(), IfAbsent()})
	if got := fmt.Sprint(h.Values("If-Match"), h.Values("If-None-Match")); got != `["3" *] [*]` {
		t.Errorf("sent %s", got)
	}
}
