package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
)

func putCommand(a *cli.App) *cobra.Command {
	s := &settings{}
	cmd := &cobra.Command{
		Use:     "put",
		Short:   "Measure writes of config entries",
		Example: "  prytany bench put --clients 64 --duration 30s\n  prytany bench put --rate 500 --value-size 4096",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.entries(cmd, a, "put") },
	}
	s.addFlags(cmd)
	s.addEntryFlags(cmd)
	return cmd
}

func getCommand(a *cli.App) *cobra.Command {
	s := &settings{reads: 1}
	cmd := &cobra.Command{
		Use:     "get",
		Short:   "Measure linearizable reads of config entries",
		Example: "  prytany bench get --clients 64\n  prytany bench get --keys 100000 -o json",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.entries(cmd, a, "get") },
	}
	s.addFlags(cmd)
	s.addEntryFlags(cmd)
	return cmd
}

func mixedCommand(a *cli.App) *cobra.Command {
	s := &settings{}
	cmd := &cobra.Command{
		Use:     "mixed",
		Short:   "Measure reads and writes of config entries together",
		Example: "  prytany bench mixed --reads 0.95 --keys 1000 --clients 64",
		Args:    cli.ExactArgs(0),
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.entries(cmd, a, "mixed") },
	}
	s.addFlags(cmd)
	s.addEntryFlags(cmd)
	cmd.Flags().Float64Var(&s.reads, "reads", 0.9, "`share` of operations that read, from 0 to 1")
	return cmd
}

// entries carries out a command about config entries.
func (s *settings) entries(cmd *cobra.Command, a *cli.App, name string) error {
	if err := s.check(cmd); err != nil {
		return err
	}
	b, err := s.connect(cmd.Context(), a, 0)
	if err != nil {
		return err
	}
	return b.measure(cmd.Context(), name, newEntries(b, name))
}

// What entries does, as indices into its kinds.
const (
	kindGet = iota
	kindPut
)

// entries are puts and gets.
type entries struct {
	*base
	name  string
	state []entryState // of each key
}

// An entryState is what is known of one key.
type entryState struct {
	acked atomic.Int64 // puts that succeeded
	open  atomic.Int64 // puts of which nobody knows
	last  atomic.Int64 // with a key of its own: number of the client's last put that succeeded
}

func newEntries(b *base, name string) *entries {
	n := b.keys
	if n == 0 {
		n = b.settings.clients
	}
	return &entries{base: b, name: name, state: make([]entryState, n)}
}

func (e *entries) kinds() []string { return []string{kindGet: "get", kindPut: "put"} }

func (e *entries) key(i int) string { return fmt.Sprintf("%sk%d", e.run, i) }

// value is what the n-th put to key i writes: it tells both.
func (e *entries) value(i int, n int64) []byte {
	v := fmt.Appendf(make([]byte, 0, e.size), "%d %d ", i, n)
	return append(v, bytes.Repeat([]byte{'x'}, e.size-len(v))...)
}

// prepare writes each key once, unless nothing but puts is measured: then the
// first put of each does the same.
func (e *entries) prepare(ctx context.Context) error {
	if e.name == "put" {
		return nil
	}
	var (
		next atomic.Int64
		all  sync.WaitGroup
		mu   sync.Mutex
		bad  error
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for w := range max(e.settings.clients, min(64, len(e.state))) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(e.state) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := e.put(ctx, w, i, 0); err != nil {
					mu.Lock()
					if bad == nil {
						bad = err
					}
					mu.Unlock()
					cancel()
				}
			}
		})
	}
	all.Wait()
	return bad
}

// own reports whether each client has a key of its own.
func (e *entries) own() bool { return e.keys == 0 }

func (e *entries) do(ctx context.Context, worker, n int) (int, error) {
	i := worker
	if !e.own() {
		i = rand.IntN(len(e.state))
	}
	if e.name == "get" || e.name == "mixed" && rand.Float64() < e.reads {
		return kindGet, e.get(ctx, worker, i)
	}
	return kindPut, e.put(ctx, worker, i, int64(n)+1)
}

// put writes the n-th value to key i.
func (e *entries) put(ctx context.Context, worker, i int, n int64) error {
	_, err := e.client(worker).Put(ctx, e.key(i), e.value(i, n))
	st := &e.state[i]
	switch {
	case err == nil:
		st.acked.Add(1)
		st.last.Store(n)
	case unclear(err):
		st.open.Add(1)
	}
	return err
}

// errWrong marks an answer that no correct cluster gives.
var errWrong = errors.New("a wrong answer")

func (e *entries) get(ctx context.Context, worker, i int) error {
	got, err := e.client(worker).Get(ctx, e.key(i))
	if err != nil {
		return err
	}
	if fault := e.judge(got, i); fault != "" {
		e.blame("%s", fault)
		return errWrong
	}
	return nil
}

// judge says what is wrong with an entry of key i, "" if nothing is.
func (e *entries) judge(got client.Entry, i int) string {
	var key int
	var n int64
	if _, err := fmt.Sscanf(string(got.Value[:min(len(got.Value), 48)]), "%d %d ", &key, &n); err != nil || key != i || !bytes.Equal(got.Value, e.value(i, n)) {
		return e.key(i) + " has a value that nobody wrote there"
	}
	// With a key of its own a client reads what it wrote last, or what it wrote
	// later and has no answer to.
	if st := &e.state[i]; e.own() && (n < st.last.Load() || n > st.last.Load() && st.open.Load() == 0) {
		return fmt.Sprintf("%s has the value of put %d after put %d was acknowledged", e.key(i), n, st.last.Load())
	}
	return ""
}

// verify reads every key that was written, and counts: as many changes as were
// acknowledged, and at most so many more as nobody knows of.
func (e *entries) verify(ctx context.Context) (checked int64, err error) {
	for i := range e.state {
		st := &e.state[i]
		acked, open := st.acked.Load(), st.open.Load()
		if acked == 0 && open == 0 {
			continue
		}
		got, err := e.client(i).Get(ctx, e.key(i))
		switch {
		case errors.Is(err, client.ErrNotFound) && acked == 0:
			continue
		case errors.Is(err, client.ErrNotFound):
			e.blame("%s is gone after %d puts", e.key(i), acked)
			continue
		case err != nil:
			return checked, err
		}
		checked += acked
		if v := int64(got.Version); v < acked || v > acked+open {
			e.blame("%s has been changed %d times; %d puts were acknowledged, of %d nobody knows", e.key(i), v, acked, open)
		}
		if fault := e.judge(got, i); fault != "" {
			e.blame("%s", fault)
		}
	}
	return checked, nil
}

func (e *entries) clean(ctx context.Context) error { return e.removeAll(ctx) }

// removeAll deletes every entry of this run.
func (b *base) removeAll(ctx context.Context) error {
	_, err := b.clients[0].Txn(ctx, client.Txn{Then: []client.Op{client.DeletePrefixOp(b.run)}})
	return err
}
