// Package answers remembers what requests were answered.
package answers

import (
	"math"
	"slices"

	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/locks/internal/command"
	"github.com/prytany/prytany/locks/internal/wire"
)

// A Table holds the first answers to requests, so that a repeated one has no
// second effect. The oldest are dropped. The zero Table is empty.
type Table struct {
	Dropped uint64 // revision of the newest that was dropped

	size  int64     // bytes of the bodies of results
	queue []*Answer // oldest first
	gone  uint64    // how many have left the queue
	byID  map[string]*Answer
}

// An Answer to the request ID. Once it is in a Table it never changes.
type Answer struct {
	ID       string
	Hash     uint64
	Revision uint64
	Result   command.Result

	place uint64 // in the queue, those that are gone included
}

// Copy returns t as it is, without the means to look for one answer: to be written
// while t goes on changing.
func (t *Table) Copy() Table {
	return Table{Dropped: t.Dropped, size: t.size, queue: slices.Clone(t.queue)}
}

// Len returns the number of answers.
func (t *Table) Len() int { return len(t.queue) }

// Size returns the bytes in the bodies of results.
func (t *Table) Size() int64 { return t.size }

// Get returns the answer to the request id, or nil.
func (t *Table) Get(id string) *Answer { return t.byID[id] }

// Add puts x in, which is new, and drops the oldest beyond limit, or until their
// bodies have no more than size bytes together.
func (t *Table) Add(x *Answer, limit int, size int64) {
	if t.byID == nil {
		t.byID = map[string]*Answer{}
	}
	x.place = t.gone + uint64(len(t.queue))
	t.byID[x.ID] = x
	t.queue = append(t.queue, x)
	t.size += int64(len(x.Result.Body))
	for len(t.queue) > limit || t.size > size && len(t.queue) > 1 {
		t.drop()
	}
}

// Amend puts another result in the place of that of x, which is in t.
func (t *Table) Amend(x *Answer, res command.Result) {
	t.size += int64(len(res.Body)) - int64(len(x.Result.Body))
	y := *x
	y.Result = res
	t.byID[x.ID] = &y
	t.queue[x.place-t.gone] = &y
}

func (t *Table) drop() {
	x := t.queue[0]
	t.queue[0] = nil
	t.queue = t.queue[1:]
	t.gone++
	t.Dropped = x.Revision
	t.size -= int64(len(x.Result.Body))
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

// Wire writes t, or reads it into an empty Table. The state is at revision.
func (t *Table) Wire(c *wire.Coder, revision uint64) {
	if mutant.On(mutant.NoAnswers) {
		return
	}
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
		c.Breathe()
		if !c.Reading {
			continue
		}
		if t.byID[x.ID] != nil || x.Revision < last || x.ID == "" {
			c.Fail()
		}
		last = x.Revision
		t.Add(x, n, math.MaxInt64)
	}
	if c.Reading && max(last, t.Dropped) > revision {
		c.Fail()
	}
}
