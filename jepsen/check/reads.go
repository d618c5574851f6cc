package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/internal/sabotage"
	"github.com/prytany/prytany/jepsen/model"
	"github.com/prytany/prytany/jepsen/ops"
	"github.com/prytany/prytany/locks"
)

// misread says how an answer to a read differs from a state, "" if it does not.
func misread(s *model.State, o *ops.Op) string {
	if sabotage.On(sabotage.AcceptAll) {
		return ""
	}
	switch o.F {
	case history.Get:
		e := s.Entries[o.Key]
		want := history.GetResult{Found: e.Revision != 0, Value: e.Value, Revision: e.Revision}
		got, err := history.Decode[history.GetResult](o.Result)
		switch {
		case err != nil:
			return err.Error()
		case o.Kind == history.Fail && o.Code == string(api.CodeStopping):
			return "" // its wait for something newer was broken off: it saw no more than the revision
		case o.Kind == history.Fail && o.Code != string(api.CodeKeyNotFound):
			return "a read cannot be refused as " + o.Code
		case got != want:
			return fmt.Sprintf("%s is %+v, and was read as %+v", o.Key, want, got)
		}
	case history.Holder:
		got, err := history.Decode[history.HolderResult](o.Result)
		if err != nil {
			return err.Error()
		}
		if o.Kind == history.Fail && o.Code != string(api.CodeLockUnknown) {
			return "a read cannot be refused as " + o.Code
		}
		var want []history.Hold
		if l := s.Locks[o.Key]; l != nil {
			for _, g := range l.Holders {
				want = append(want, history.Hold{Session: g.Session, Fence: g.Fence, Value: g.Value})
			}
		}
		if !slices.Equal(sorted(got.Holders), sorted(want)) {
			return fmt.Sprintf("%s is held by %v, and was read as held by %v", o.Key, want, got.Holders)
		}
	case history.GetFence:
		got, err := history.Decode[history.FenceResult](o.Result)
		switch {
		case err != nil:
			return err.Error()
		case got.Highest != s.Fences[o.Key]:
			return fmt.Sprintf("%s has seen fence %d, and was read as %d", o.Key, s.Fences[o.Key], got.Highest)
		}
	case history.KeepAlive:
		id := cmp.Or(o.Session, o.Key)
		if alive := s.Sessions[id] != nil; alive != (o.Kind == history.OK) {
			return fmt.Sprintf("that session %s lives is %v, and was answered otherwise", id, alive)
		}
	}
	return ""
}

func sorted(hs []history.Hold) []history.Hold {
	return slices.SortedFunc(slices.Values(hs), func(a, b history.Hold) int {
		return cmp.Or(cmp.Compare(a.Fence, b.Fence), cmp.Compare(a.Session, b.Session))
	})
}

// otherwise says how the command that has a call's request differs from what the call
// asked for, "" if it does not.
func otherwise(o *ops.Op, cmd locks.Command) string {
	bad := ""
	differ := func(what string, is, asked any) {
		if bad == "" && is != asked {
			bad = fmt.Sprintf("%s is %v there, and %v was asked for", what, is, asked)
		}
	}
	var err error
	kind := ""
	switch c := cmd.(type) {
	case *locks.PutCommand:
		var a history.PutArgs
		kind = history.Put
		a, err = history.Decode[history.PutArgs](o.Args)
		differ("the key", c.Key, o.Key)
		differ("the value", string(c.Value), a.Value)
		differ("the condition", condition(c.IfRevision), condition(a.IfRevision))
	case *locks.DeleteCommand:
		var a history.DeleteArgs
		kind = history.Delete
		a, err = history.Decode[history.DeleteArgs](o.Args)
		differ("the key", c.Key, o.Key)
		differ("the condition", condition(c.IfRevision), condition(a.IfRevision))
	case *locks.TxnCommand:
		kind = history.Txn
		bad, err = otherTxn(o, c)
	case *locks.OpenCommand:
		var a history.OpenArgs
		kind = history.Open
		a, err = history.Decode[history.OpenArgs](o.Args)
		differ("the ttl", int64(c.TTL), a.TTL)
	case *locks.EndCommand:
		kind = history.CloseS
		differ("the session", c.ID, cmp.Or(o.Key, o.Session))
	case *locks.AcquireCommand:
		var a history.AcquireArgs
		kind = history.Acquire
		a, err = history.Decode[history.AcquireArgs](o.Args)
		differ("the lock", c.Lock, o.Key)
		if !c.Open && o.Session != "" {
			differ("the session", c.Session, o.Session)
		}
		differ("the number of slots", max(c.Slots, 1), uint64(max(a.Slots, 1)))
		differ("that it shares", c.Shared, a.Shared)
		differ("the value", c.Value, a.Value)
	case *locks.CancelCommand:
		kind = history.Acquire
		differ("the lock", c.Lock, o.Key)
	case *locks.ReleaseCommand:
		var a history.ReleaseArgs
		kind = history.Release
		a, err = history.Decode[history.ReleaseArgs](o.Args)
		differ("the lock", c.Lock, o.Key)
		differ("the fence", c.Fence, cmp.Or(a.Fence, o.Fence))
	default:
		kind, bad, err = otherOrder(o, cmd)
	}
	if err != nil {
		return err.Error()
	}
	if kind != o.F {
		return fmt.Sprintf("it is a %T", cmd)
	}
	return bad
}

func condition(revision *uint64) string {
	if revision == nil {
		return "none"
	}
	return fmt.Sprintf("revision %d", *revision)
}

func otherTxn(o *ops.Op, c *locks.TxnCommand) (string, error) {
	a, err := history.Decode[history.TxnArgs](o.Args)
	guards, puts := map[string]uint64{}, map[string]string{}
	for _, f := range c.If {
		if f.Kind == locks.IfRevision || f.Kind == locks.IfAbsent {
			guards[f.Name] = f.Revision
		}
	}
	for _, step := range c.Then {
		if step.Kind == locks.OpPut {
			puts[step.Key] = string(step.Value)
		}
	}
	if len(guards) != len(c.If) || !maps.Equal(guards, a.Guards) || !maps.Equal(puts, a.Puts) {
		return fmt.Sprintf("the transaction is %v then %v there", guards, puts), err
	}
	return "", err
}
