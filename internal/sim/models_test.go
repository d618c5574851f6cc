package sim

import (
	"slices"

	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/internal/sim/audit"
	"github.com/prytany/prytany/internal/sim/workload"
	"github.com/prytany/prytany/locks"
)

// A keyValue is the state of one key: a register with compare-and-set.
type keyValue struct {
	value    string
	revision uint64 // 0 if there is no entry
	highest  uint64
}

// register says that the operations on one key take effect one after another,
// each between its call and its return, and that revisions rise, those of deletions and
// refusals, too.
var register = porcupine.Model{
	Init: func() any { return keyValue{} },
	Step: func(state, in, _ any) (bool, any) {
		s, p := state.(keyValue), in.(*workload.Record)
		r := p.Result
		if p.Kind == workload.Get {
			v := p.Seen.Value
			return v.Revision == s.revision && v.Value == s.value, s
		}
		if r.Revision < s.highest {
			return false, s
		}
		if r.Refused {
			next := keyValue{s.value, s.revision, r.Revision}
			switch c := p.Command.(type) {
			case *locks.PutCommand:
				return r.Code != locks.RevisionMismatch || mismatch(c.IfRevision, r, s), next
			case *locks.DeleteCommand:
				return r.Code != locks.RevisionMismatch || mismatch(c.IfRevision, r, s), next
			}
		}
		switch c := p.Command.(type) {
		case *locks.DeleteCommand:
			return c.IfRevision == nil || *c.IfRevision == s.revision, keyValue{highest: r.Revision}
		case *locks.PutCommand:
			ok := c.IfRevision == nil || *c.IfRevision == s.revision
			return ok && r.Revision > s.highest, keyValue{string(c.Value), r.Revision, r.Revision}
		}
		return false, s
	},
}

// mismatch reports whether a change was refused rightly.
func mismatch(wanted *uint64, r locks.Result, s keyValue) bool {
	return wanted != nil && *wanted != s.revision && r.Current == s.revision
}

// A groupValue is the state of keys that change together.
type groupValue struct {
	keys    [workload.GroupKeys]keyValue
	highest uint64
}

// index returns which key of the group is meant, -1 if it is none of it.
func (s *groupValue) index(p *workload.Record, key string) int {
	for i := range s.keys {
		if workload.GroupKey(p.Name, i) == key {
			return i
		}
	}
	return -1
}

// group says that transactions take effect whole and one after another. Whether
// a session lives and a fence is current is for the log to say.
var group = porcupine.Model{
	Init: func() any { return groupValue{} },
	Step: func(state, in, _ any) (bool, any) {
		s, p := state.(groupValue), in.(*workload.Record)
		if p.Kind == workload.Peek {
			for i, v := range p.Seen.Group {
				if v.Revision != s.keys[i].revision || v.Value != s.keys[i].value {
					return false, s
				}
			}
			return true, s
		}
		if p.Result.Refused {
			return true, s
		}
		r, err := locks.DecodeTxn(p.Result.Body)
		if err != nil || p.Result.Revision <= s.highest {
			return false, s
		}
		return s.txn(p, p.Command.(*locks.TxnCommand), r)
	},
}

// txn reports whether r is what a transaction does to s.
func (s groupValue) txn(p *workload.Record, c *locks.TxnCommand, r locks.TxnResult) (bool, groupValue) {
	for i, g := range c.If {
		at := slices.IndexFunc(r.Failed, func(f locks.Failed) bool { return f.Index == i })
		k := s.index(p, g.Name)
		if k < 0 || g.Kind == locks.IfAlive || g.Kind == locks.IfCurrent {
			continue
		}
		if holds(g, s.keys[k]) != (at < 0) || at >= 0 && r.Failed[at].Current != s.keys[k].revision {
			return false, s
		}
	}
	steps := c.Then
	if len(r.Failed) > 0 {
		steps = c.Else
	}
	if r.Succeeded != (len(r.Failed) == 0) || len(r.Steps) != len(steps) {
		return false, s
	}
	s.highest = p.Result.Revision
	for i, o := range steps {
		if !s.step(p, o, r.Steps[i]) {
			return false, s
		}
	}
	return true, s
}

func holds(g locks.If, k keyValue) bool {
	switch g.Kind {
	case locks.IfExists:
		return k.revision != 0
	case locks.IfAbsent:
		return k.revision == 0
	case locks.IfValue:
		return k.revision != 0 && k.value == string(g.Value)
	}
	return k.revision == g.Revision
}

