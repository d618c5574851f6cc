// Package reply says the service's answers in the words of the API: package
// locks has the types that are given, package api those that are returned.
//
// All of it is pure functions, but for what they return nothing is kept or
// changed.
package reply

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/locks"
)

// JSON returns v, compact, with a newline at its end.
func JSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // the types of package api can be encoded
	}
	return b.Bytes()
}

// MS is d in whole milliseconds, rounded down: a lease is never shown longer
// than it is.
func MS(d time.Duration) int64 { return d.Milliseconds() }

// KnownMS is nil for the negative durations that stand for "not known".
func KnownMS(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	n := MS(d)
	return &n
}

// Each maps a list; the result is never nil, so that JSON says [].
func Each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, v := range in {
		out = append(out, f(v))
	}
	return out
}

// SessionInfo returns what a listing tells of a session.
func SessionInfo(s locks.Session) api.SessionInfo {
	return api.SessionInfo{
		ID:              s.ID,
		Name:            s.Name,
		TTLMS:           MS(s.TTL),
		LockDelayMS:     MS(s.LockDelay),
		ExpiresInMS:     KnownMS(s.ExpiresIn),
		CreatedRevision: s.Created,
		Bound:           s.Bound,
	}
}

// Session returns a session, whole.
func Session(s locks.Session) api.Session {
	return api.Session{
		SessionInfo: SessionInfo(s),
		Holds:       Each(s.Holds, Held),
		Waits:       append([]string{}, s.Waits...),
		Keys:        append([]string{}, s.Keys...),
	}
}

// Lock returns a lock.
func Lock(l locks.Lock) api.Lock {
	out := api.Lock{
		Name:                 l.Name,
		Slots:                manySlots(l.Slots),
		Holders:              Each(l.Holders, Holder),
		Waiters:              Each(l.Waiters, waiter),
		Past:                 Each(l.Past, past),
		ChangedRevision:      l.Changed,
		LockDelayRemainingMS: MS(l.LockDelayRemaining),
	}
	if y := l.Yield; y != nil {
		out.Yield = &api.Yield{Since: y.Since, Reason: y.Reason}
		if y.Within > 0 {
			out.Yield.RemainingMS = KnownMS(y.Remaining)
		}
	}
	return out
}

// Held returns a grant as one of several.
func Held(g locks.Grant) api.Held { return api.Held{Name: g.Name, Fence: g.Fence} }

func past(p locks.Past) api.Past { return api.Past(p) }

func waiter(w locks.Waiter) api.Waiter {
	return api.Waiter{Session: w.Session, Owner: w.Owner, Mode: mode(w.Mode), Note: w.Note, Since: w.Since}
}

func mode(m locks.Mode) string {
	if m == locks.Shared {
		return api.ModeShared
	}
	return api.ModeExclusive
}

// Holder returns a holder of a lock.
func Holder(h locks.Holder) api.Holder {
	return api.Holder{
		Session:     h.Session,
		Owner:       h.Owner,
		Fence:       h.Fence,
		Mode:        mode(h.Mode),
		Note:        h.Note,
		Value:       h.Value,
		Since:       h.Since,
		HeldMS:      KnownMS(h.Held),
		ExpiresInMS: KnownMS(h.ExpiresIn),
	}
}

// manySlots is n of a semaphore, 0 of a lock.
func manySlots(n int) int {
	if n > 1 {
		return n
	}
	return 0
}

// Leader returns the holder of l if it leads the election of its name.
func Leader(l locks.Lock) *locks.Holder {
	if len(l.Holders) == 0 || !l.Holders[0].Elected {
		return nil
	}
	return &l.Holders[0]
}

// Election returns the election of l's name.
func Election(l locks.Lock) api.Election {
	out := api.Election{
		Name:            l.Name,
		Candidates:      []api.Candidate{},
		Past:            Each(l.Past, past),
		ChangedRevision: l.Changed,
	}
	if h := Leader(l); h != nil {
		out.Leader = &api.Leader{
			Session: h.Session, Owner: h.Owner, Term: h.Fence, Value: h.Value,
			HeldMS: KnownMS(h.Held), ExpiresInMS: KnownMS(h.ExpiresIn),
		}
	}
	for _, w := range l.Waiters {
		if w.Campaign {
			out.Candidates = append(out.Candidates, api.Candidate{Session: w.Session, Owner: w.Owner, Value: w.Value, Since: w.Since})
		}
	}
	return out
}

// Term returns the grant of a leader.
func Term(g locks.Grant) api.Term {
	return api.Term{Name: g.Name, Session: g.Session, Term: g.Fence, ExpiresInMS: KnownMS(g.ExpiresIn), WaitedMS: MS(g.Waited)}
}

// Entry returns a config entry.
func Entry(e locks.Entry) api.Entry {
	out := api.Entry{
		Key:             e.Key,
		ContentType:     e.ContentType,
		Revision:        e.Revision,
		CreatedRevision: e.Created,
		Version:         e.Version,
		Session:         e.Session,
	}
	out.Value, out.ValueBase64 = api.EncodeValue(e.Value)
	return out
}

// Around says in h what an answer that is the value alone leaves out.
func Around(h http.Header, e *locks.Entry) {
	numbers := [2]string{strconv.FormatUint(e.Created, 10), strconv.FormatUint(e.Version, 10)}
	h[api.HeaderCreated], h[api.HeaderVersion] = numbers[:1:1], numbers[1:]
	if e.Session != "" {
		h[api.HeaderSession] = []string{e.Session}
	}
}

// HeldBy returns why one lock was not to be had.
func HeldBy(lock string, h *locks.HeldInfo) api.HeldBy {
	out := api.HeldBy{Name: lock, QueuePosition: h.QueuePosition, LockDelayRemainingMS: MS(h.LockDelayRemaining)}
	if h.Holder != nil {
		holder := Holder(*h.Holder)
		out.Holder = &holder
	}
	return out
}

// Grant returns a grant.
func Grant(g locks.Grant) api.Grant {
	return api.Grant{
		Name:        g.Name,
		Session:     g.Session,
		Fence:       g.Fence,
		Mode:        mode(g.Mode),
		Slots:       manySlots(g.Slots),
		ExpiresInMS: KnownMS(g.ExpiresIn),
		WaitedMS:    MS(g.Waited),
	}
}
