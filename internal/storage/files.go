package storage

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/prytany/prytany/internal/codec"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/internal/storage/wal"
	"github.com/prytany/prytany/paxos"
)

const (
	// stepBytes of a snapshot are written and synced at once: a write of the log
	// that comes meanwhile waits for so much at most.
	stepBytes = 1 << 20

	// takeRate bounds how many bytes are written in a second of a snapshot that this
	// node takes. Nobody waits for it, and writes of the log go on meanwhile: the less
	// of disk and processors it takes, the better. 1 GiB of state, which is the most,
	// is written in a minute.
	takeRate = 16 << 20

	// arrivedRate is that of a snapshot that has come from a peer. Without it the
	// node does not get on, and the peers' logs reach back for so long only.
	arrivedRate = 64 << 20

	// maxPause bounds the pause after a step. It lasts as long as the step took, if
	// that is longer than the rate demands: on a disk that is slow, or shared, half
	// of the time is left to the log.
	maxPause = 200 * time.Millisecond

	// shrinkBytes of a file are given back at once. To delete a large one takes the
	// file system's journal, which the log waits for, as long as to write it.
	shrinkBytes = 16 << 20
)

// snapshotFiles are the files that large snapshots are in, one for each, in a
// directory of their own. Each is written once, by its name, before the head of a
// snapshot names it; one that no head names is what a crash left behind.
type snapshotFiles struct {
	dir string

	// What the system does; tests look on.
	sync     func(*os.File) error
	syncDir  func(dir string) error
	truncate func(path string, size int64) error
	remove   func(path string) error
	sleep    func(time.Duration)
}

func newSnapshotFiles(dir string) snapshotFiles {
	return snapshotFiles{dir: dir, sync: wal.Sync, syncDir: syncDir, truncate: os.Truncate, remove: os.Remove, sleep: time.Sleep}
}

// snapshotName returns the name of the file for a snapshot of g, written when the last
// transaction of node.db was txid: no two snapshots have one name.
func snapshotName(g paxos.GroupID, slot paxos.Slot, txid uint64) string {
	return fmt.Sprintf("%s%d-%d", snapshotPrefix(g), slot, txid)
}

// snapshotPrefix is what the names of all files of g begin with.
func snapshotPrefix(g paxos.GroupID) string { return fmt.Sprintf("%d-", g) }

// isSnapshotName reports whether name is that of a snapshot's file.
func isSnapshotName(name string) bool {
	var g, slot, txid uint64
	n, err := fmt.Sscanf(name, "%d-%d-%d", &g, &slot, &txid)
	return n == 3 && err == nil && name == snapshotName(paxos.GroupID(g), paxos.Slot(slot), txid)
}

func (d snapshotFiles) path(name string) string { return filepath.Join(d.dir, name) }

