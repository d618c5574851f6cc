package service

import (
	"context"
	"fmt"

	"github.com/prytany/prytany/locks"
)

// Txn runs a transaction. Errors: Invalid; those of the operations, with Step.
func (s *Service) Txn(ctx context.Context, r Txn) (locks.TxnResult, locks.Meta, error) {
	const op = "transaction"
	cmd := &locks.TxnCommand{If: r.If, Then: r.Then, Else: r.Else}
	res, meta, err := s.change(ctx, op, "", r.Common, cmd, &cmd.Request, s.checkTxn(&r))
	if err != nil {
		return locks.TxnResult{}, meta, err
	}
	out, err := locks.DecodeTxn(res.Body)
	if err != nil {
		return locks.TxnResult{}, meta, fail(op, "", &locks.Error{
			Code: locks.OutcomeUnknown, Detail: "the answer of the state machine cannot be read", Err: err,
		})
	}
	return out, meta, nil
}

func (s *Service) checkTxn(r *Txn) error {
	l := s.cfg.Limits
	if n := len(r.If) + len(r.Then) + len(r.Else); n > l.MaxTxn {
		return invalid("operations", "at most %d conditions and operations; these are %d", l.MaxTxn, n)
	}
	size := 0
	for i := range r.If {
		c := &r.If[i]
		if err := checkName(fmt.Sprintf("if[%d]", i), c.Name, l.MaxName); err != nil {
			return err
		}
		if c.Kind < locks.IfRevision || c.Kind > locks.IfCurrent {
			return invalid(fmt.Sprintf("if[%d]", i), "there is no condition of kind %d", c.Kind)
		}
		size += len(c.Name) + len(c.Value)
	}
	for _, branch := range []struct {
		name  string
		steps []locks.Op
	}{{"then", r.Then}, {"else", r.Else}} {
		n, err := checkSteps(branch.name, branch.steps, l)
		if err != nil {
			return err
		}
		size += n
	}
	if size > l.MaxTxnBytes {
		e := invalid("body", "at most %d bytes of keys and values; these are %d", l.MaxTxnBytes, size)
		e.Code = locks.TooLarge
		return e
	}
	return nil
}

// checkSteps checks one branch and returns the size of its keys and values.
func checkSteps(branch string, steps []locks.Op, l locks.Limits) (size int, err error) {
	written := map[string]bool{}
	for i := range steps {
		o := &steps[i]
		field := fmt.Sprintf("%s[%d]", branch, i)
		check := checkName
		if o.Kind == locks.OpDeletePrefix {
			check = checkText // every entry there is
		}
		if err := check(field, o.Key, l.MaxName); err != nil {
			return 0, err
		}
		switch {
		case o.Kind < locks.OpPut || o.Kind > locks.OpDeletePrefix:
			return 0, invalid(field, "there is no operation of kind %d", o.Kind)
		case o.Kind == locks.OpPut && written[o.Key]:
			return 0, invalid(field, "%q is put twice", o.Key)
		case len(o.Value) > l.MaxValue:
			e := invalid(field, "a value has at most %d bytes; these are %d", l.MaxValue, len(o.Value))
			e.Code = locks.TooLarge
			return 0, e
		}
		if err := checkText(field, o.ContentType, maxContentType); err != nil {
			return 0, err
		}
		if err := checkText(field, o.Session, l.MaxName); err != nil {
			return 0, err
		}
		written[o.Key] = written[o.Key] || o.Kind == locks.OpPut
		size += len(o.Key) + len(o.Value)
	}
	return size, nil
}
