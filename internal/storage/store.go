package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// format is the version of the directory's layout.
const format = 1

// The files of a data directory.
const (
	logFile  = "log.db"
	nodeFile = "node.db"
)

// The buckets of node.db.
var (
	bucketNode      = []byte("node")      // identity
	bucketAddresses = []byte("addresses") // node id -> Address as JSON
	bucketGroups    = []byte("groups")    // group id -> nothing: groups that log.db may know
	bucketSnapshots = []byte("snapshots") // group id -> record; and buckets with their bytes
)

// The keys of bucketNode.
var (
	keyIdentity = []byte("identity")
	keyOpening  = []byte("opening")
	keyClock    = []byte("clock") // the last transaction, and the checksum of all keys and values
)

// Options refine [Open]. The zero Options are usable.
type Options struct {
	// Name is the operator's name for the node, kept with its identity.
	Name string
	// LockWait is how long to wait for another process to let go of the
	// directory. 0 means 1 s.
	LockWait time.Duration
	// Log receives what an operator should see. nil means silence.
	Log *slog.Logger
}

// An Identity is who a data directory belongs to.
type Identity struct {
	Format      int          `json:"format"`
	Cluster     string       `json:"cluster"` // "" until the node has joined one
	Node        synod.NodeID `json:"node"`    // random, minted with the directory
	Name        string       `json:"name"`
	Incarnation uint64       `json:"incarnation"` // +1 at each [Open]
}

// An Address is where a node was last seen.
type Address struct {
	Name   string `json:"name"`
	Peer   string `json:"peer"`
	HTTP   string `json:"http"`
	Gossip string `json:"gossip"`
}

// A Store is an open data directory. It implements replica.Storage; the calls
// of that interface come from one goroutine, the others are safe for
// concurrent use.
type Store struct {
	dir   string
	log   *slog.Logger
	votes *raftboltdb.BoltStore
	node  *bbolt.DB

	mu       sync.Mutex
	identity Identity
	closed   bool

	// Owned by the caller of the replica.Storage methods.
	groups  map[paxos.GroupID]*groupFile
	txid    uint64 // the last transaction of log.db
	opening opening
	failed  error // the first failed write; sticks
}

// Open opens a data directory, or makes one, and starts a new incarnation of
// its node. Errors are one line that says what to do; nothing is overwritten.
func Open(dir string, opts Options) (*Store, error) {
	if opts.LockWait == 0 {
		opts.LockWait = time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, explain(dir, err)
	}
	s := &Store{dir: dir, log: opts.Log, groups: map[paxos.GroupID]*groupFile{}}
	if err := s.open(opts); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Store) open(opts Options) error {
	bolt := &bbolt.Options{Timeout: opts.LockWait, FreelistType: bbolt.FreelistMapType, NoFreelistSync: true}
	path := s.path(nodeFile)
	if err := s.whole(); err != nil {
		return err
	}
	if err := create(path, func(tmp string) error { return initNode(tmp, bolt, opts.Name) }); err != nil {
		return explain(path, err)
	}
	err := guarded(path, func() (err error) {
		if _, err := verify(path, bolt); err != nil {
			return err
		}
		if s.node, err = bbolt.Open(path, 0o600, bolt); err != nil {
			return err
		}
		return s.node.View(s.readIdentity)
	})
	if err != nil {
		return err
	}
	return s.openVotes(bolt, opts.Name)
}

// whole refuses a directory without node.db that has a log.db. node.db is made
// first, so it was there once.
func (s *Store) whole() error {
	_, err := os.Stat(s.path(nodeFile))
	if !errors.Is(err, os.ErrNotExist) {
		return explain(s.path(nodeFile), err)
	}
	if _, err := os.Stat(s.path(logFile)); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(err, damaged(s.path(nodeFile), "the file is missing"))
	}
	return nil
}

// openVotes starts the next incarnation and opens log.db. A directory that has
// a part in a group, but no log.db, has lost it.
func (s *Store) openVotes(bolt *bbolt.Options, name string) error {
	path := s.path(logFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if known, err := s.knownGroups(); err != nil || len(known) > 0 {
			return errors.Join(err, damaged(path, "the file is missing"))
		}
	}
	options := *bolt
	// A mapping larger than the file costs address space only, and spares the
	// writer from stopping readers to map anew.
	if strconv.IntSize == 64 {
		options.InitialMmapSize = 1 << 30
	}
	if err := create(path, func(tmp string) error { return initLog(tmp, options) }); err != nil {
		return explain(path, err)
	}
	var is root
	err := guarded(path, func() error {
		txid, err := verify(path, bolt)
		if err != nil {
			return err
		}
		if is, err = readRoot(path, bolt); err != nil {
			return err
		}
		next, err := s.opening.next(path, txid, is)
		if err != nil {
			return err
		}
		return explain(s.path(nodeFile), s.begin(name, next))
	})
	if err != nil {
		return err
	}
	err = guarded(path, func() (err error) {
		if s.votes, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &options}); err != nil {
			return err
		}
		s.txid, err = txidOf(path)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.loadHeaders(is); err != nil {
		return err
	}
	return s.write(nil, false)
}

// initLog makes log.db with a root.
func initLog(path string, options bbolt.Options) error {
	votes, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: &options})
	if err != nil {
		return err
	}
	txid, err := txidOf(path)
	if err == nil {
		err = votes.StoreLogs([]*raft.Log{root{txid: txid + 1}.log()})
	}
	return errors.Join(err, votes.Close())
}

