package linear

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"
	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/ops"
)

// A register is an entry as far as clients can know it.
type register struct {
	exists   bool
	value    string
	revision uint64 // 0 if it exists and nobody was told, then it is
	above    uint64 // higher than this
}

// A registers is the state of a partition. It never changes.
type registers struct {
	high uint64 // no revision is lower than any before
	of   string // names and registers, spelled out: what makes states equal
	all  map[string]register
}

func newRegisters(all map[string]register, high uint64) registers {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(all)) {
		r := all[key]
		fmt.Fprintf(&b, "%q=%v,%q,%d,%d;", key, r.exists, r.value, r.revision, r.above)
	}
	return registers{high, b.String(), all}
}

// may reports whether r can have a revision, which is 0 for one that is absent.
func (r register) may(revision uint64) bool {
	switch {
	case !r.exists:
		return revision == 0
	case r.revision != 0:
		return r.revision == revision
	}
	return revision > r.above
}

// must reports whether r has that revision for certain.
func (r register) must(revision uint64) bool {
	return !r.exists && revision == 0 || r.exists && r.revision != 0 && r.revision == revision
}

// known returns r with its revision, once that was told.
func (r register) known(revision uint64) register {
	if r.exists {
		r.revision, r.above = revision, 0
	}
	return r
}

// A change is what a call wants to do to registers.
type change struct {
	guards map[string]uint64
	puts   map[string]string
	del    string // "" for none
	reads  map[string]history.GetResult
	rev    uint64 // that it was told; 0 if none
	done   bool   // it was told that the guards held
	told   bool   // it was told anything
	wrong  *uint64
	key    string // the entry that wrong is about
}

// changeOf makes a change of a call; ok is false for one that tells nothing.
func changeOf(o *ops.Op) (c change, ok bool) {
	c = change{guards: map[string]uint64{}, told: o.Kind != history.Info, done: o.Kind == history.OK, key: o.Key, rev: o.Revision}
	guard := func(revision *uint64) {
		if revision != nil {
			c.guards[o.Key] = *revision
		}
	}
	mismatch := o.Code == string(api.CodeRevisionMismatch)
	if o.Kind == history.Fail && !mismatch && o.Code != string(api.CodeKeyNotFound) {
		return c, false // nothing happened, for a reason that is no register's
	}
	switch o.F {
	case history.Put:
		a, _ := history.Decode[history.PutArgs](o.Args)
		r, _ := history.Decode[history.PutResult](o.Result)
		guard(a.IfRevision)
		c.puts, c.wrong = map[string]string{o.Key: a.Value}, &r.Current
		if c.done {
			c.rev = r.Revision
		}
	case history.Delete:
		a, _ := history.Decode[history.DeleteArgs](o.Args)
		r, _ := history.Decode[history.DeleteResult](o.Result)
		guard(a.IfRevision)
		c.del, c.wrong = o.Key, &r.Current
	case history.Get:
		r, _ := history.Decode[history.GetResult](o.Result)
		c.reads, c.done, c.rev = map[string]history.GetResult{o.Key: r}, true, 0
		return c, c.told
	case history.Txn:
		a, _ := history.Decode[history.TxnArgs](o.Args)
		r, _ := history.Decode[history.TxnResult](o.Result)
		c.guards, c.puts, c.reads = a.Guards, a.Puts, r.Read
		if c.done = c.done && r.Done; c.done && r.Revision != 0 {
			c.rev = r.Revision
		}
	}
	return c, true
}

// step does c in a state: whether it can be, and the state after it.
func (s registers) step(c change) (bool, registers) {
	all := maps.Clone(s.all)
	possible, certain := true, true
	for key, revision := range c.guards {
		possible = possible && all[key].may(revision)
		certain = certain && all[key].must(revision)
	}
	high := s.high
	if c.told && c.rev != 0 && (len(c.puts) > 0 || c.del != "") && c.done {
		if c.rev <= high {
			return false, s
		}
		high = c.rev
	}
	switch {
	case c.told && c.done && !possible, c.told && !c.done && certain:
		return false, s
	case !c.told && !possible:
		return true, s
	case c.told && !c.done && c.wrong != nil:
		r := all[c.key]
		if !r.may(*c.wrong) {
			return false, s
		}
		all[c.key] = r.known(*c.wrong)
		high = max(high, *c.wrong)
	case !c.told || c.done:
		for key, revision := range c.guards {
			all[key] = all[key].known(revision)
			high = max(high, revision)
		}
		for key, value := range c.puts {
			all[key] = register{true, value, c.rev, s.high}
			if c.rev != 0 && c.told {
				all[key] = all[key].known(c.rev)
			} else {
				all[key] = register{exists: true, value: value, above: s.high}
			}
		}
		if c.del != "" {
			all[c.del] = register{}
		}
	}
	for key, got := range c.reads {
		r := all[key]
		if r.exists != got.Found || r.exists && (r.value != got.Value || !r.may(got.Revision)) {
			return false, s
		}
		all[key] = r.known(got.Revision)
		high = max(high, got.Revision)
	}
	return true, newRegisters(all, high)
}

var registersModel = porcupine.Model{
	Init: func() any { return newRegisters(nil, 0) },
	Step: func(state, input, _ any) (bool, any) {
		c, _ := changeOf(input.(step).op)
		s := state.(registers)
		if s.all == nil {
			s.all = map[string]register{}
		}
		return s.step(c)
	},
	Equal: func(a, b any) bool {
		x, y := a.(registers), b.(registers)
		return x.high == y.high && x.of == y.of
	},
	Hash: func(s any) uint64 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.(registers).of))
		return h.Sum64() ^ s.(registers).high
	},
	DescribeOperation: func(in, _ any) string { return in.(step).String() },
	DescribeState:     func(s any) string { return s.(registers).of },
}

// registers makes the partitions of registers: each by itself, and those that
// transactions bind together.
func (s *splitter) registers() (single, bound []*partition) {
	root := map[string]string{}
	var find func(string) string
	find = func(key string) string {
		if up, ok := root[key]; ok && up != key {
			root[key] = find(up)
			return root[key]
		}
		return key
	}
	together := map[string]bool{}
	for _, o := range s.h.Ops {
		if o.F != history.Txn {
			continue
		}
		keys := txnKeys(o)
		for _, key := range keys {
			root[find(key)] = find(keys[0])
		}
		for _, key := range keys {
			together[key] = true
		}
	}
	parts := map[string]*partition{}
	for _, o := range s.h.Ops {
		key := o.Key
		switch o.F {
		case history.Put, history.Delete, history.Get:
		case history.Txn:
			keys := txnKeys(o)
			if len(keys) == 0 {
				continue
			}
			key = keys[0]
		default:
			continue
		}
		if _, tells := changeOf(o); !tells {
			continue
		}
		at := find(key)
		if parts[at] == nil {
			parts[at] = &partition{name: at, model: registersModel}
		}
		parts[at].add(o)
	}
	for _, p := range group(parts) {
		if together[p.name] {
			bound = append(bound, p)
		} else {
			single = append(single, p)
		}
	}
	return single, bound
}

// txnKeys lists what a transaction is about, in order.
func txnKeys(o *ops.Op) []string {
	a, _ := history.Decode[history.TxnArgs](o.Args)
	keys := map[string]bool{}
	for key := range a.Guards {
		keys[key] = true
	}
	for key := range a.Puts {
		keys[key] = true
	}
	for _, key := range a.Reads {
		keys[key] = true
	}
	return slices.Sorted(maps.Keys(keys))
}
