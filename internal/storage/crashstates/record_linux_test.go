package crashstates

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/synod"
)

// dataDir is the data directory's name in the file system.
const dataDir = "data"

// asWorker is the variable of the environment that makes a process a worker. In the
// process that serves the file system nothing may map its files.
const asWorker = "CRASHSTATES_WORKER"

// A task is what a worker has to do.
type task struct {
	Mount string
	Kind  string // of the log
	Seed  uint64
	Steps int  // 0: only open the store, and close it
	Badly bool // see writer
}

// A mark is what a worker tells between its steps.
type mark struct {
	Step     int
	Done     bool // else it begins
	Node     synod.NodeID
	Position uint64
}

func TestMain(m *testing.M) {
	for name, do := range map[string]func(string) error{asWorker: work, asLoser: lose} {
		if text := os.Getenv(name); text != "" {
			if err := do(text); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// options are how stores are opened. Segments are small, so that they change often.
func options(kind string) storage.Options {
	return storage.Options{Name: "n", LogStore: kind, SegmentBytes: 40 << 10}
}

func (t task) script() []step {
	if t.Steps == 0 {
		return script(t.Seed, 1, false)
	}
	return script(t.Seed, t.Steps, t.Badly)
}

// work is what a worker does.
func work(text string) error {
	var t task
	if err := json.Unmarshal([]byte(text), &t); err != nil {
		return err
	}
	marks, err := os.OpenFile(filepath.Join(t.Mount, crashfs.Marks), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	k := &worker{dir: filepath.Join(t.Mount, dataDir), opts: options(t.Kind)}
	for i, s := range t.script() {
		m := mark{Step: i}
		for _, m.Done = range []bool{false, true} {
			if m.Done {
				if err := s.do(k); err != nil {
					return fmt.Errorf("step %d, %s: %w", i, s.name, err)
				}
				m.Node, m.Position = k.s.Identity().Node, k.s.Position()
			}
			b, err := json.Marshal(m)
			if err != nil {
				return err
			}
			if _, err := marks.WriteAt(b, 0); err != nil {
				return err
			}
		}
	}
	return k.s.Close()
}

// record has a worker do t on a file system with m, and returns all operations.
func record(t *testing.T, is task, m crashfs.Image) []crashfs.Op {
	t.Helper()
	is.Mount = filepath.Join(t.TempDir(), "fs")
	fs, err := crashfs.Mount(is.Mount, crashfs.Options{Image: m, Record: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(is)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asWorker+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err = errors.Join(err, fs.Unmount()); err != nil {
		t.Fatalf("%+v: %v\n%s", is, err, out)
	}
	return fs.History()
}

// scratch is a directory for states: in memory, if there is such a file system, since
// nothing in it has to last.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "prytany-crashstates-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