// open makes the directory if there is none, and removes the files that are not in use.
func (d snapshotFiles) open(used map[string]bool) error {
	err := os.Mkdir(d.dir, 0o700)
	switch {
	case err == nil:
		return d.syncDir(filepath.Dir(d.dir))
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	there, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, e := range there {
		if !isSnapshotName(e.Name()) || used[e.Name()] {
			continue
		}
		if err := d.remove(d.path(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// A snapshotWriter writes a snapshot: a step at a time, each durable before the next.
// What is small it keeps.
type snapshotWriter struct {
	files snapshotFiles
	name  string // of the file
	rate  int    // most bytes in a second
	file  *os.File
	step  []byte // not written yet
	size  uint64 // of all that came before step
	sum   uint32 // CRC32C of that
	took  time.Duration
	ended time.Time // when the step before was on the disk

	failed error // the first write that did, whatever the encoder makes of it
}

// Write takes its time.
func (w *snapshotWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if w.failed == nil && len(w.step) == stepBytes {
			w.failed = w.flush()
		}
		if w.failed != nil {
			return 0, w.failed
		}
		some := p[:min(len(p), stepBytes-len(w.step))]
		w.step, p = append(w.step, some...), p[len(some):]
	}
	return n, nil
}

// flush makes step durable, after a pause since the one before.
func (w *snapshotWriter) flush() (err error) {
	if w.file == nil {
		w.file, err = os.OpenFile(w.files.path(w.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
	} else {
		w.files.sleep(pause(w.took, w.rate) - time.Since(w.ended))
	}
	if mutant.On(mutant.HeadFirst) {
		w.files.sync = func(*os.File) error { return nil }
	}
	start := time.Now()
	w.size, w.sum = w.size+uint64(len(w.step)), crc32.Update(w.sum, castagnoli, w.step)
	if _, err := w.file.Write(w.step); err != nil {
		return err
	}
	if err := w.files.sync(w.file); err != nil {
		return err
	}
	w.step, w.ended = w.step[:0], time.Now()
	w.took = w.ended.Sub(start)
	return nil
}

// end makes all that was written durable, the name of the file included, and fills in
// where it is: in the file, or in h itself.
func (w *snapshotWriter) end(h *snapshotHead) error {
	if w.file == nil && len(w.step) <= smallBytes {
		h.size, h.sum, h.data = uint64(len(w.step)), codec.Checksum(w.step), w.step
		return nil
	}
	if len(w.step) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	err := w.file.Close()
	w.file = nil
	h.size, h.sum, h.file = w.size, w.sum, w.name
	return errors.Join(err, w.files.syncDir(w.files.dir))
}

// stop gives up what was written, if it has not come to its end.
func (w *snapshotWriter) stop() {
	if w.file != nil {
		_ = w.file.Close()
		_ = w.files.remove(w.files.path(w.name)) // or it is removed when the store is opened again
	}
}

// pause returns how long to rest after a step that took so long, at rate bytes in a
// second.
func pause(took time.Duration, rate int) time.Duration {
	every := time.Second * stepBytes / time.Duration(rate)
	return min(max(every-took, took), maxPause)
}

// castagnoli is the table of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// read returns up to most bytes of the file called name, which has size, from offset
// on.
func (d snapshotFiles) read(name string, size, offset, most uint64) ([]byte, error) {
	path := d.path(name)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(path, "the file is missing")
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if st.Size() < 0 || uint64(st.Size()) != size {
		return nil, damaged(path, fmt.Sprintf("it has %d bytes of %d", st.Size(), size))
	}
	offset = min(offset, size)
	data := make([]byte, min(most, size-offset))
	if _, err := f.ReadAt(data, int64(offset)); errors.Is(err, io.EOF) {
		return nil, damaged(path, "it is being cut short")
	} else if err != nil {
		return nil, err
	}
	return data, nil
}

// readAll returns what the file called name holds, if that has size and sum.
func (d snapshotFiles) readAll(name string, size uint64, sum uint32) ([]byte, error) {
	data, err := d.read(name, size, 0, size)
	if err == nil && codec.Checksum(data) != sum {
		err = damaged(d.path(name), "its checksum is wrong")
	}
	return data, err
}

// shrink gives back some of the room that the file called name takes, and reports
// whether it is gone.
func (d snapshotFiles) shrink(name string) (gone bool, err error) {
	st, err := os.Stat(d.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err != nil:
		return false, err
	case st.Size() <= shrinkBytes:
		return true, d.remove(d.path(name))
	}
	return false, d.truncate(d.path(name), st.Size()-shrinkBytes)
}

// discard removes the file called name, a little at a time. "" is none.
func (d snapshotFiles) discard(name string) error {
	for name != "" {
		start := time.Now()
		gone, err := d.shrink(name)
		if gone || err != nil {
			return err
		}
		d.sleep(pause(time.Since(start), takeRate))
	}
	return nil
}

// size returns the bytes of all files.
func (d snapshotFiles) size() (n int64) {
	there, _ := os.ReadDir(d.dir)
	for _, e := range there {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// openSnapshots makes the directory for the snapshots' files ready, and removes what a
// crash has left there.
func (s *Store) openSnapshots() error {
	used := map[string]bool{}
	err := guarded(s.path(nodeFile), func() error {
		return s.node.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketSnapshots).ForEach(func(k, record []byte) error {
				h, err := openHead(record)
				if err != nil {
					return err
				}
				if string(k) != string(key(uint64(h.group))) || h.file != "" && !strings.HasPrefix(h.file, snapshotPrefix(h.group)) {
					return damaged(s.path(nodeFile), "a snapshot is not of its group")
				}
				used[h.file] = true
				return nil
			})
		})
	})
	if err != nil {
		return err
	}
	return explain(s.files.dir, s.files.open(used))
}

// LogStore returns how the directory keeps its log: [LogBolt] or [LogAppend].
func (s *Store) LogStore() string { return s.kind }

// Size returns the bytes that the directory's files take.
func (s *Store) Size() (n int64) {
	if st, err := os.Stat(s.path(nodeFile)); err == nil {
		n = st.Size()
	}
	return n + s.votes.size() + s.files.size()
}
