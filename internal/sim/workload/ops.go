// Package workload is what the clients of a simulation want and what they have
// heard, and the history of it all. How their requests travel is not its matter.
package workload

import (
	"hash/fnv"

	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
)

// A Kind is a kind of operation.
type Kind uint8

// The kinds of operations. Those from Get on read and have no command.
const (
	Create Kind = iota
	End
	Acquire
	Cancel
	Release
	Put
	CAS
	Delete
	Borrow // acquire without a session
	All    // acquire several locks
	Break
	Yield
	Campaign
	Proclaim
	Transfer
	Advance
	Forget
	Txn
	Get     // read a key
	Look    // read a lock
	Peek    // read a group of keys
	Reading // read a fence register

	NumKinds = int(Reading) + 1
)

var kindNames = [NumKinds]string{
	"create-session", "end-session", "acquire", "cancel", "release", "put", "cas", "delete",
	"borrow", "acquire-all", "break", "yield", "campaign", "proclaim", "transfer", "advance", "forget-fence", "txn",
	"get", "look", "peek", "reading",
}

func (k Kind) String() string { return kindNames[k] }

// Writes reports whether k goes through the log.
func (k Kind) Writes() bool { return k < Get }

// An Op is what a client wants. Its id is the same however often it asks.
type Op struct {
	ID      string
	Kind    Kind
	Name    string // of what it is about: key, lock, group, register
	Session string
	Command locks.Command // without its request; nil if it reads

	cancels string // Cancel: the id of the acquire
	waits   string // Look: the id of the acquire that waits
	own     bool
	since   uint64 // a revision from before it was begun
}

// Encode returns the command of o as its try-th try.
func (o *Op) Encode(try int) []byte {
	r := locks.Request{ID: o.ID, Own: o.own, Hash: hash(o.ID), Retry: try > 1, Since: o.since}
	switch c := o.Command.(type) {
	case *locks.OpenCommand:
		c.Request = r
	case *locks.EndCommand:
		c.Request = r
	case *locks.AcquireCommand:
		c.Request = r
	case *locks.AcquireAllCommand:
		c.Request = r
	case *locks.CancelCommand:
		r.ID, r.Hash = o.cancels, hash(o.cancels)
		c.Request = r
	case *locks.ReleaseCommand:
		c.Request = r
	case *locks.YieldCommand:
		c.Request = r
	case *locks.ProclaimCommand:
		c.Request = r
	case *locks.TransferCommand:
		c.Request = r
	case *locks.AdvanceCommand:
		c.Request = r
	case *locks.ForgetFenceCommand:
		c.Request = r
	case *locks.TxnCommand:
		c.Request = r
	case *locks.PutCommand:
		c.Request = r
	case *locks.DeleteCommand:
		c.Request = r
	}
	return locks.Encode(o.Command)
}

// An Answer is what a client is told.
type Answer struct {
	Result locks.Result // of a command
	Seen   Seen         // by a read

	dead     bool   // the session is over
	Revision uint64 // of a key, or the newest that the answer tells of
}

// Seen is what a read saw.
type Seen struct {
	At    uint64 // revision of the state
	Value audit.Value
	Lock  audit.LockState
	Group [GroupKeys]audit.Value
	Fence audit.Reading
}

// Forgotten reports whether the cluster has forgotten what became of the request, or
// whether it ever heard of it.
func (a *Answer) Forgotten() bool {
	return a.Result.Refused && (a.Result.Code == locks.OutcomeUnknown || a.Result.Code == locks.Overloaded)
}

func (a *Answer) ok() bool { return !a.Result.Refused }

// Answer reads what applying o's command returned.
func (o *Op) Answer(payload []byte) Answer {
	r, err := locks.DecodeResult(payload)
	if err != nil {
		oracle.Fail("I6", "the result of %s is not readable: %v", o.ID, err)
	}
	a := Answer{Result: r, Revision: r.Revision}
	switch {
	case r.Refused && r.Code == locks.Internal:
		oracle.Fail("I6", "the command %s is not readable: %s", o.ID, r.Detail)
	case r.Refused && (r.Code == locks.SessionExpired || r.Code == locks.SessionUnknown):
		a.dead = o.Session != "" && r.Step == 0 // else it is about a session in a transaction
	case r.Refused && r.Code == locks.RevisionMismatch:
		a.Revision = r.Current
	}
	return a
}

// See reads what o asks for from a machine. It must be what the account says
// (I8).
func (o *Op) See(v locks.View, account *audit.Account, r audit.Reader) (a Answer) {
	a.Seen.At = v.Meta().Revision
	switch o.Kind {
	case Get:
		a.Seen.Value = audit.ValueOf(v, o.Name)
		a.Revision = a.Seen.Value.Revision
		account.SeesKey(r, o.Name, a.Seen.Value)
	case Look:
		a.Seen.Lock = audit.LockOf(v, o.Name)
		account.SeesLock(r, o.Name, a.Seen.Lock)
		if o.waits != "" {
			c := &locks.AcquireCommand{Request: locks.Request{ID: o.waits, Own: o.own}, Lock: o.Name, Session: o.Session}
			p := v.Place(c)
			account.SeesPlace(r, c, p)
			if p.Cancel != nil {
				p.Cancel()
			}
		}
	case Peek:
		for i := range a.Seen.Group {
			k := GroupKey(o.Name, i)
			a.Seen.Group[i] = audit.ValueOf(v, k)
			account.SeesKey(r, k, a.Seen.Group[i])
		}
	case Reading:
		f := &a.Seen.Fence
		f.Highest, f.Known = v.Fence(o.Name)
		account.SeesFence(r, o.Name, *f)
	}
	return a
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}
