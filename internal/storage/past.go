package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/synod"
)

// What a node needs to notice that its disk is an old one: its own past, and
// what it has seen of others. Both are in bucketNode.
var (
	keyPast = []byte("past")  // Identity.Nonce, and a nonce and an end for each life before
	keySeen = []byte("seen/") // and a node id -> roster.Sighting as JSON
)

// Self returns what the directory knows of its node's past and of this process.
func (s *Store) Self() roster.Self {
	s.mu.Lock()
	defer s.mu.Unlock()
	return roster.Self{
		Node: s.identity.Node, Incarnation: s.identity.Incarnation, Nonce: s.nonce, Past: slices.Clone(s.past),
	}
}

// Position returns how many writes to log.db are durable, from the first start
// of the node on. It never falls.
func (s *Store) Position() uint64 { return s.position.Load() }

// live ends the life before and begins this one, which finds log.db at
// position end. It returns the record of both.
func (s *Store) live(end uint64) []byte {
	if s.identity.Incarnation > 1 {
		s.past = append(s.past, roster.Life{Nonce: s.nonce, End: end})
		s.past = s.past[max(0, len(s.past)-roster.MaxPast):]
	}
	var b [8]byte
	for s.nonce = 0; s.nonce == 0; s.nonce = binary.BigEndian.Uint64(b[:]) {
		_, _ = rand.Read(b[:]) // never fails
	}
	content := key(s.nonce)
	for _, l := range s.past {
		content = append(append(content, key(l.Nonce)...), key(l.End)...)
	}
	return sealed(content)
}

// readPast reads what live has written. Directories of earlier versions have
// none. Called before the store is shared.
func (s *Store) readPast(tx *bbolt.Tx) error {
	record := tx.Bucket(bucketNode).Get(keyPast)
	if record == nil {
		return nil
	}
	b, err := unsealed(record)
	if err != nil {
		return err
	}
	if len(b)%16 != 8 {
		return damaged(s.path(nodeFile), "the node's past makes no sense")
	}
	s.nonce, b = binary.BigEndian.Uint64(b), b[8:]
	for ; len(b) > 0; b = b[16:] {
		s.past = append(s.past, roster.Life{Nonce: binary.BigEndian.Uint64(b), End: binary.BigEndian.Uint64(b[8:])})
	}
	return nil
}

// SaveSightings remembers, durably, what was seen of other nodes. All of them
// are one write.
func (s *Store) SaveSightings(seen map[synod.NodeID]roster.Sighting) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(seen) == 0 {
		return nil
	}
	return s.change(func(tx *bbolt.Tx) error {
		for id, is := range seen {
			b, err := json.Marshal(is)
			if err != nil {
				return err
			}
			k := seenKey(id)
			if err := tx.Bucket(bucketNode).Put(k, sealed(append(bytes.Clone(k), b...))); err != nil {
				return err
			}
		}
		return nil
	})
}

// Sightings returns what was seen of other nodes. Error: ErrDamaged if that
// cannot be read: unlike an address it is no hint.
func (s *Store) Sightings() (map[synod.NodeID]roster.Sighting, error) {
	out := map[synod.NodeID]roster.Sighting{}
	err := guarded(s.path(nodeFile), func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(bucketNode).Cursor()
			for k, v := c.Seek(keySeen); bytes.HasPrefix(k, keySeen); k, v = c.Next() {
				var is roster.Sighting
				b, err := unsealed(v)
				if err != nil {
					return err
				}
				if len(k) != len(keySeen)+8 || !bytes.HasPrefix(b, k) || json.Unmarshal(b[len(k):], &is) != nil {
					return codec.ErrCorrupt
				}
				out[synod.NodeID(binary.BigEndian.Uint64(k[len(keySeen):]))] = is
			}
			return nil
		})
	})
	return out, err
}

func seenKey(id synod.NodeID) []byte { return append(bytes.Clone(keySeen), key(uint64(id))...) }
