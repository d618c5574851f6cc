package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/prytany/prytany/client"
)

// The exit codes, as documented in docs/cli.md.
const (
	codeError       = 1
	codeUsage       = 2
	codeNotFound    = 3
	codeRefused     = 4 // precondition failed, lock held
	codeUnavailable = 5
	codeUnknown     = 6
	codeLost        = 75
	codeNotAcquired = 124
	codeBeforeExec  = 125
)

// A cliError is an error with an exit code and a line that says what to try.
type cliError struct {
	code int
	text string
	hint string
}

func (e *cliError) Error() string { return e.text }

// try adds the line that says what to do.
func (e *cliError) try(command string) *cliError {
	e.hint = command
	return e
}

// usage is an error in how the command was called.
func usage(format string, args ...any) *cliError {
	return &cliError{code: codeUsage, text: fmt.Sprintf(format, args...)}
}

// failure is an error with its exit code.
func failure(code int, format string, args ...any) *cliError {
	return &cliError{code: code, text: fmt.Sprintf(format, args...)}
}

// fail prints err for people and returns its exit code.
func (a *app) fail(err error) int {
	e := a.classify(err)
	_, _ = fmt.Fprintln(a.stderr, "prytany:", e.text)
	if e.hint != "" {
		_, _ = fmt.Fprintln(a.stderr, "try:", e.hint)
	}
	return e.code
}

// classify gives every error an exit code and a hint.
func (a *app) classify(err error) *cliError {
	var own *cliError
	if errors.As(err, &own) {
		return own
	}
	text := strings.TrimPrefix(err.Error(), "prytany: ")
	var p *client.ProblemError
	if errors.As(err, &p) {
		text = p.Detail
	}
	switch {
	case errors.Is(err, client.ErrUnknownOutcome):
		return failure(codeUnknown, "outcome unknown: %s; the change may have happened or may still", text).try("look before you repeat it: prytany status")
	case errors.Is(err, client.ErrHeld):
		return failure(codeRefused, "%s", heldText(p, text)).try("prytany locks")
	case errors.Is(err, client.ErrNotFound):
		return failure(codeNotFound, "%s", text).try("prytany list")
	case errors.Is(err, client.ErrConflict), errors.Is(err, client.ErrStaleFence), errors.Is(err, client.ErrSessionExpired):
		return failure(codeRefused, "%s", text)
	case errors.Is(err, client.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		return failure(codeUnavailable, "no node of %s answered in time: %s; nothing happened", a.where(), rootCause(err)).try("prytany status, or prytany dev to start a cluster here")
	case errors.Is(err, context.Canceled):
		return failure(codeError, "interrupted")
	case p != nil && p.Status < 500:
		return failure(codeUsage, "%s", text)
	}
	return failure(codeError, "%s", text)
}

// where names the endpoints for people.
func (a *app) where() string {
	if a.addr == "" {
		return client.DefaultEndpoint
	}
	return a.addr
}

// rootCause is the innermost error: "connection refused".
func rootCause(err error) string {
	for {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			list := many.Unwrap()
			if len(list) == 0 {
				return err.Error()
			}
			err = list[len(list)-1]
			continue
		}
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// heldText says who holds a lock.
func heldText(p *client.ProblemError, text string) string {
	if p == nil || p.Holder == nil {
		return text
	}
	s := fmt.Sprintf("held by %s (fence %d)", p.Holder.Owner, p.Holder.Fence)
	if p.Holder.Note != "" {
		s += fmt.Sprintf(", %q", p.Holder.Note)
	}
	if p.Holder.ExpiresIn >= 0 {
		s += fmt.Sprintf(", lease %s left", round(p.Holder.ExpiresIn))
	}
	if p.QueuePosition > 0 {
		s += fmt.Sprintf(", you would be %s in line", ordinal(p.QueuePosition))
	}
	return s
}
