package feed

import (
	"sync"

	"github.com/prytany/prytany/locks"
)

// The most that is kept of what streams have told.
const (
	maxChanges = 1024     // changes
	maxBytes   = 16 << 20 // of them together
)

// A Topic is what the bytes of a change depend on: streams of one topic say the
// same.
type Topic struct {
	Group  string
	SSE    bool
	Prefix string
	Exact  bool
	Types  locks.EventSet
}

// A Cache keeps the bytes of the newest changes, so that ten thousand streams of
// one topic encode each once.
type Cache struct {
	mu    sync.Mutex
	said  map[saying]*said
	order []saying // oldest first, from next on; a ring once it is full
	next  int
	bytes int
}

type saying struct {
	topic    Topic
	revision uint64
}

type said struct {
	bytes func() []byte // encodes them the first time
	size  int           // 0 before that
}

// NewCache returns an empty Cache.
func NewCache() *Cache { return &Cache{said: map[saying]*said{}} }

// Get returns what a stream of topic says about ch. The bytes are shared.
func (k *Cache) Get(topic Topic, ch *locks.Change) []byte {
	key := saying{topic, ch.Revision}
	k.mu.Lock()
	s := k.said[key]
	if s == nil {
		s = k.add(key, ch)
	}
	k.mu.Unlock()
	return s.bytes()
}

// add makes room for what is to be said about ch and remembers it.
func (k *Cache) add(key saying, ch *locks.Change) *said {
	s := &said{}
	s.bytes = sync.OnceValue(func() []byte {
		b := Encode(ch, key.topic.SSE)
		k.count(key, s, len(b))
		return b
	})
	k.said[key] = s
	if len(k.order) < maxChanges {
		k.order = append(k.order, key)
		return s
	}
	k.forget(k.order[k.next])
	k.order[k.next] = key
	k.next = (k.next + 1) % maxChanges
	return s
}

// count counts the bytes of s, if it is still remembered. If all have become too
// many, all are forgotten: what is told again then is encoded once more.
func (k *Cache) count(key saying, s *said, size int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.said[key] == s {
		s.size = size
		k.bytes += size
	}
	if k.bytes > maxBytes {
		clear(k.said)
		k.order, k.next, k.bytes = k.order[:0], 0, 0
	}
}

func (k *Cache) forget(key saying) {
	if s := k.said[key]; s != nil {
		k.bytes -= s.size
		delete(k.said, key)
	}
}
