// Package ordered is a map in order of its keys, of which any state can be kept.
package ordered

import (
	"iter"

	"github.com/prytany/prytany/locks/internal/wire"
)

// A Map is an ordered map. It is never changed in place: Set and Delete copy
// the path to the root, so that a copy of a Map is a snapshot of it, made in
// constant time and safe to read while the original goes on changing. It is
// balanced as Adelson-Velsky and Landis described in 1962. The zero Map is
// empty.
type Map[V any] struct {
	root *node[V]
	len  int
}

type node[V any] struct {
	key         string
	value       V
	left, right *node[V]
	height      int
}

// Len returns the number of keys.
func (t Map[V]) Len() int { return t.len }

// Get returns the value of key, or the zero value.
func (t Map[V]) Get(key string) (v V, ok bool) {
	for n := t.root; n != nil; {
		switch {
		case key < n.key:
			n = n.left
		case key > n.key:
			n = n.right
		default:
			return n.value, true
		}
	}
	return v, false
}

// Set makes v the value of key.
func (t *Map[V]) Set(key string, v V) {
	var added bool
	t.root, added = t.root.with(key, v)
	if added {
		t.len++
	}
}

// Delete removes key, if it is there.
func (t *Map[V]) Delete(key string) {
	var removed bool
	t.root, removed = t.root.without(key)
	if removed {
		t.len--
	}
}

// From yields the pairs with keys not below key, in order.
func (t Map[V]) From(key string) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { t.root.walk(key, yield) }
}

// Build returns the balanced tree of the given pairs, which are in order.
func Build[V any](keys []string, values []V) Map[V] {
	return Map[V]{buildNode(keys, values), len(keys)}
}

// Wire writes the values of m in order, or reads them into an empty Map. record
// writes or reads one value and returns its key.
func Wire[V any](c *wire.Coder, m *Map[V], record func(c *wire.Coder, v V) (V, string)) {
	n := c.Count(m.len)
	if !c.Reading {
		for _, v := range m.From("") {
			record(c, v)
			c.Breathe()
		}
		return
	}
	var keys []string
	var values []V
	for i := 0; i < n && c.Err == nil; i++ {
		var zero V
		v, key := record(c, zero)
		if i > 0 && key <= keys[i-1] {
			c.Fail()
		}
		keys, values = append(keys, key), append(values, v)
		c.Breathe()
	}
	if c.Err == nil {
		*m = Build(keys, values)
	}
}

// WirePairs writes the keys and values of m in order, or reads them into an empty
// Map. value writes or reads one value.
func WirePairs[V any](c *wire.Coder, m *Map[V], value func(c *wire.Coder, v *V)) {
	n := c.Count(m.len)
	if !c.Reading {
		for key, v := range m.From("") {
			c.String(&key)
			value(c, &v)
			c.Breathe()
		}
		return
	}
	keys, values := make([]string, n), make([]V, n)
	for i := 0; i < n && c.Err == nil; i++ {
		c.String(&keys[i])
		value(c, &values[i])
		if i > 0 && keys[i] <= keys[i-1] {
			c.Fail()
		}
		c.Breathe()
	}
	if c.Err == nil {
		*m = Build(keys, values)
	}
}

func buildNode[V any](keys []string, values []V) *node[V] {
	if len(keys) == 0 {
		return nil
	}
	mid := len(keys) / 2
	return join(keys[mid], values[mid],
		buildNode(keys[:mid], values[:mid]), buildNode(keys[mid+1:], values[mid+1:]))
}

func (n *node[V]) walk(from string, yield func(string, V) bool) bool {
	for ; n != nil; n = n.right {
		if n.key < from {
			continue
		}
		if !n.left.walk(from, yield) || !yield(n.key, n.value) {
			return false
		}
	}
	return true
}

func (n *node[V]) with(key string, v V) (_ *node[V], added bool) {
	if n == nil {
		return join(key, v, nil, nil), true
	}
	left, right := n.left, n.right
	switch {
	case key < n.key:
		left, added = left.with(key, v)
	case key > n.key:
		right, added = right.with(key, v)
	default:
		return join(key, v, left, right), false
	}
	return balance(n.key, n.value, left, right), added
}

func (n *node[V]) without(key string) (_ *node[V], removed bool) {
	if n == nil {
		return nil, false
	}
	left, right := n.left, n.right
	switch {
	case key < n.key:
		left, removed = left.without(key)
	case key > n.key:
		right, removed = right.without(key)
	case left == nil:
		return right, true
	case right == nil:
		return left, true
	default:
		least := right
		for least.left != nil {
			least = least.left
		}
		right, _ = right.without(least.key)
		return balance(least.key, least.value, left, right), true
	}
	if !removed {
		return n, false
	}
	return balance(n.key, n.value, left, right), true
}

func (n *node[V]) tall() int {
	if n == nil {
		return 0
	}
	return n.height
}

func join[V any](key string, v V, left, right *node[V]) *node[V] {
	return &node[V]{key, v, left, right, 1 + max(left.tall(), right.tall())}
}

// balance joins subtrees whose heights differ by at most two.
func balance[V any](key string, v V, l, r *node[V]) *node[V] {
	switch {
	case l.tall() > r.tall()+1 && l.left.tall() >= l.right.tall():
		return join(l.key, l.value, l.left, join(key, v, l.right, r))
	case l.tall() > r.tall()+1:
		m := l.right
		return join(m.key, m.value, join(l.key, l.value, l.left, m.left), join(key, v, m.right, r))
	case r.tall() > l.tall()+1 && r.right.tall() >= r.left.tall():
		return join(r.key, r.value, join(key, v, l, r.left), r.right)
	case r.tall() > l.tall()+1:
		m := r.left
		return join(m.key, m.value, join(key, v, l, m.left), join(r.key, r.value, m.right, r.right))
	}
	return join(key, v, l, r)
}
