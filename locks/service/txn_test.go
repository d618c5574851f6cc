package service

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/prytany/prytany/locks"
)

func TestInvalidTransactions(t *testing.T) {
	l := newFakeLog()
	s := newService(l)
	put := locks.Op{Kind: locks.OpPut, Key: "k"}
	big := make([]byte, 200<<10)
	many := make([]locks.Op, 127)
	for i := range many {
		many[i] = locks.Op{Kind: locks.OpGet, Key: "k"}
	}
	tests := []struct {
		field string
		code  locks.Code
		r     Txn
	}{
		{"operations", locks.Invalid, Txn{If: make([]locks.If, 1), Then: many, Else: many[:1]}},
		{"if[0]", locks.Invalid, Txn{If: []locks.If{{Kind: locks.IfExists}}}},
		{"if[1]", locks.Invalid, Txn{If: []locks.If{{Kind: locks.IfExists, Name: "k"}, {Kind: 7, Name: "k"}}}},
		{"if[0]", locks.Invalid, Txn{If: []locks.If{{Name: "k"}}}},
		{"then[0]", locks.Invalid, Txn{Then: []locks.Op{{Kind: locks.OpPut}}}},
		{"then[0]", locks.Invalid, Txn{Then: []locks.Op{{Kind: locks.OpGet, Key: "\xff"}}}},
		{"then[1]", locks.Invalid, Txn{Then: []locks.Op{put, put}}},
		{"else[2]", locks.Invalid, Txn{Then: []locks.Op{put}, Else: []locks.Op{put, {Kind: locks.OpDelete, Key: "k"}, put}}},
		{"else[0]", locks.Invalid, Txn{Else: []locks.Op{{Kind: 5, Key: "k"}}}},
		{"else[0]", locks.Invalid, Txn{Else: []locks.Op{{Key: "k"}}}},
		{"then[0]", locks.Invalid, Txn{Then: []locks.Op{{Kind: locks.OpPut, Key: "k", ContentType: string(big[:256])}}}},
		{"then[0]", locks.Invalid, Txn{Then: []locks.Op{{Kind: locks.OpPut, Key: "k", Session: "\xff"}}}},
		{"then[0]", locks.Invalid, Txn{Then: []locks.Op{{Kind: locks.OpDeletePrefix, Key: "\xff"}}}},
		{"then[0]", locks.TooLarge, Txn{Then: []locks.Op{{Kind: locks.OpPut, Key: "k", Value: make([]byte, 256<<10+1)}}}},
		{"body", locks.TooLarge, Txn{
			If:   []locks.If{{Kind: locks.IfValue, Name: "k", Value: big}},
			Then: []locks.Op{{Kind: locks.OpPut, Key: "k", Value: big}},
			Else: []locks.Op{{Kind: locks.OpPut, Key: "k", Value: big}},
		}},
		{"idempotency_key", locks.Invalid, Txn{Common: Common{IdempotencyKey: string(big[:256])}}},
	}
	for i, tt := range tests {
		_, _, err := s.Txn(t.Context(), tt.r)
		if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != tt.code || e.Field != tt.field {
			t.Errorf("%d: %+v; want %s with code %d", i, err, tt.field, tt.code)
		}
	}
	if l.n != 0 {
		t.Errorf("%d invalid transactions were proposed", l.n)
	}
	for _, r := range []Txn{
		{},
		{Then: many},
		{Then: []locks.Op{put}, Else: []locks.Op{put}},
		{Then: []locks.Op{{Kind: locks.OpDeletePrefix}}},
	} {
		if _, _, err := s.Txn(t.Context(), r); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestTransactions(t *testing.T) {
	l := newFakeLog()
	s := newService(l)
	ctx := t.Context()
	id := open(t, s, "a")
	g, _, err := s.Acquire(ctx, Acquire{Name: "l", Session: id})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		put(t, s, fmt.Sprintf("p/%d", i))
	}
	k := put(t, s, "k")
	run := func(r Txn) locks.TxnResult {
		t.Helper()
		out, _, err := s.Txn(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := []locks.If{
		{Kind: locks.IfRevision, Name: "k", Revision: k},
		{Kind: locks.IfExists, Name: "k"},
		{Kind: locks.IfAbsent, Name: "none"},
		{Kind: locks.IfValue, Name: "k", Value: []byte("v")},
		{Kind: locks.IfAlive, Name: id},
		{Kind: locks.IfCurrent, Name: "l", Revision: g.Fence},
	}
	out := run(Txn{If: all, Then: []locks.Op{
		{Kind: locks.OpPut, Key: "k", Value: []byte("w"), Session: id},
		{Kind: locks.OpGet, Key: "k"},
		{Kind: locks.OpDeletePrefix, Key: "p/"},
		{Kind: locks.OpDelete, Key: "p/0"},
	}})
	rev := l.m.Revision()
	want := locks.TxnResult{Succeeded: true, Steps: []locks.Done{
		{Kind: locks.OpPut, Key: "k", Revision: rev, Created: k, Version: 2, Session: id},
		{Kind: locks.OpGet, Key: "k", Found: true, Value: []byte("w"), Revision: rev, Created: k, Version: 2, Session: id},
		{Kind: locks.OpDeletePrefix, Key: "p/", Deleted: 3},
		{Kind: locks.OpDelete, Key: "p/0"},
	}}
	if !reflect.DeepEqual(out, want) {
		t.Errorf("%+v\nwant %+v", out, want)
	}
	out = run(Txn{If: []locks.If{
		{Kind: locks.IfRevision, Name: "k", Revision: k},
		{Kind: locks.IfExists, Name: "k"},
		{Kind: locks.IfCurrent, Name: "l", Revision: g.Fence + 1},
	}, Then: []locks.Op{{Kind: locks.OpDelete, Key: "k"}}})
	want = locks.TxnResult{Failed: []locks.Failed{{Index: 0, Current: rev}, {Index: 2, Current: g.Fence}}}
	if !reflect.DeepEqual(out, want) {
		t.Errorf("%+v; want %+v", out, want)
	}
}

func TestTransactionIsAllOrNothing(t *testing.T) {
	l := newFakeLog()
	s := newService(l)
	before := l.m.Revision()
	_, _, err := s.Txn(t.Context(), Txn{Then: []locks.Op{
		{Kind: locks.OpPut, Key: "a"},
		{Kind: locks.OpPut, Key: "b", Session: "s-nobody"},
	}})
	if e, ok := errors.AsType[*locks.Error](err); !ok || e.Code != locks.SessionUnknown || e.Step != 2 {
		t.Errorf("%+v; want the second operation refused", err)
	}
	if n := l.m.Counts().Entries; n != 0 {
		t.Errorf("%d entries; want none", n)
	}
	if got := events(t, s, "", before); len(got) != 0 {
		t.Errorf("events %+v; want none", got)
	}
}

// TestTransactionIsOneChange watches what a transaction and the end of a session
// do: each is one change.
func TestTransactionIsOneChange(t *testing.T) {
	l := newFakeLog()
	s := newService(l)
	w, _, err := s.Watch(t.Context(), Watch{Prefix: "k"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	id := open(t, s, "x")
	steps := []locks.Op{{Kind: locks.OpPut, Key: "k1", Session: id}, {Kind: locks.OpPut, Key: "other"}, {Kind: locks.OpPut, Key: "k2", Session: id}}
	_, m, err := s.Txn(t.Context(), Txn{Then: steps})
	if err != nil {
		t.Fatal(err)
	}
	changes, upTo, err := w.Next(t.Context(), time.Minute)
	if err != nil || len(changes) != 1 || changes[0].Revision != m.Revision || len(changes[0].Events) != 2 || upTo != m.Revision {
		t.Errorf("%+v up to %d, %v; want two events of one change", changes, upTo, err)
	}
	if m, err = s.EndSession(t.Context(), id, Common{}); err != nil {
		t.Fatal(err)
	}
	changes, _, err = w.Next(t.Context(), time.Minute)
	if err != nil || len(changes) != 1 || changes[0].Revision != m.Revision || len(changes[0].Events) != 2 || changes[0].Events[0].Type != locks.EventExpire {
		t.Errorf("%+v, %v; want two entries expired together", changes, err)
	}
}
