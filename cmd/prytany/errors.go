package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

// The exit codes, as documented in docs/cli.md.
const (
	codeError       = 1
	codeUsage       = 2
	codeNotFound    = 3
	codeRefused     = 4 // precondition failed, lock held
	codeUnavailable = 5
	codeUnknown     = 6
	codeForbidden   = 7
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
	a.say("prytany: %s", e.text)
	if e.hint != "" {
		a.say("try: %s", strings.ReplaceAll(e.hint, "prytany ", a.self+" "))
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
	p := problemOf(err)
	if p != nil {
		text = p.Detail
	}
	switch {
	case errors.Is(err, client.ErrUnknownOutcome):
		return failure(codeUnknown, "outcome unknown: %s; the change may have happened or may still", cause(p, err)).try("prytany status, and look before you repeat it")
	case errors.Is(err, client.ErrHeld):
		return failure(codeRefused, "%s", heldText(p, text)).try("prytany locks")
	case errors.Is(err, client.ErrNotFound):
		return failure(codeNotFound, "%s", text)
	case errors.Is(err, client.ErrConflict), errors.Is(err, client.ErrStaleFence), errors.Is(err, client.ErrSessionExpired):
		return failure(codeRefused, "%s", text)
	case isTLS(err), p != nil && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden):
		return failure(codeForbidden, "%s", cause(p, err))
	case errors.Is(err, client.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return a.unavailable(p, err)
	case p != nil && p.Status < 500:
		if p.Field != "" {
			text = p.Field + ": " + text
		}
		return failure(codeUsage, "%s", text).try("prytany help")
	}
	return failure(codeError, "%s", text)
}

// unavailable tells whom nobody could reach, or what the cluster lacks.
func (a *app) unavailable(p *client.ProblemError, err error) *cliError {
	if p != nil {
		return failure(codeUnavailable, "the cluster cannot serve this now: %s; nothing happened", p.Detail).try("prytany status")
	}
	return failure(codeUnavailable, "no answer from %s: %v; nothing happened", a.where(), rootCause(err)).
		try("prytany dev to start a cluster here, or --addr to name another")
}

// interrupted is the error of a command that a signal ended before it was done.
func (a *app) interrupted(sig errSignal, err error) error {
	var own *cliError
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, client.ErrUnknownOutcome):
		return failure(sig.code(), "%v; the change may have happened or may still", sig).try("prytany status, and look before you repeat it")
	}
	return failure(sig.code(), "%v", sig)
}

// problemOf returns the server's refusal, nil if err is none.
func problemOf(err error) *client.ProblemError {
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
	return rootCause(err).Error()
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
func (a *app) where() string {
	if a.addr == "" {
		return client.DefaultEndpoint
	}
	return a.addr
}

// rootCause is the error that all began with, without the layers around it:
// "127.0.0.1:7480: connection refused".
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && op.Addr != nil {
		return fmt.Errorf("%s: %w", op.Addr, rootCause(op.Err))
	}
	for {
		if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
			list := many.Unwrap()
			err = list[len(list)-1]
			continue
		}
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// keyError says what was wrong with a condition on key. rev is the wanted
// revision, 0 if none was asked for.
func (a *app) keyError(err error, key string, rev uint64, guard string) error {
	p := problemOf(err)
	if p == nil {
		return err
	}
	now := p.CurrentRevision
	switch {
	case errors.Is(err, client.ErrConflict) && now == 0:
		return failure(codeRefused, "there is no key %s, so it is not at revision %d", key, rev).try("prytany put " + key + " VALUE --if-absent")
	case errors.Is(err, client.ErrConflict) && rev == 0:
		return failure(codeRefused, "%s exists already, at revision %d", key, now).try("prytany get " + key + " --meta")
	case errors.Is(err, client.ErrConflict):
		return failure(codeRefused, "%s is at revision %d, not %d", key, now, rev).try("prytany get " + key + " --meta")
	case errors.Is(err, client.ErrStaleFence):
		if name, fence, ok := cutLast(guard, ':'); ok {
			return failure(codeRefused, "%s is unchanged: %s", key, staleText(p, name, fence)).try("prytany locks " + name)
		}
	case p.Code == string(api.CodeKeyNotFound):
		return failure(codeNotFound, "there is no key %s", key).try("prytany list")
	}
	return err
}

// staleText says which grant of a lock is the present one.
func staleText(p *client.ProblemError, name, fence string) string {
	if p.CurrentFence == 0 {
		return fmt.Sprintf("nobody holds lock %s", name)
	}
	return fmt.Sprintf("the present fence of lock %s is %d, not %s", name, p.CurrentFence, fence)
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
