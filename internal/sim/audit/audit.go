// Package audit keeps a second, simple account of sessions, locks, elections,
// entries and fence registers. It takes each command as the first node applies
// it, and fails if what that node answered, or what it tells those who watch, is
// not what the account says (I10, I11, I12). It remembers all states, so that it
// can tell what a read or a stream after any number of commands must have seen.
package audit

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
)

// An Account is what a log of commands comes to.
type Account struct {
	now      func() time.Duration
	maxDrift int // of clocks, in parts per million
	keep     int // revisions of which events are kept

	count    int // commands taken: the revision
	lead     uint64
	sessions map[string]*session
	locks    map[string]*lock
	keys     map[string]*key
	fences   map[string]uint64
	readings map[string][]Reading     // of fences, by resource
	answers  map[string]*locks.Result // all there ever were
	memories [2]memory                // those that the machine has: of callers, of the service itself
	changed  map[*lock]bool           // by the present command
	grants   map[grantID]string       // why they have ended; "" if they have not
	log      record

	// Trusting says that what a node answers is not compared with the account: for
	// tests that show what others notice.
	Trusting bool

	// Wild says that clocks may break their promise: what ends early is counted, and
	// is no violation.
	Wild bool

	// Expired is told of each session that expires.
	Expired func(session string)

	Ends Ends
}

// Ends count what ended by the clock.
type Ends struct {
	Expired, Delays, Yields int
	Early                   int // before their time, while clocks were wild
	Forgotten               int // answers
}

// early says that something ends before its time (L4).
func (a *Account) early(format string, args ...any) {
	if a.Wild {
		a.Ends.Early++
		return
	}
	a.fail("L4", format, args...)
}

// New returns the account of an empty machine. now is true time; clocks run
// maxDrift parts per million fast or slow, at most; the machine keeps the events
// of keep revisions.
func New(now func() time.Duration, maxDrift, keep int) *Account {
	return &Account{
		now: now, maxDrift: maxDrift, keep: keep,
		sessions: map[string]*session{}, locks: map[string]*lock{}, keys: map[string]*key{},
		fences: map[string]uint64{}, readings: map[string][]Reading{}, answers: map[string]*locks.Result{}, changed: map[*lock]bool{},
		grants: map[grantID]string{}, Expired: func(string) {},
		memories: [2]memory{newMemory(), newMemory()},
	}
}

func (a *Account) fail(invariant, format string, args ...any) {
	oracle.Fail(invariant, "command %d: %s", a.count, fmt.Sprintf(format, args...))
}

// Count returns how many commands were taken.
func (a *Account) Count() int { return a.count }

// Applied takes the next command of the log, the result that the node called
// who had first, and the events that it tells of.
func (a *Account) Applied(who string, cmd, result []byte, events []locks.Event) {
	a.count++
	c, err := locks.Decode(cmd)
	if err != nil {
		a.fail("I6", "%s applies what is no command: %v", who, err)
	}
	got, err := locks.DecodeResult(result)
	if err != nil {
		a.fail("I6", "%s: unreadable result: %v", who, err)
	}
	if want, answered := a.take(c); answered && !a.Trusting {
		a.compare(who, c, got, want)
	}
	a.settle()
	a.told(who, c, events)
}

// take does what c says and returns what its sender must be told, if anything.
func (a *Account) take(c locks.Command) (want locks.Result, answered bool) {
	switch c := c.(type) {
	case *locks.LeadCommand:
		a.lead = c.Ballot.Pack()
	case *locks.ForgetCommand:
		a.forget(c)
	case *locks.CompactCommand:
		a.log.compact(a.count, c.UpTo)
	case *locks.DelayCommand:
		a.endDelay(c)
	case *locks.EndYieldCommand:
		a.endYield(c)
	case *locks.ExpireCommand:
		a.expire(c)
	case *locks.CancelCommand:
		return a.stamped(a.cancel(c)), true
	default:
		r, do := a.request(c)
		return a.once(r, do), true
	}
	return want, false
}

// request returns a client's request and what it does.
func (a *Account) request(c locks.Command) (locks.Request, func() locks.Result) {
	switch c := c.(type) {
	case *locks.OpenCommand:
		return c.Request, func() locks.Result { return a.open(c) }
	case *locks.EndCommand:
		return c.Request, func() locks.Result { return a.end(c) }
	case *locks.AcquireCommand:
		return c.Request, func() locks.Result { return a.acquire(c) }
	case *locks.AcquireAllCommand:
		return c.Request, func() locks.Result { return a.acquireAll(c) }
	case *locks.ReleaseCommand:
		return c.Request, func() locks.Result { return a.release(c) }
	case *locks.YieldCommand:
		return c.Request, func() locks.Result { return a.yield(c) }
	case *locks.ProclaimCommand:
		return c.Request, func() locks.Result { return a.proclaim(c) }
	case *locks.TransferCommand:
		return c.Request, func() locks.Result { return a.transfer(c) }
	case *locks.AdvanceCommand:
		return c.Request, func() locks.Result { return a.advance(c) }
	case *locks.ForgetFenceCommand:
		return c.Request, func() locks.Result { return a.forgetFence(c) }
	case *locks.PutCommand:
		return c.Request, func() locks.Result { return a.put(c) }
	case *locks.DeleteCommand:
		return c.Request, func() locks.Result { return a.remove(c) }
	case *locks.TxnCommand:
		return c.Request, func() locks.Result { return a.txn(c) }
	}
	a.fail("I6", "a command of unknown kind: %+v", c)
	return locks.Request{}, nil
}

// once returns the first answer to r again, or that of do.
func (a *Account) once(r locks.Request, do func() locks.Result) locks.Result {
	if g := a.known(r); g != nil {
		again := *g
		again.Repeated = true
		return again
	}
	if no, ok := a.forgotten(r); ok {
		return no
	}
	g := &locks.Result{}
	a.remember(r, g) // before do, which may amend it
	*g = a.stamped(do())
	return *g
}

// Answer returns the first answer to a request, and whether it is in the log.
// That to an acquire which got a place in a queue changes when its turn comes.
func (a *Account) Answer(request string) (locks.Result, bool) {
	if g := a.answers[request]; g != nil {
		return *g, true
	}
	return locks.Result{}, false
}

// amend replaces the answer to a request.
func (a *Account) amend(request string, r locks.Result) {
	r = a.stamped(r)
	a.answers[request] = &r
}

// stamped returns r as given at the present revision.
func (a *Account) stamped(r locks.Result) locks.Result {
	r.Revision = uint64(a.count)
	return r
}

// compare fails if got is not want. What is told to people alone may differ.
func (a *Account) compare(who string, c locks.Command, got, want locks.Result) {
	got.Detail = ""
	if got != want {
		inv := "I10"
		if got.Repeated != want.Repeated {
			inv = "I11"
		}
		a.fail(inv, "%s answers %+v to %T%+v; want %+v", who, got, c, c, want)
	}
}

func refuse(c locks.Code) locks.Result { return locks.Result{Refused: true, Code: c} }

// least returns the shortest true time that a clock can take for d to pass.
func (a *Account) least(d time.Duration) time.Duration {
	return d - d*time.Duration(a.maxDrift)/1e6
}
