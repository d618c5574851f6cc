package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

// The exit codes, as documented in docs/cli.md.
const (
	CodeError       = 1
	CodeUsage       = 2
	CodeNotFound    = 3
	CodeRefused     = 4 // precondition failed, lock held
	CodeUnavailable = 5
	CodeUnknown     = 6
	CodeForbidden   = 7
	CodeLost        = 75
	CodeNotAcquired = 124
	CodeBeforeExec  = 125
)

// A Error is an error with an exit code and a line that says what to try.
type Error struct {
	Code int
	Text string
	Hint string
}

func (e *Error) Error() string { return e.Text }

// Try adds the line that says what to do.
func (e *Error) Try(command string) *Error {
	e.Hint = command
	return e
}

// Usage is an error in how the command was called.
func Usage(format string, args ...any) *Error {
	return &Error{Code: CodeUsage, Text: fmt.Sprintf(format, args...)}
}

// Failure is an error with its exit code.
func Failure(code int, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Fail prints err for people and returns its exit code.
func (a *App) Fail(err error) int {
	e := a.Classify(err)
	a.Say("prytany: %s", e.Text)
	if e.Hint != "" {
		a.Say("try: %s", strings.ReplaceAll(e.Hint, "prytany ", a.Self+" "))
	}
	return e.Code
}

// Classify gives every error an exit code and a hint.
func (a *App) Classify(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	text := strings.TrimPrefix(err.Error(), "prytany: ")
	p := ProblemOf(err)
	if p != nil {
		text = p.Detail
	}
	switch {
	case errors.Is(err, client.ErrUnknownOutcome):
		return Failure(CodeUnknown, "outcome unknown: %s; the change may have happened or may still", doubt(p, err)).Try("prytany status, and look before you repeat it")
	case errors.Is(err, client.ErrHeld):
		return Failure(CodeRefused, "%s", HeldText(p, text)).Try("prytany locks")
	case p != nil && p.Code == string(api.CodeGroupUnknown):
		return Failure(CodeNotFound, "%s", text).Try("prytany groups")
	case errors.Is(err, client.ErrNotFound):
		return Failure(CodeNotFound, "%s", text)
	case errors.Is(err, client.ErrConflict), errors.Is(err, client.ErrStaleFence), errors.Is(err, client.ErrSessionExpired),
		errors.Is(err, client.ErrLimitMismatch), errors.Is(err, client.ErrUpgradeRefused), errors.Is(err, client.ErrNotCandidate):
		return Failure(CodeRefused, "%s", text)
	case isTLS(err), p != nil && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden):
		return Failure(CodeForbidden, "%s", cause(p, err))
	case errors.Is(err, client.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return a.unavailable(p, err)
	case p != nil && p.Status < 500:
		if p.Field != "" {
			// The text of most begins with the field: "ttl must be from 2s".
			if !strings.HasPrefix(text, p.Field) {
				text = p.Field + ": " + text
			}
		}
		return Failure(CodeUsage, "%s", text).Try(OrElse(a.Help, "prytany --help"))
	}
	return Failure(CodeError, "%s", text)
}

// unavailable tells whom nobody could reach, or what the cluster lacks.
func (a *App) unavailable(p *client.ProblemError, err error) *Error {
	if p != nil {
		return Failure(CodeUnavailable, "the cluster cannot serve this now: %s; nothing happened", p.Detail).Try("prytany status")
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return Failure(CodeUnavailable, "no answer from %s: it speaks HTTP, not HTTPS; nothing happened", a.where()).Try("http:// in --addr")
	}
	if a.reach.reached() {
		why := "no node answered in time"
		if cause := RootCause(err); cause != errNoAnswer {
			why = fmt.Sprintf("%s (%v)", why, cause)
		}
		return Failure(CodeUnavailable, "%s; nothing happened", why).Try("prytany status")
	}
	return Failure(CodeUnavailable, "no answer from %s: %v; nothing happened", a.where(), RootCause(err)).
		Try("prytany dev to start a cluster here, or --addr to name another")
}

// Interrupted is the error of a command that a signal ended before it was done.
func (a *App) Interrupted(sig SignalError, err error) error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, client.ErrUnknownOutcome):
		return Failure(sig.Code(), "%v; the change may have happened or may still", sig).Try("prytany status, and look before you repeat it")
	}
	return Failure(sig.Code(), "%v", sig)
}

// ProblemOf returns the server's refusal, nil if err is none.
func ProblemOf(err error) *client.ProblemError {
	var p *client.ProblemError
	if errors.As(err, &p) {
		return p
	}
	return nil
}

// cause is what the server said, or what went wrong on the way.
func cause(p *client.ProblemError, err error) string {
	if p != nil {
		return p.Detail
	}
	return RootCause(err).Error()
}

// doubt says why nobody can tell what became of a change. What was met last may be a
// node that refuses connections; that is not the one that leaves it open.
func doubt(p *client.ProblemError, err error) string {
	why := cause(p, err)
	if op, ok := errors.AsType[*net.OpError](err); p == nil && ok && op.Op == "dial" {
		return fmt.Sprintf("a node that was asked has not answered in time (another one: %s)", why)
	}
	return why
}

// isTLS reports whether the two sides did not trust each other.
func isTLS(err error) bool {
	var (
		verify *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  tls.AlertError
	)
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert)
}

// where names the endpoints for people.
func (a *App) where() string {
	if a.Addr == "" {
		return client.DefaultEndpoint
	}
	return a.Addr
}

// errNoAnswer is context.DeadlineExceeded in words for people.
var errNoAnswer = errors.New("no answer in time")

// RootCause is the error that all began with, without the layers around it:
// "127.0.0.1:7480: connection refused".
func RootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && op.Addr != nil {
		return fmt.Errorf("%s: %w", op.Addr, RootCause(op.Err))
	}
	// What a client says of several attempts is no plain chain.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	for {
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			list := many.Unwrap()
			err = list[len(list)-1]
			continue
		}
		next := errors.Unwrap(err)
		switch {
		case next != nil:
			err = next
		case errors.Is(err, context.DeadlineExceeded):
			return errNoAnswer
		default:
			return err
		}
	}
}

// HeldText says who holds a lock.
func HeldText(p *client.ProblemError, text string) string {
	if p == nil || p.Holder == nil {
		return text
	}
	s := fmt.Sprintf("held by %s (fence %d)", p.Holder.Owner, p.Holder.Fence)
	if p.Holder.Note != "" {
		s += fmt.Sprintf(", %q", p.Holder.Note)
	}
	if p.Holder.ExpiresIn >= 0 {
		s += fmt.Sprintf(", lease %s left", Round(p.Holder.ExpiresIn))
	}
	if p.QueuePosition > 0 {
		s += fmt.Sprintf(", you would be %s in line", Ordinal(p.QueuePosition))
	}
	return s
}
