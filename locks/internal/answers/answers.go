// Package answers remembers what requests were answered.
package answers

import (
	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/locks/internal/wire"
)

// A Table holds the first answers to requests, so that a repeated one has no
// second effect. The oldest are dropped. The zero Table is empty.
type Table struct {
	Dropped uint64 // revision of the newest that was dropped

	queue []*Answer // oldest first
	byID  map[string]*Answer
}

// An Answer to the request ID.
type Answer struct {
	ID       string
	Hash     uint64
	Revision uint64
	Result   command.Result
}

// Get returns the answer to the request id, or nil.
func (t *Table) Get(id string) *Answer { return t.byID[id] }

// Add puts x in, which is new, and drops the oldest beyond limit.
func (t *Table) Add(x *Answer, limit int) {
	if t.byID == nil {
		t.byID = map[string]*Answer{}
	}
	t.byID[x.ID] = x
	t.queue = append(t.queue, x)
	for len(t.queue) > limit {
		t.drop()
	}
}

func (t *Table) drop() {
	x := t.queue[0]
	t.queue[0] = nil
	t.queue = t.queue[1:]
	t.Dropped = x.Revision
	delete(t.byID, x.ID)
}

// Forget drops the answers up to revision upTo.
func (t *Table) Forget(upTo uint64) {
	for len(t.queue) > 0 && t.queue[0].Revision <= upTo {
		t.drop()
	}
}

// Older reports whether there are answers up to revision upTo.
func (t *Table) Older(upTo uint64) bool {
	return len(t.queue) > 0 && t.queue[0].Revision <= upTo
}

// Wire writes t, or reads it into an empty Table.
func (t *Table) Wire(c *wire.Coder) {
	c.Uint(&t.Dropped)
	n := c.Count(len(t.queue))
	var last uint64
	for i := 0; i < n && c.Err == nil; i++ {
		x := &Answer{}
		if !c.Reading {
			x = t.queue[i]
		}
		c.String(&x.ID)
		c.Uint(&x.Hash)
		c.Uint(&x.Revision)
		x.Result.Wire(c)
		if !c.Reading {
			continue
		}
		if t.byID[x.ID] != nil || x.Revision < last {
			c.Fail()
		}
		last = x.Revision
		t.Add(x, n)
	}
}
