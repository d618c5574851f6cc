package audit

import (
	"maps"
	"slices"
	"strings"

	"github.com/prytany/prytany/locks"
)

// A key is what became of a config key: Entry is its present entry, with
// Revision 0 if there is none.
type key struct {
	locks.Entry
	past []Value
}

// A Value is what a read of a config key sees; Revision is 0 if there is no
// entry.
type Value struct {
	count    int
	Value    string
	Revision uint64
	Created  uint64
	Version  uint64
	Session  string
}

func (k *key) exists() bool { return k.Revision != 0 }

func (a *Account) key(name string) *key {
	k := a.keys[name]
	if k == nil {
		k = &key{Entry: locks.Entry{Key: name}}
		a.keys[name] = k
	}
	return k
}

// write makes a new entry of the key.
func (a *Account) write(name string, value []byte, contentType, session string) *key {
	k := a.key(name)
	e := locks.Entry{
		Key: name, Value: value, ContentType: contentType, Session: session,
		Revision: uint64(a.count), Created: uint64(a.count), Version: 1,
	}
	if k.exists() {
		e.Created, e.Version = k.Created, k.Version+1
	}
	a.set(k, e)
	a.event(locks.Event{Type: locks.EventPut, Name: name, Session: session, Entry: &e})
	return k
}

// clear removes the entry of the key, which exists.
func (a *Account) clear(name string, t locks.EventType) {
	k := a.keys[name]
	a.event(locks.Event{Type: t, Name: name, Session: k.Session})
	a.set(k, locks.Entry{Key: name})
}

func (a *Account) set(k *key, e locks.Entry) {
	k.Entry = e
	k.past = append(k.past, Value{a.count, string(e.Value), e.Revision, e.Created, e.Version, e.Session})
}

// admits refuses a change whose guard or condition does not hold.
func (a *Account) admits(k *key, g *locks.Guard, ifRevision *uint64) (locks.Result, bool) {
	if g != nil {
		if newest, ok := a.lock(g.Lock).current(g.Fence); !ok {
			no := refuse(locks.StaleFence)
			no.Current = newest
			return no, false
		}
	}
	if ifRevision != nil && *ifRevision != k.Revision {
		no := refuse(locks.RevisionMismatch)
		no.Current = k.Revision
		return no, false
	}
	return locks.Result{}, true
}

func (a *Account) put(c *locks.PutCommand) locks.Result {
	k := a.key(c.Key)
	if no, ok := a.admits(k, c.Guard, c.IfRevision); !ok {
		return no
	}
	if c.IfPresent && !k.exists() {
		return refuse(locks.RevisionMismatch)
	}
	if c.Session != "" {
		if s, no := a.alive(c.Session); s == nil {
			return no
		}
	}
	a.write(c.Key, c.Value, c.ContentType, c.Session)
	return locks.Result{Created: k.Created, Version: k.Version}
}

func (a *Account) remove(c *locks.DeleteCommand) locks.Result {
	k := a.key(c.Key)
	if no, ok := a.admits(k, c.Guard, c.IfRevision); !ok {
		return no
	}
	if k.exists() {
		a.clear(c.Key, locks.EventDelete)
	}
	return locks.Result{}
}

// txn looks at all conditions, then does all of one branch, or nothing.
func (a *Account) txn(c *locks.TxnCommand) locks.Result {
	out := locks.TxnResult{}
	for i, g := range c.If {
		if current, ok := a.holds(g); !ok {
			out.Failed = append(out.Failed, locks.Failed{Index: i, Current: current})
		}
	}
	out.Succeeded = len(out.Failed) == 0
	steps := c.Then
	if !out.Succeeded {
		steps = c.Else
	}
	for i, o := range steps {
		if o.Session == "" {
			continue
		}
		if s, no := a.alive(o.Session); s == nil {
			no.Step = i + 1
			return no
		}
	}
	for _, o := range steps {
		out.Steps = append(out.Steps, a.step(o))
	}
	return locks.Result{Body: out.Encode()}
}

// holds reports whether a condition holds, and what it was compared with.
func (a *Account) holds(g locks.If) (current uint64, ok bool) {
	switch g.Kind {
	case locks.IfAlive:
		s, _ := a.alive(g.Name)
		return 0, s != nil
	case locks.IfCurrent:
		return a.lock(g.Name).current(g.Revision)
	}
	k := a.key(g.Name)
	switch g.Kind {
	case locks.IfRevision:
		return k.Revision, k.Revision == g.Revision
	case locks.IfExists:
		return k.Revision, k.exists()
	case locks.IfAbsent:
		return k.Revision, !k.exists()
	case locks.IfValue:
		return k.Revision, k.exists() && string(k.Value) == string(g.Value)
	}
	a.fail("I6", "a condition of unknown kind %d", g.Kind)
	return 0, false
}

func (a *Account) step(o locks.Op) locks.Done {
	d := locks.Done{Kind: o.Kind, Key: o.Key}
	switch o.Kind {
	case locks.OpPut:
		k := a.write(o.Key, o.Value, o.ContentType, o.Session)
		d.Revision, d.Created, d.Version, d.Session = k.Revision, k.Created, k.Version, k.Session
	case locks.OpGet:
		if k := a.key(o.Key); k.exists() {
			d.Found, d.Value, d.ContentType = true, k.Value, k.ContentType
			d.Revision, d.Created, d.Version, d.Session = k.Revision, k.Created, k.Version, k.Session
		}
	case locks.OpDelete:
		if a.key(o.Key).exists() {
			a.clear(o.Key, locks.EventDelete)
			d.Deleted = 1
		}
	case locks.OpDeletePrefix:
		for _, name := range slices.Sorted(maps.Keys(a.keys)) {
			if strings.HasPrefix(name, o.Key) && a.keys[name].exists() {
				a.clear(name, locks.EventDelete)
				d.Deleted++
			}
		}
	}
	return d
}

// Reading is what a read of a fence register sees.
type Reading struct {
	count   int
	Highest uint64
	Known   bool
}

// advance raises a register; it never falls.
func (a *Account) advance(c *locks.AdvanceCommand) locks.Result {
	if highest := a.fences[c.Resource]; c.Fence < highest {
		no := refuse(locks.StaleFence)
		no.Current = highest
		return no
	}
	a.fences[c.Resource] = c.Fence
	a.read(c.Resource, Reading{a.count, c.Fence, true})
	return locks.Result{Fence: c.Fence}
}

func (a *Account) forgetFence(c *locks.ForgetFenceCommand) locks.Result {
	highest, ok := a.fences[c.Resource]
	if !ok || highest != c.Fence {
		no := refuse(locks.StaleFence)
		no.Current = highest
		return no
	}
	delete(a.fences, c.Resource)
	a.read(c.Resource, Reading{count: a.count})
	return locks.Result{Fence: highest}
}

func (a *Account) read(resource string, r Reading) {
	a.readings[resource] = append(a.readings[resource], r)
}