// create makes the file path by make, under another name first: a bbolt file
// whose very first writes were cut off is not usable.
func create(path string, make func(tmp string) error) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := make(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// initNode makes node.db with a new identity.
func initNode(path string, opts *bbolt.Options, name string) error {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	db, err := bbolt.Open(path, 0o600, opts)
	if err != nil {
		return err
	}
	err = updateNode(db, func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketNode, bucketAddresses, bucketGroups, bucketSnapshots} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return putIdentity(tx, Identity{Format: format, Node: synod.NodeID(binary.BigEndian.Uint64(id[:]) | 1), Name: name})
	})
	return errors.Join(err, db.Close())
}

func putIdentity(tx *bbolt.Tx, id Identity) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketNode).Put(keyIdentity, sealed(b))
}

// readIdentity checks node.db and reads whose it is.
func (s *Store) readIdentity(tx *bbolt.Tx) error {
	for _, b := range [][]byte{bucketNode, bucketAddresses, bucketGroups, bucketSnapshots} {
		if tx.Bucket(b) == nil {
			return damaged(s.path(nodeFile), fmt.Sprintf("bucket %s is missing", b))
		}
	}
	b, err := unsealed(tx.Bucket(bucketNode).Get(keyIdentity))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s.identity); err != nil || s.identity.Node == 0 {
		return damaged(s.path(nodeFile), "the identity makes no sense")
	}
	if s.identity.Format > format {
		return fmt.Errorf("%w: %s has format %d, this program knows %d; run a newer version", ErrFuture, s.path(nodeFile), s.identity.Format, format)
	}
	if have := tx.Bucket(bucketNode).Get(keyClock); string(have) != string(clock(tx)) {
		return damaged(s.path(nodeFile), "its pages are of different ages")
	}
	note := tx.Bucket(bucketNode).Get(keyOpening)
	if note == nil {
		return nil
	}
	if b, err = unsealed(note); err != nil || len(b) != 3*8 {
		return errors.Join(err, damaged(s.path(nodeFile), "its note of log.db makes no sense"))
	}
	s.opening = opening{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}
	return nil
}

// begin starts the next incarnation, before log.db is opened.
func (s *Store) begin(name string, o opening) error {
	s.identity.Incarnation++
	if name != "" {
		s.identity.Name = name
	}
	return updateNode(s.node, func(tx *bbolt.Tx) error {
		note := slices.Concat(key(o.from), key(o.root), key(o.many))
		if err := tx.Bucket(bucketNode).Put(keyOpening, sealed(note)); err != nil {
			return err
		}
		return putIdentity(tx, s.identity)
	})
}

// Identity returns who the directory belongs to.
func (s *Store) Identity() Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// SetCluster makes the directory part of a cluster, for ever. Error:
// ErrForeign if it belongs to another.
func (s *Store) SetCluster(cluster string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.identity
	if id.Cluster == cluster {
		return nil
	}
	if id.Cluster != "" {
		return fmt.Errorf("%w: %s is of cluster %s, not %s; give this node a directory of its own", ErrForeign, s.dir, id.Cluster, cluster)
	}
	id.Cluster = cluster
	if err := updateNode(s.node, func(tx *bbolt.Tx) error { return putIdentity(tx, id) }); err != nil {
		return explain(s.path(nodeFile), err)
	}
	s.identity = id
	return nil
}

// SaveAddress remembers where a node is.
func (s *Store) SaveAddress(id synod.NodeID, a Address) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return explain(s.path(nodeFile), updateNode(s.node, func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketAddresses).Put(key(uint64(id)), sealed(append(key(uint64(id)), b...)))
	}))
}

// Addresses returns where nodes were last seen.
func (s *Store) Addresses() (map[synod.NodeID]Address, error) {
	out := map[synod.NodeID]Address{}
	err := guarded(s.path(nodeFile), func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketAddresses).ForEach(func(k, v []byte) error {
				var a Address
				b, err := unsealed(v)
				if err != nil || len(k) != 8 || !bytes.HasPrefix(b, k) || json.Unmarshal(b[len(k):], &a) != nil {
					return nil // a hint that cannot be read is no hint
				}
				out[synod.NodeID(binary.BigEndian.Uint64(k))] = a
				return nil
			})
		})
	})
	return out, err
}

// Size returns the bytes that the directory's files take.
func (s *Store) Size() (n int64) {
	for _, f := range []string{logFile, nodeFile} {
		if st, err := os.Stat(filepath.Join(s.dir, f)); err == nil {
			n += st.Size()
		}
	}
	return n
}

// Dir returns the data directory.
func (s *Store) Dir() string { return s.dir }

// Close closes the files. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.votes != nil {
		err = s.votes.Close()
	}
	if s.node != nil {
		err = errors.Join(err, s.node.Close())
	}
	return err
}

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func sealed(content []byte) []byte { return codec.AppendRecord(nil, content) }

func unsealed(record []byte) ([]byte, error) { return codec.OpenRecord(record) }

// updateNode runs f in a transaction of node.db, and notes which one it was
// and what it left. There are no other transactions.
func updateNode(db *bbolt.DB, f func(tx *bbolt.Tx) error) error {
	return db.Update(func(tx *bbolt.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return tx.Bucket(bucketNode).Put(keyClock, clock(tx))
	})
}

// clock returns the record that vouches for all else in node.db, as tx leaves
// or sees it. One that only reads has the number of the last that wrote.
func clock(tx *bbolt.Tx) []byte {
	content := binary.AppendUvarint(nil, uint64(tx.ID()))
	for _, name := range [][]byte{bucketNode, bucketAddresses, bucketGroups, bucketSnapshots} {
		sum := uint64(0)
		b := tx.Bucket(name)
		_ = b.ForEach(func(k, v []byte) error {
			if string(k) != string(keyClock) {
				sum += mix(uint64(codec.Checksum(k)) + mix(uint64(codec.Checksum(v))))
			}
			return nil
		})
		content = binary.LittleEndian.AppendUint64(content, sum)
	}
	return sealed(content)
}
