package directory

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// errMalformed says that bytes are none that a coder wrote.
var errMalformed = errors.New("malformed")

// A coder writes values one after the other, or reads them back: one description of a
// record serves both directions, so they cannot disagree. Reading is strict: every
// value has exactly one encoding. After the first error all further reads leave zero
// values.
type coder struct {
	buf     []byte // written so far, or left to read
	reading bool
	err     error // the first error of reading
}

// fail makes what is read malformed.
func (c *coder) fail() { c.err, c.buf = errMalformed, nil }

// number holds a number of at most limit in 1 to 10 bytes, few for a small one.
func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int](c *coder, p *T, limit uint64) {
	if !c.reading {
		c.buf = binary.AppendUvarint(c.buf, uint64(*p))
		return
	}
	v, n := binary.Uvarint(c.buf)
	if n <= 0 || n > 1 && c.buf[n-1] == 0 || v > limit {
		c.fail()
		v, n = 0, 0
	}
	*p, c.buf = T(v), c.buf[n:]
}

// text holds a length and as many bytes.
func (c *coder) text(p *string) {
	n := c.count(len(*p))
	if !c.reading {
		c.buf = append(c.buf, *p...)
		return
	}
	*p, c.buf = string(c.buf[:n]), c.buf[n:]
}

// count holds the number of bytes or records that follow. Each takes at least one
// byte, which bounds what a reader must believe.
func (c *coder) count(n int) int {
	number(c, &n, uint64(len(c.buf)))
	if c.reading && n > len(c.buf) {
		c.fail()
		n = 0
	}
	return n
}

// list holds the values of *p, each in the form that one gives it. None are nil.
func list[T any](c *coder, p *[]T, one func(p *T)) {
	n := c.count(len(*p))
	if c.reading && n > 0 {
		*p = make([]T, 0, min(n, 1024))
	}
	for i := 0; i < n && c.err == nil; i++ {
		if c.reading {
			var zero T
			*p = append(*p, zero)
		}
		one(&(*p)[i])
	}
}

// end returns the error of reading, which leftover bytes are too.
func (c *coder) end() error {
	if c.err == nil && len(c.buf) > 0 {
		c.fail()
	}
	return c.err
}

func (c *coder) long(p *uint64)            { number(c, p, math.MaxUint64) }
func (c *coder) small(p *int)              { number(c, p, math.MaxInt32) }
func (c *coder) group(p *paxos.GroupID)    { number(c, p, math.MaxUint64) }
func (c *coder) config(p *paxos.ConfigID)  { number(c, p, math.MaxUint32) }
func (c *coder) node(p *synod.NodeID)      { number(c, p, math.MaxUint64) }
func (c *coder) ordinal(p *synod.Ordinal)  { number(c, p, math.MaxUint16) }
func (c *coder) texts(p *[]string)         { list(c, p, c.text) }
func (c *coder) nodes(p *[]synod.NodeID)   { list(c, p, c.node) }
func (c *coder) members(p *[]paxos.Member) { list(c, p, c.member) }

func (c *coder) member(m *paxos.Member) {
	c.node(&m.Node)
	c.ordinal(&m.Ordinal)
	c.text(&m.Name)
	c.text(&m.PeerAddr)
}

func (c *coder) membership(m *paxos.Membership) {
	c.config(&m.ID)
	number(c, &m.Start, math.MaxUint64)
	c.ordinal(&m.Leader)
	c.ordinal(&m.Next)
	c.members(&m.Voters)
}

func (c *coder) plan(p *Plan) {
	c.long(&p.ID)
	c.member(&p.Add)
	c.node(&p.Remove)
	c.text(&p.Why)
}

func (c *coder) entry(g *Group) {
	c.group(&g.ID)
	c.text(&g.Name)
	c.small(&g.Replicas)
	c.texts(&g.Zones)
	c.text(&g.Near)
	c.membership(&g.First)
	c.config(&g.Config)
	c.members(&g.Members)
	c.plan(&g.Plan)
	c.text(&g.Request)
}
