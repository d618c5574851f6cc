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
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/internal/roster"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// format is the version of the directory's layout. 1 had snapshots in node.db.
const format = 2

// The files of a data directory.
const (
	boltFile     = "log.db" // or
	appendDir    = "log.wal"
	nodeFile     = "node.db"
	probeFile    = "probe"
	snapshotsDir = "snapshots"
)

// The buckets of node.db.
var (
	bucketNode      = []byte("node")      // identity
	bucketAddresses = []byte("addresses") // node id -> Address as JSON
	bucketGroups    = []byte("groups")    // group id -> nothing: groups that the log may know
	bucketSnapshots = []byte("snapshots") // group id -> head
)

// The keys of bucketNode.
var (
	keyIdentity = []byte("identity")
	keyOpening  = []byte("opening")  // of log.db
	keyAppended = []byte("appended") // the note of an append-only log
	keyClock    = []byte("clock")    // the last transaction, and the checksum of all keys and values
)

// Options refine [Open]. The zero Options are usable.
type Options struct {
	// Name is the operator's name for the node, kept with its identity.
	Name string
	// LockWait is how long to wait for another process to let go of the
	// directory. 0 means 1 s.
	LockWait time.Duration
	// LogStore says how a new directory keeps promises and votes: [LogBolt] or
	// [LogAppend]. "" means DefaultLogStore. A directory that has a log keeps it.
	LogStore string
	// SegmentBytes is the size of the files of an append-only log that are made from
	// now on. 0 means 16 MiB.
	SegmentBytes int64
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
	// Lease is the longest for which an acceptor of this directory has ever been
	// bound to a leader, in ns: the leases themselves are not saved.
	Lease int64 `json:"lease,omitempty"`
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
	votes voteLog
	kind  string // of votes
	node  *bbolt.DB
	probe prober
	files snapshotFiles

	mu       sync.Mutex
	identity Identity
	retired  Retirement
	nonce    uint64        // of this process; of the last one until begin
	past     []roster.Life // before this process
	closed   bool

	position atomic.Uint64 // of the log: how many writes are durable, for other goroutines
	appended note          // of an append-only log, as node.db has it

	// Owned by the caller of the replica.Storage methods.
	groups  map[paxos.GroupID]*groupFile
	headers uint64 // of groups that have one
	marks   uint64 // their sum
	swept   sweep
	dying   string // the file of a snapshot that Sweep removes; "" if there is none
	opening opening
	room    []byte // for the records of one Save
	failure sync.Mutex
	failed  error // the first failed write; sticks. Guarded by failure
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
	if err := makeDir(dir); err != nil {
		return nil, explain(dir, err)
	}
	s := &Store{dir: dir, log: opts.Log, groups: map[paxos.GroupID]*groupFile{}, files: newSnapshotFiles(filepath.Join(dir, snapshotsDir))}
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
	if err := s.openSnapshots(); err != nil {
		return err
	}
	if err := s.openVotes(bolt, opts); err != nil {
		return err
	}
	return s.openProbe()
}

// whole refuses a directory without node.db that has a log. node.db is made first,
// so it was there once.
func (s *Store) whole() error {
	_, err := os.Stat(s.path(nodeFile))
	if !errors.Is(err, os.ErrNotExist) {
		return explain(s.path(nodeFile), err)
	}
	for _, name := range []string{boltFile, appendDir} {
		if there, err := s.exists(name); err != nil {
			return err
		} else if there {
			return damaged(s.path(nodeFile), "the file is missing")
		}
	}
	return nil
}

// openVotes starts the next incarnation and opens the log. A directory that has a
// part in a group, but no log, has lost it.
func (s *Store) openVotes(bolt *bbolt.Options, opts Options) error {
	kind, err := s.logStore(opts.LogStore)
	if err != nil {
		return err
	}
	var is root
	s.kind = kind
	if kind == LogAppend {
		is, err = s.openAppend(opts)
	} else {
		is, err = s.openBolt(bolt, opts.Name)
	}
	if err != nil {
		return err
	}
	if err := s.loadHeaders(is); err != nil {
		return err
	}
	if err := s.findDropped(); err != nil {
		return err
	}
	return s.write(nil, false)
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
	if mutant.On(mutant.SameIdentity) {
		clear(id[copy(id[:], name):])
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
	if err := s.knowsFormat(); err != nil {
		return err
	}
	if have := tx.Bucket(bucketNode).Get(keyClock); string(have) != string(clock(tx)) {
		return damaged(s.path(nodeFile), "its pages are of different ages")
	}
	if err := errors.Join(s.readRetired(tx), s.readPast(tx)); err != nil {
		return err
	}
	if err := s.readAppended(tx); err != nil {
		return err
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

// begin starts the next incarnation, before the log is written to, which has come to
// end. What is to be known of the log then is noted under k.
func (s *Store) begin(name string, k, note []byte, end uint64) error {
	s.identity.Incarnation++
	if name != "" {
		s.identity.Name = name
	}
	past := s.live(end)
	return s.change(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(bucketNode).Put(k, sealed(note)); err != nil {
			return err
		}
		if err := tx.Bucket(bucketNode).Put(keyPast, past); err != nil {
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
	return s.setIdentity(id)
}

// RaiseLease remembers that acceptors may be bound for lease ns from now on. A
// shorter one than before changes nothing.
func (s *Store) RaiseLease(lease int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.identity
	if lease <= id.Lease {
		return nil
	}
	id.Lease = lease
	return s.setIdentity(id)
}

// setIdentity makes id durable. The caller holds mu.
func (s *Store) setIdentity(id Identity) error {
	if err := s.change(func(tx *bbolt.Tx) error { return putIdentity(tx, id) }); err != nil {
		return err
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
	return s.change(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketAddresses).Put(key(uint64(id)), sealed(append(key(uint64(id)), b...)))
	})
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
		err = errors.Join(s.votes.close(), s.noteEnd())
	}
	if s.node != nil {
		err = errors.Join(err, s.node.Close())
	}
	if s.probe.file != nil {
		err = errors.Join(err, s.probe.file.Close()) // does not wait for a Probe that hangs
	}
	return err
}

func key(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func sealed(content []byte) []byte { return codec.AppendRecord(nil, content) }

func unsealed(record []byte) ([]byte, error) { return codec.OpenRecord(record) }
