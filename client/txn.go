package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/prytany/prytany/client/internal/link"
	"github.com/prytany/prytany/internal/api"
)

// A Txn is a transaction: if all conditions of If hold, the operations of Then
// are done, else those of Else; all of them or none, and nothing comes between.
type Txn struct {
	If   []If
	Then []Op
	Else []Op
}

// An If is a condition of a transaction; see [KeyRevision], [KeyExists],
// [KeyAbsent], [KeyValue], [SessionAlive] and [LockHeld].
type If struct{ cond api.If }

// KeyRevision holds if the entry of key has revision n; 0 if there is none.
func KeyRevision(key string, n uint64) If { return If{api.If{Key: &key, Revision: &n}} }

// KeyExists holds if there is an entry of key.
func KeyExists(key string) If { return If{api.If{Key: &key, Exists: new(true)}} }

// KeyAbsent holds if there is no entry of key.
func KeyAbsent(key string) If { return If{api.If{Key: &key, Exists: new(false)}} }

// KeyValue holds if the entry of key has this value.
func KeyValue(key string, value []byte) If {
	text, binary := api.EncodeValue(value)
	return If{api.If{Key: &key, Value: text, ValueBase64: binary}}
}

// SessionAlive holds while the session s has not ended at the server.
func SessionAlive(s *Session) If { return If{api.If{Session: &s.id}} }

// LockHeld holds while h is a present grant of its lock.
func LockHeld(h *Held) If { return If{api.If{Lock: &h.name, Fence: new(h.Fence())}} }

// An Op is an operation of a transaction; see [PutOp], [GetOp], [DeleteOp] and
// [DeletePrefixOp].
type Op struct {
	op  api.Op
	bad error
}

// PutOp sets the value of key. Of the conditions it takes [Ephemeral] and
// [ContentType]; what the change depends on goes into Txn.If.
func PutOp(key string, value []byte, conds ...Condition) Op {
	o := Op{op: api.Op{Put: &key, ContentType: api.TypeBytes}}
	o.op.Value, o.op.ValueBase64 = api.EncodeValue(value)
	for _, c := range conds {
		switch c.name {
		case api.HeaderSession:
			o.op.Session = c.value
		case "Content-Type":
			o.op.ContentType = c.value
		default:
			o.bad = fmt.Errorf("%w: %s does not go with an operation: say it in Txn.If", errRequest, c.name)
		}
	}
	return o
}

// GetOp reads the entry of key.
func GetOp(key string) Op { return Op{op: api.Op{Get: &key}} }

// DeleteOp removes the entry of key, if there is one.
func DeleteOp(key string) Op { return Op{op: api.Op{Delete: &key}} }

// DeletePrefixOp removes the entries whose keys begin with prefix, at most
// 10,000.
func DeletePrefixOp(prefix string) Op { return Op{op: api.Op{DeletePrefix: &prefix}} }

// A TxnResult is what a transaction did.
type TxnResult struct {
	Succeeded bool   // all conditions held: Then was done, else Else
	Revision  uint64 // of all its changes
	Failed    []FailedIf
	Results   []OpResult // one for each operation that was done
}

// A FailedIf is a condition that did not hold.
type FailedIf struct {
	Index   int    // in Txn.If
	Current uint64 // revision of the entry, or fence of the lock; 0 if there is none
}

// An OpResult is what one operation did.
type OpResult struct {
	Op      string // "put", "get", "delete" or "delete_prefix"
	Key     string
	Entry   *Entry // of get, and without its value of put; nil: there is none
	Deleted int    // how many entries were removed
}

// Txn runs t. That its conditions do not hold is no error. Errors: a
// [*ProblemError] whose Operation tells which operation cannot be done, in
// which case none is, such as one that matches [ErrSessionExpired];
// [ErrUnavailable], [ErrUnknownOutcome].
func (c *Client) Txn(ctx context.Context, t Txn) (TxnResult, error) {
	var in api.Transaction
	for _, i := range t.If {
		in.If = append(in.If, i.cond)
	}
	for _, ops := range []struct {
		from []Op
		to   *[]api.Op
	}{{t.Then, &in.Then}, {t.Else, &in.Else}} {
		for _, o := range ops.from {
			if o.bad != nil {
				return TxnResult{}, o.bad
			}
			*ops.to = append(*ops.to, o.op)
		}
	}
	body, err := json.Marshal(in)
	if err != nil {
		return TxnResult{}, fmt.Errorf("prytany: %w", err)
	}
	rep, err := c.do(ctx, link.Request{Method: http.MethodPost, Path: "transactions", Header: jsonHeader(), Body: body, Change: true})
	if err != nil {
		return TxnResult{}, err
	}
	var out api.Transacted
	if err := json.Unmarshal(rep.Body, &out); err != nil {
		return TxnResult{}, senseless("answer to a transaction", rep)
	}
	return txnResult(out)
}

func txnResult(in api.Transacted) (TxnResult, error) {
	out := TxnResult{Succeeded: in.Succeeded, Revision: in.Revision}
	for _, f := range in.Failed {
		out.Failed = append(out.Failed, FailedIf(f))
	}
	for _, r := range in.Results {
		one := OpResult{Op: r.Op, Key: r.Key}
		if r.Entry != nil {
			e, err := entry(*r.Entry)
			if err != nil {
				return TxnResult{}, err
			}
			one.Entry = &e
		}
		if r.Deleted != nil {
			one.Deleted = *r.Deleted
		}
		out.Results = append(out.Results, one)
	}
	return out, nil
}
