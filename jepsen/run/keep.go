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
	"path/filepath"
	"syscall"

	"github.com/prytany/prytany/jepsen/decided"
	"github.com/prytany/prytany/jepsen/workload"
	"github.com/prytany/prytany/jepsen/world"
)

// DecidedFile is where the log of a node is kept in a run's directory.
func DecidedFile(dir, node string) string {
	return filepath.Join(dir, "decided-"+node+".ndjson")
}

// keep stops the nodes as an operator would, and keeps what they had on their disks.
func (t *theatre) keep(ctx context.Context) error {
	t.Say("stopping the nodes")
	for _, n := range t.world.Voters() {
		if err := n.End(ctx, syscall.SIGTERM); err != nil {
			return err
		}
	}
	for _, n := range t.world.Voters() {
		if err := t.save(n, n.Name); err != nil {
			return err
		}
	}
	return nil
}

// archive keeps what a node has on its disk that is about to be lost: the log may be
// whole nowhere else in the end.
func (t *theatre) archive(n *world.Node) error {
	t.lost++
	return t.save(n, fmt.Sprintf("%s-lost-%d", n.Name, t.lost))
}

// save writes what a node that does not run has on its disk.
func (t *theatre) save(n *world.Node, name string) error {
	read, err := decided.ReadDir(n.Data())
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	f, err := os.Create(DecidedFile(t.Out, name))
	if err != nil {
		return err
	}
	return errors.Join(read.Write(f), f.Close())
}

// Client is a process of clients: it reads what to do, then commands.
func Client(ctx context.Context, in io.Reader, out io.Writer) error {
	buffered := bufio.NewReader(in)
	line, err := buffered.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s is for this program itself", ClientCommand)
	}
	var spec workload.Spec
	if err := json.Unmarshal(line, &spec); err != nil {
		return err
	}
	return workload.Main(ctx, spec, buffered, out)
}