// step does one operation and reports whether it did what d says.
func (s *groupValue) step(p *workload.Record, o locks.Op, d locks.Done) bool {
	if o.Kind == locks.OpDeletePrefix {
		n := uint64(0)
		for i := range s.keys {
			if s.keys[i].revision != 0 {
				s.keys[i] = keyValue{}
				n++
			}
		}
		return d.Deleted == n
	}
	i := s.index(p, o.Key)
	if i < 0 {
		return true
	}
	k := &s.keys[i]
	switch o.Kind {
	case locks.OpGet:
		return d.Found == (k.revision != 0) && d.Revision == k.revision && string(d.Value) == k.value
	case locks.OpDelete:
		ok := (d.Deleted == 1) == (k.revision != 0)
		*k = keyValue{}
		return ok
	}
	*k = keyValue{value: string(o.Value), revision: s.highest}
	return d.Revision == s.highest
}

// fences says that a fence register never falls while it is remembered.
var fences = porcupine.Model{
	Init: func() any { return audit.Reading{} },
	Step: func(state, in, _ any) (bool, any) {
		s, p := state.(audit.Reading), in.(*workload.Record)
		r := p.Result
		switch c := p.Command.(type) {
		case *locks.AdvanceCommand:
			if r.Refused {
				return c.Fence < s.Highest && r.Current == s.Highest, s
			}
			return c.Fence >= s.Highest && r.Fence == c.Fence, audit.Reading{Highest: c.Fence, Known: true}
		case *locks.ForgetFenceCommand:
			if r.Refused {
				return (!s.Known || c.Fence != s.Highest) && r.Current == s.Highest, s
			}
			return s.Known && c.Fence == s.Highest, audit.Reading{}
		}
		return p.Seen.Fence == s, s
	},
}

// A termValue is what clients can know of an election.
type termValue struct {
	floor   uint64 // all earlier terms are over
	session string // leader of the term floor, "" if that is over too
	value   string // what it publishes
	known   bool   // value is it
}

// terms says that terms of an election come one after another, with rising
// fences, and that within one the leader's newest value is seen. Terms may end
// and begin at any moment, unseen.
var terms = porcupine.Model{
	Init: func() any { return termValue{} },
	Step: func(state, in, _ any) (bool, any) {
		s, p := state.(termValue), in.(*workload.Record)
		r := p.Result
		switch c := p.Command.(type) {
		case *locks.AcquireCommand:
			ok, next := s.seen(r.Session, r.Fence)
			if c.Campaign { // one that waited may have got what another of the same session asked for
				next.value, next.known = c.Value, !c.Wait
			}
			return ok, next
		case *locks.ProclaimCommand:
			ok, next := s.seen(r.Session, r.Fence)
			next.value, next.known = c.Value, true
			return ok, next
		case *locks.TransferCommand:
			return s.seen(r.Session, r.Fence)
		case *locks.ReleaseCommand:
			if c.Force {
				return true, termValue{floor: max(s.floor, r.Revision)}
			}
			ok, _ := s.seen(r.Session, r.Fence)
			return ok, termValue{floor: max(s.floor, r.Fence+1)}
		}
		if len(p.Seen.Lock.Holders) == 0 {
			return true, termValue{floor: max(s.floor, p.Seen.At+1)}
		}
		h := p.Seen.Lock.Holders[0]
		ok, next := s.seen(h.Session, h.Fence)
		if h.Elected {
			ok = ok && (!next.known || next.value == h.Value)
			next.value, next.known = h.Value, true
		}
		return ok, next
	},
}

// seen is what is known after it was seen who leads.
func (s termValue) seen(session string, fence uint64) (bool, termValue) {
	switch {
	case fence < s.floor, fence == s.floor && s.session != "" && s.session != session:
		return false, s
	case fence == s.floor && s.session == session:
		return true, s
	}
	return true, termValue{floor: fence, session: session}
}

// termTold reports whether p tells anything about an election.
func termTold(p *workload.Record) bool {
	if p.Result.Refused || p.Result.Queued {
		return false
	}
	switch p.Kind {
	case workload.Acquire, workload.Campaign, workload.Proclaim, workload.Transfer, workload.Release, workload.Break, workload.Look:
		return true
	}
	return false
}

func campaigns(session string, fence uint64, value string) *workload.Record {
	return &workload.Record{Op: workload.Op{Kind: workload.Campaign, Command: &locks.AcquireCommand{Campaign: true, Value: value}}, Result: locks.Result{Session: session, Fence: fence}}
}

func proclaim(session string, fence uint64, value string) *workload.Record {
	return &workload.Record{Op: workload.Op{Kind: workload.Proclaim, Command: &locks.ProclaimCommand{Value: value}}, Result: locks.Result{Session: session, Fence: fence}}
}

func leads(session string, fence uint64, value string, at uint64) *workload.Record {
	p := &workload.Record{Op: workload.Op{Kind: workload.Look}}
	p.Seen.At = at
	p.Seen.Lock.Holders = []audit.Hold{{Session: session, Fence: fence, Elected: true, Value: value}}
	return p
}
