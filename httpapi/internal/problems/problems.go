// Package problems says how each kind of problem looks from outside: its status,
// what has become of the change, whether to try again.
package problems

import (
	"bytes"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// An Answer says how a kind of problem looks from outside.
type Answer struct {
	Status    int
	Code      api.Code
	Applied   api.Applied
	Retryable bool // the same request may succeed, and sending it again does no harm
	Title     string
}

// Service holds the answer to each code of the service. A test walks it.
var Service = [locks.NumCodes]Answer{
	locks.Internal:         {http.StatusInternalServerError, api.CodeInternal, api.AppliedUnknown, false, "Internal error"},
	locks.Invalid:          {http.StatusBadRequest, api.CodeInvalid, api.AppliedNo, false, "The request can never succeed as written"},
	locks.LockHeld:         {http.StatusConflict, api.CodeLockHeld, api.AppliedNo, true, "Somebody else holds the lock"},
	locks.LockUnknown:      {http.StatusNotFound, api.CodeLockUnknown, api.AppliedNo, false, "Nobody holds or waits for this lock"},
	locks.SessionUnknown:   {http.StatusNotFound, api.CodeSessionUnknown, api.AppliedNo, false, "No such session"},
	locks.SessionExpired:   {http.StatusGone, api.CodeSessionExpired, api.AppliedNo, false, "The session is over and its locks are gone"},
	locks.StaleFence:       {http.StatusPreconditionFailed, api.CodeStaleFence, api.AppliedNo, false, "The grant of this fence is over"},
	locks.RevisionMismatch: {http.StatusPreconditionFailed, api.CodeRevisionMismatch, api.AppliedNo, false, "The entry is not at this revision"},
	locks.KeyNotFound:      {http.StatusNotFound, api.CodeKeyNotFound, api.AppliedNo, false, "No such key"},
	locks.KeyReused:        {http.StatusUnprocessableEntity, api.CodeKeyReused, api.AppliedNo, false, "The Idempotency-Key was used with another request"},
	locks.NoLeader:         {http.StatusServiceUnavailable, api.CodeNoLeader, api.AppliedNo, true, "The group has no leader at present"},
	locks.Overloaded:       {http.StatusServiceUnavailable, api.CodeOverloaded, api.AppliedNo, true, "Too much to do at present"},
	locks.OutcomeUnknown:   {http.StatusGatewayTimeout, api.CodeOutcomeUnknown, api.AppliedUnknown, false, "The change may or may not take effect"},
	locks.TooLarge:         {http.StatusRequestEntityTooLarge, api.CodeTooLarge, api.AppliedNo, false, "Too large"},
	locks.LimitMismatch:    {http.StatusConflict, api.CodeLimitMismatch, api.AppliedNo, true, "The lock is in use with another number of slots"},
	locks.UpgradeRefused:   {http.StatusConflict, api.CodeUpgradeRefused, api.AppliedNo, true, "Others share the lock"},
	locks.SessionNeeded:    {http.StatusPreconditionRequired, api.CodeSessionNeeded, api.AppliedNo, false, "Say whose grant to release"},
	locks.NotCandidate:     {http.StatusConflict, api.CodeNotCandidate, api.AppliedNo, false, "Not a candidate of this election"},
	locks.Compacted:        {http.StatusGone, api.CodeCompacted, api.AppliedNo, false, "These events are no longer kept"},
	locks.NotApplied:       {http.StatusServiceUnavailable, api.CodeNotApplied, api.AppliedNo, true, "This node has not yet applied the revision"},
}

// Own holds the answers to what the HTTP server finds by itself, and to what a node
// says of groups and members.
var Own = []Answer{
	{http.StatusNotFound, api.CodeNotFound, api.AppliedNo, false, "Nothing here"},
	{http.StatusMethodNotAllowed, api.CodeMethodNotAllowed, api.AppliedNo, false, "Method not allowed"},
	{http.StatusNotFound, api.CodeGroupUnknown, api.AppliedNo, false, "No such group"},
	{http.StatusPreconditionRequired, api.CodeFenceRequired, api.AppliedNo, false, "Say which grant to release"},
	{http.StatusMisdirectedRequest, api.CodeNotLeader, api.AppliedNo, true, "This node does not lead the group"},
	{http.StatusForbidden, api.CodeForbiddenOrigin, api.AppliedNo, false, "Refused a request from another site"},
	{http.StatusForbidden, api.CodeForbiddenHost, api.AppliedNo, false, "Refused a request for another host"},
	{http.StatusUnsupportedMediaType, api.CodeEncoding, api.AppliedNo, false, "Content-Encoding is not supported"},
	{http.StatusRequestTimeout, api.CodeTimeout, api.AppliedNo, true, "The body came too slowly"},
	{http.StatusServiceUnavailable, api.CodeStopping, api.AppliedNo, true, "This node is going down"},
	{http.StatusServiceUnavailable, api.CodeNotReady, api.AppliedNo, true, "This node is not ready"},
	{http.StatusNotFound, api.CodeVoterUnknown, api.AppliedNo, false, "No such voter"},
	{http.StatusConflict, api.CodeNoHeir, api.AppliedNo, true, "Nobody could take the lead over"},
	{http.StatusConflict, api.CodeHandingOver, api.AppliedNo, true, "The lead is being handed over already"},
	{http.StatusConflict, api.CodeGroupExists, api.AppliedNo, false, "There is a group of this name"},
	{http.StatusConflict, api.CodeGroupBusy, api.AppliedNo, true, "Another change of the group's members is under way"},
	{http.StatusConflict, api.CodeTooFewNodes, api.AppliedNo, true, "There are not enough suitable nodes"},
	{http.StatusNotFound, api.CodeNodeUnknown, api.AppliedNo, false, "No such node"},
	{http.StatusConflict, api.CodeNodeRemoved, api.AppliedNo, false, "The node was removed from the cluster"},
	{http.StatusConflict, api.CodeQuorumAtRisk, api.AppliedNo, true, "Those who stay and live would be no quorum"},
	{http.StatusConflict, api.CodeMainGroup, api.AppliedNo, false, "That cannot be done to the group main"},
	{http.StatusConflict, api.CodeTooManyGroups, api.AppliedNo, false, "There are as many groups as there may be"},
	{http.StatusMisdirectedRequest, api.CodeNotMember, api.AppliedNo, true, "This node has no part in the group"},
}

// For finds the answer to code; there is one to each.
func For(code api.Code) Answer {
	for _, list := range [][]Answer{Service[:], Own} {
		for _, a := range list {
			if a.Code == code {
				return a
			}
		}
	}
	return Service[locks.Internal]
}

// New returns a problem about field; any of field, value and limit may be
// empty.
func New(code api.Code, field, value, limit, format string, args ...any) *api.Problem {
	return &api.Problem{Code: code, Field: field, Value: Short(value), Limit: limit, Detail: fmt.Sprintf(format, args...)}
}

// Short makes s fit to be repeated to the one who sent it.
func Short(s string) string {
	const most = 64
	if len(s) > most {
		cut := most
		for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return string(bytes.ToValidUTF8([]byte(s), []byte("\uFFFD")))
}

// HeldFor is how long what was asked for will surely be held, if nobody lets go
// earlier.
func HeldFor(e *locks.Error) (longest time.Duration) {
	look := func(h *locks.HeldInfo) {
		if h.Holder == nil {
			longest = max(longest, h.LockDelayRemaining)
		} else {
			longest = max(longest, h.Holder.ExpiresIn)
		}
	}
	if e.Held != nil {
		look(e.Held)
	}
	for i := range e.All {
		look(&e.All[i].HeldInfo)
	}
	return longest
}
