package command

import (
	"github.com/prytany/prytany/locks/internal/wire"
	"github.com/prytany/prytany/synod"
)

// Wire writes or reads x.
func (x *Lead) Wire(c *wire.Coder) { codeBallot(c, &x.Ballot) }

// Wire writes or reads x.
func (x *Forget) Wire(c *wire.Coder) {
	c.Bool(&x.Own)
	c.Uint(&x.UpTo)
}

// Wire writes or reads x.
func (x *EndDelay) Wire(c *wire.Coder) {
	c.String(&x.Lock)
	c.Uint(&x.Since)
	codeBallot(c, &x.Ballot)
}

// Wire writes or reads x.
func (x *Expire) Wire(c *wire.Coder) {
	c.String(&x.Session)
	codeBallot(c, &x.Ballot)
	c.Uint(&x.Renewals)
}

// Wire writes or reads x.
func (x *Open) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.ID)
	c.String(&x.Name)
	c.Duration(&x.TTL)
	c.Duration(&x.LockDelay)
}

// Wire writes or reads x.
func (x *End) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.ID)
}

// Wire writes or reads x.
func (x *Acquire) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.String(&x.Session)
	c.Bool(&x.Open)
	c.Duration(&x.TTL)
	c.String(&x.Note)
	c.Bool(&x.Wait)
	c.Bool(&x.Shared)
	c.Uint(&x.Slots)
	c.Bool(&x.Campaign)
	c.String(&x.Value)
}

// Wire writes or reads x.
func (x *AcquireAll) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Session)
	codeStrings(c, &x.Locks)
	c.String(&x.Note)
}

// Wire writes or reads x.
func (x *Cancel) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.String(&x.Session)
}

// Wire writes or reads x.
func (x *Release) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.Uint(&x.Fence)
	c.String(&x.Session)
	c.Bool(&x.Force)
	c.String(&x.Reason)
}

// Wire writes or reads x.
func (x *Yield) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.Duration(&x.Within)
	c.String(&x.Reason)
}

// Wire writes or reads x.
func (x *EndYield) Wire(c *wire.Coder) {
	c.String(&x.Lock)
	c.Uint(&x.Since)
	codeBallot(c, &x.Ballot)
}

// Wire writes or reads x.
func (x *Proclaim) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.Uint(&x.Fence)
	c.String(&x.Value)
}

// Wire writes or reads x.
func (x *Transfer) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Lock)
	c.Uint(&x.Fence)
	c.String(&x.To)
}

// Wire writes or reads x.
func (x *Advance) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Resource)
	c.Uint(&x.Fence)
}

// Wire writes or reads x.
func (x *ForgetFence) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Resource)
	c.Uint(&x.Fence)
}

// Wire writes or reads x.
func (x *Compact) Wire(c *wire.Coder) { c.Uint(&x.UpTo) }

// Wire writes or reads x.
func (x *Put) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Key)
	c.Bytes(&x.Value)
	c.String(&x.ContentType)
	c.Optional(&x.IfRevision)
	c.Bool(&x.IfPresent)
	c.String(&x.Session)
	codeGuard(c, &x.Guard)
}

// Wire writes or reads x.
func (x *Delete) Wire(c *wire.Coder) {
	x.Request.Wire(c)
	c.String(&x.Key)
	c.Optional(&x.IfRevision)
	codeGuard(c, &x.Guard)
}

func codeBallot(c *wire.Coder, b *synod.Ballot) {
	n := b.Pack()
	c.Uint(&n)
	*b = synod.Unpack(n)
}

// A Guard admits a change only while the grant of Fence on Lock is current.
type Guard struct {
	Lock  string
	Fence uint64
}

func codeGuard(c *wire.Coder, g **Guard) {
	some := *g != nil
	c.Bool(&some)
	if !some {
		*g = nil
		return
	}
	if c.Reading {
		*g = &Guard{}
	}
	c.String(&(*g).Lock)
	c.Uint(&(*g).Fence)
}
