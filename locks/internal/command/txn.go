package command

import "github.com/prytany/prytany/locks/internal/wire"

// Txn runs Then if all of If hold, else Else: all of it or nothing. Every
// operation sees what those before it did.
type Txn struct {
	Request Request
	If      []If
	Then    []Op
	Else    []Op
}

// An IfKind says what an If is about.
type IfKind uint8

// The kinds of conditions.
const (
	IfRevision IfKind = 1 // the entry Name has Revision; 0: it is absent
	IfExists   IfKind = 2 // there is an entry Name
	IfAbsent   IfKind = 3 // there is no entry Name
	IfValue    IfKind = 4 // the entry Name has Value
	IfAlive    IfKind = 5 // the session Name is alive
	IfCurrent  IfKind = 6 // a grant of Revision on the lock Name is current
)

// An If is a condition of a transaction.
type If struct {
	Kind     IfKind
	Name     string
	Revision uint64 // IfRevision, IfCurrent
	Value    []byte // IfValue
}

// An OpKind says what an Op does.
type OpKind uint8

// The kinds of operations.
const (
	OpPut          OpKind = 1
	OpGet          OpKind = 2
	OpDelete       OpKind = 3
	OpDeletePrefix OpKind = 4 // of all entries whose keys begin with Key
)

// An Op is one step of a transaction.
type Op struct {
	Kind        OpKind
	Key         string
	Value       []byte // OpPut
	ContentType string // OpPut
	Session     string // OpPut: the entry goes with it; "" if with none
}

// A TxnResult is what a transaction did.
type TxnResult struct {
	Succeeded bool
	Failed    []Failed // the conditions that do not hold
	Steps     []Done   // one for each operation that was run
}

// A Failed condition of a transaction.
type Failed struct {
	Index   int    // in If
	Current uint64 // revision of the entry, or fence of the lock; 0 if there is none
}

// A Done is what one operation did.
type Done struct {
	Kind    OpKind
	Key     string
	Found   bool   // OpGet: there is an entry
	Deleted uint64 // OpDelete, OpDeletePrefix: how many entries

	// OpPut and OpGet: the entry. Value and ContentType of OpGet only.
	Value       []byte
	ContentType string
	Revision    uint64
	Created     uint64
	Version     uint64
	Session     string
}

// Wire writes or reads x.
func (x *Txn) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	codeList(c, &x.If, func(c *wire.Coder, g *If) {
		c.Byte((*uint8)(&g.Kind))
		c.String(&g.Name)
		c.Uint(&g.Revision)
		c.Bytes(&g.Value)
	})
	codeList(c, &x.Then, codeOp)
	codeList(c, &x.Else, codeOp)
}

func codeOp(c *wire.Coder, o *Op) {
	c.Byte((*uint8)(&o.Kind))
	c.String(&o.Key)
	c.Bytes(&o.Value)
	c.String(&o.ContentType)
	c.String(&o.Session)
}

// codeList writes or reads a list, whose items take at least a byte each.
func codeList[T any](c *wire.Coder, p *[]T, item func(*wire.Coder, *T)) {
	n := c.Count(len(*p))
	for i := 0; i < n && c.Err == nil; i++ {
		if c.Reading {
			var zero T
			*p = append(*p, zero)
		}
		item(c, &(*p)[i])
	}
}

// Encode returns the bytes of r, for [Result.Body].
func (r *TxnResult) Encode() string {
	var c wire.Coder
	r.wire(&c)
	return string(c.Buf)
}

// DecodeTxn is the inverse of [TxnResult.Encode].
func DecodeTxn(body string) (TxnResult, error) {
	var r TxnResult
	c := wire.Coder{Buf: []byte(body), Reading: true}
	r.wire(&c)
	return r, c.End()
}

func (r *TxnResult) wire(c *wire.Coder) {
	c.Bool(&r.Succeeded)
	codeList(c, &r.Failed, func(c *wire.Coder, f *Failed) {
		c.Int(&f.Index)
		c.Uint(&f.Current)
	})
	codeList(c, &r.Steps, func(c *wire.Coder, d *Done) {
		c.Byte((*uint8)(&d.Kind))
		c.String(&d.Key)
		c.Bool(&d.Found)
		c.Uint(&d.Deleted)
		c.Bytes(&d.Value)
		c.String(&d.ContentType)
		c.Uint(&d.Revision)
		c.Uint(&d.Created)
		c.Uint(&d.Version)
		c.String(&d.Session)
	})
}

// A HeldLock is a lock that an AcquireAll did not get.
type HeldLock struct {
	Name     string
	Holder   Holder // Session is empty if nobody holds it
	Position int    // in its queue from 1, had it waited
	Delayed  bool   // only a lock-delay keeps it
}

// EncodeHeld returns the bytes of hs, for [Result.Body].
func EncodeHeld(hs []HeldLock) string {
	var c wire.Coder
	codeList(&c, &hs, codeHeld)
	return string(c.Buf)
}

// DecodeHeld is the inverse of EncodeHeld.
func DecodeHeld(body string) (hs []HeldLock, err error) {
	c := wire.Coder{Buf: []byte(body), Reading: true}
	codeList(&c, &hs, codeHeld)
	return hs, c.End()
}

func codeHeld(c *wire.Coder, h *HeldLock) {
	c.String(&h.Name)
	h.Holder.wire(c)
	c.Int(&h.Position)
	c.Bool(&h.Delayed)
}
