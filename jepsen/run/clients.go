//go:build linux

package run

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prytany/prytany/internal/fault"
	"github.com/prytany/prytany/jepsen/history"
	"github.com/prytany/prytany/jepsen/workload"
	"github.com/prytany/prytany/jepsen/world"
)

// maxEvent bounds a line of a client, in bytes.
const maxEvent = 8 << 20

// A party is one process of clients.
type party struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{} // closed when all that it said has been read
	said chan string   // the notes that answer commands
	log  *os.File
}

// parties are the processes of clients, and what they have told.
type parties struct {
	list []*party
	book *book
}

// startParties starts a process of clients on each of the world's client hosts.
func startParties(w *world.World, spec workload.Spec, self string, b *book) (*parties, error) {
	all := &parties{book: b}
	for i, h := range w.Clients {
		spec.Client, spec.Clients = i, len(w.Clients)
		line, err := json.Marshal(spec)
		if err != nil {
			return all, err
		}
		p := &party{name: h.Name, done: make(chan struct{}), said: make(chan string, 4)}
		if p.log, err = os.Create(filepath.Join(w.Logs, h.Name+".log")); err != nil {
			return all, err
		}
		p.cmd = exec.Command(self, ClientCommand)
		p.cmd.Env, p.cmd.Stderr = fault.Environ(), p.log
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			return all, err
		}
		if p.in, err = p.cmd.StdinPipe(); err != nil {
			return all, err
		}
		if err := h.Start(p.cmd); err != nil {
			return all, err
		}
		all.list = append(all.list, p)
		go all.listen(i, p, out)
		if _, err := p.in.Write(append(line, '\n')); err != nil {
			return all, err
		}
	}
	return all, nil
}

// listen takes down what a process says until it ends.
func (all *parties) listen(i int, p *party, out io.Reader) {
	defer close(p.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var e history.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			e = history.Event{Kind: history.Note, Text: fmt.Sprintf("%s said what is no event: %v", p.name, err)}
		}
		all.book.take(i, e)
		if e.Kind == history.Note && (e.Text == workload.Stopped || e.Text == workload.HasRead) {
			p.said <- e.Text
		}
	}
}

// tell sends all processes a command and waits for their answers.
func (all *parties) tell(ctx context.Context, answer string, limit time.Duration, command func(i int) string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for i, p := range all.list {
		if _, err := io.WriteString(p.in, command(i)+"\n"); err != nil {
			return fmt.Errorf("clients %s: %w", p.name, err)
		}
	}
	for _, p := range all.list {
		select {
		case said := <-p.said:
			if said != answer {
				return fmt.Errorf("clients %s said %q", p.name, said)
			}
		case <-p.done:
			return fmt.Errorf("clients %s have ended: see %s", p.name, p.log.Name())
		case <-ctx.Done():
			return fmt.Errorf("clients %s have not said %q in time: %w", p.name, answer, context.Cause(ctx))
		}
	}
	return nil
}

// close ends all processes.
func (all *parties) close() error {
	var errs []error
	for _, p := range all.list {
		errs = append(errs, p.in.Close())
	}
	for _, p := range all.list {
		kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
		<-p.done
		if err := p.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("clients %s: %w: see %s", p.name, err, p.log.Name()))
		}
		kill.Stop()
		errs = append(errs, p.log.Close())
	}
	return errors.Join(errs...)
}

// kill ends all processes at once.
func (all *parties) kill() {
	for _, p := range all.list {
		_ = p.cmd.Process.Kill()
	}
}

// Names are those of the hosts.
func (all *parties) Names() (names []string) {
	for _, p := range all.list {
		names = append(names, p.name)
	}
	return names
}

// ServedBy is the node that served the newest grant that is still held.
func (all *parties) ServedBy() string { return all.book.servedBy() }

// Pause stops the process of clients that took a lock last, once there is one; after a
// while any.
func (all *parties) Pause(ctx context.Context) (name string, resume func() error, err error) {
	const patience = 3 * time.Second
	i, deadline := -1, time.Now().Add(patience)
	for i < 0 && ctx.Err() == nil && time.Now().Before(deadline) {
		if i = all.book.holds(); i < 0 {
			time.Sleep(2 * time.Millisecond)
		}
	}
	p := all.list[max(i, 0)]
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return "", nil, err
	}
	return p.name, func() error { return p.cmd.Process.Signal(syscall.SIGCONT) }, nil
}

// A book is what has happened in a run, while it happens.
type book struct {
	mu     sync.Mutex
	now    func() time.Duration
	events []history.Event
	counts map[history.Kind]int
	keys   map[string]bool // of entries
	things map[string]bool // locks with resources
	grants []grant
}

// A grant is held by a client now.
type grant struct {
	party   int
	session string
	key     string
	fence   uint64
	node    string
}

func newBook(now func() time.Duration) *book {
	return &book{now: now, counts: map[history.Kind]int{}, keys: map[string]bool{}, things: map[string]bool{}}
}

// write adds an event of the runner.
func (b *book) write(e history.Event) {
	if e.At == 0 {
		e.At = b.now()
	}
	b.take(-1, e)
}

// take adds an event of a process of clients.
func (b *book) take(party int, e history.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	if e.F != history.Watched {
		b.counts[e.Kind]++
	}
	switch {
	case e.F == history.Put && e.Kind == history.Invoke, e.F == history.Get && e.Kind == history.Invoke, e.F == history.Delete && e.Kind == history.Invoke:
		b.keys[e.Key] = true
	case e.F == history.Txn && e.Kind == history.Invoke:
		if args, err := history.Decode[history.TxnArgs](e.Args); err == nil {
			for _, key := range args.Reads {
				b.keys[key] = true
			}
		}
	case e.F == history.ResourceRead && e.Kind == history.Invoke:
		b.things[e.Key] = true
	case e.F == history.Acquire && e.Kind == history.OK:
		b.grants = append(b.grants, grant{party, e.Session, e.Key, e.Fence, e.Node})
	case e.F == history.Release && e.Kind == history.Invoke, e.F == history.Belief && e.Kind == history.OK:
		b.forget(func(g grant) bool { return g.key == e.Key && g.session == e.Session })
	case e.F == history.CloseS && e.Kind == history.Invoke, e.F == history.KeepAlive && e.Kind == history.Fail && strings.HasPrefix(e.Code, "session"):
		b.forget(func(g grant) bool { return g.session == e.Session })
	}
}

// answered is how many calls have succeeded.
func (b *book) answered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[history.OK]
}

func (b *book) forget(gone func(grant) bool) {
	kept := b.grants[:0]
	for _, g := range b.grants {
		if !gone(g) {
			kept = append(kept, g)
		}
	}
	b.grants = kept
}

// holds is the index of the process that took the newest lock with a resource that is
// still held, else of any lock; -1 if there is none.
func (b *book) holds() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := -1
	for i := len(b.grants) - 1; i >= 0; i-- {
		if b.things[b.grants[i].key] {
			return b.grants[i].party
		}
		if found < 0 {
			found = b.grants[i].party
		}
	}
	return found
}

func (b *book) servedBy() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.grants) - 1; i >= 0; i-- {
		if b.grants[i].node != "" {
			return b.grants[i].node
		}
	}
	return ""
}
