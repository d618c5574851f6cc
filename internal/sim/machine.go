package sim

import (
	"fmt"
	"time"

	"github.com/prytany/prytany/internal/sim/oracle"
	"github.com/prytany/prytany/locks"
)

// An opKind is a kind of operation.
type opKind uint8

const (
	opCreate opKind = iota
	opEnd
	opAcquire
	opCancel
	opRelease
	opPut
	opCAS
	opDelete
	opGet  // read a key
	opLook // read a lock
)

func (k opKind) String() string {
	return [...]string{"create-session", "end-session", "acquire", "cancel", "release", "put", "cas", "delete", "get", "look"}[k]
}

// writes reports whether k goes through the log.
func (k opKind) writes() bool { return k < opGet }

// An op is what a client wants. Its id is the same however often it asks.
type op struct {
	id       string
	kind     opKind
	session  string
	name     string // lock or key
	value    string
	revision uint64
	fence    uint64
	wait     bool
	cancels  string // opCancel: the id of the acquire
	guard    *locks.Guard
	attached bool // opPut: the entry goes with the session
	own      bool
	since    uint64 // a revision from before it was begun
	ttl      time.Duration
}

// command returns the bytes of o as its try-th try.
func (o *op) command(try int) []byte {
	r := locks.Request{ID: o.id, Own: o.own, Hash: hashString(o.id), Retry: try > 1, Since: o.since}
	var revision *uint64
	if o.kind == opCAS {
		revision = &o.revision
	}
	var c locks.Command
	switch o.kind {
	case opCreate:
		c = &locks.OpenCommand{Request: r, ID: o.session, TTL: o.ttl}
	case opEnd:
		c = &locks.EndCommand{Request: r, ID: o.session}
	case opAcquire:
		c = &locks.AcquireCommand{Request: r, Lock: o.name, Session: o.session, Wait: o.wait, Note: o.id}
	case opCancel:
		r.ID, r.Hash = o.cancels, hashString(o.cancels)
		c = &locks.CancelCommand{Request: r, Lock: o.name, Session: o.session}
	case opRelease:
		c = &locks.ReleaseCommand{Request: r, Lock: o.name, Fence: o.fence}
	case opPut, opCAS:
		p := &locks.PutCommand{Request: r, Key: o.name, Value: []byte(o.value), IfRevision: revision, Guard: o.guard}
		if o.attached {
			p.Session = o.session
		}
		c = p
	case opDelete:
		c = &locks.DeleteCommand{Request: r, Key: o.name}
	default:
		panic(fmt.Sprintf("sim: %v is no command", o.kind))
	}
	return locks.Encode(c)
}

// An answer is what a client is told.
type answer struct {
	ok       bool
	dead     bool // the session is over
	queued   bool
	exists   bool
	session  string
	value    string
	revision uint64
	fence    uint64
}

// result reads what applying o's command returned.
func (o *op) result(payload []byte) answer {
	r, err := locks.DecodeResult(payload)
	if err != nil {
		oracle.Fail("I6", "the result of %s is not readable: %v", o.id, err)
	}
	a := answer{ok: !r.Refused, queued: r.Queued, session: r.Session, fence: r.Fence, revision: r.Revision}
	switch {
	case r.Refused && r.Code == locks.Internal:
		oracle.Fail("I6", "the command %s is not readable: %s", o.id, r.Detail)
	case r.Refused && (r.Code == locks.SessionExpired || r.Code == locks.SessionUnknown):
		a.dead = o.session != ""
	case r.Refused && r.Code == locks.RevisionMismatch:
		a.revision, a.exists = r.Current, r.Current != 0
	}
	return a
}

// keepAlive returns the question that renews a session's lease.
func keepAlive(session string) []byte {
	return (&locks.Question{Extend: true, Sessions: []string{session}}).Encode()
}

// kept reads its answer: the lease began anew, or the session is over, or
// neither.
func kept(payload []byte) (alive, dead bool) {
	a, err := locks.DecodeAnswer(payload)
	if err != nil {
		oracle.Fail("I6", "the answer to a keepalive is not readable: %v", err)
	}
	if a.NotYet || len(a.Leases) != 1 {
		return false, false
	}
	s := a.Leases[0].State
	return s == locks.LeaseAlive, s == locks.LeaseUnknown || s == locks.LeaseOver
}
