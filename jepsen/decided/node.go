// Package decided reads what a cluster has decided from the data directories of its
// nodes, after they have stopped: the log that every answer must agree with.
//
// Each node's votes become one NDJSON file, [Node.Write], a copy of the evidence that
// can be kept beside a history. [Merge] makes the log of them: what nodes know to be
// chosen must be the same on all of them, and what no node knew to be chosen when it
// stopped is what a new leader would choose, given the votes of a quorum. Whatever a
// client was told of is among it.
//
// A run whose log is to be read takes no snapshots: what they stand for is not in the
// log any more, and [Log.Whole] says so.
package decided

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/prytany/prytany/internal/directory"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/locks"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Version is of the format of [Node.Write]; a reader refuses what is newer.
const Version = 1

// maxLine bounds a line of a file, in bytes.
const maxLine = 64 << 20

// maxGap bounds the slots without a vote below the watermark of a file, or before a
// vote: far more than a leader has under way, and few enough to be told one by one. A
// number that is damaged must not be taken for so many slots.
const (
	maxGap  = 1 << 16
	maxSlot = 1 << 62
)

// A Node is what one node has on its disk of group main.
type Node struct {
	Version  int      `json:"version"`
	Name     string   `json:"node"`
	ID       uint64   `json:"id"`
	Decided  uint64   `json:"decided"`  // it knows what is chosen up to this slot
	Snapshot uint64   `json:"snapshot"` // slot of its snapshot: 1 is the empty state
	Config   uint64   `json:"config"`   // the newest that it knows
	Voters   []uint64 `json:"voters"`   // of that
	Votes    []Vote   `json:"-"`        // in the order of slots
}

// A Vote is the newest of one node in one slot.
type Vote struct {
	Slot   uint64 `json:"slot"`
	Config uint64 `json:"config"`
	Round  uint64 `json:"round"`  // of the ballot,
	Member uint64 `json:"member"` // and who may use it
	Chosen bool   `json:"chosen"` // the node knows that Value is chosen
	Value  []byte `json:"value"`  // as package paxos encodes it
	Says   []Said `json:"says"`   // the commands in Value, for people: readers ignore them
}

// A Said is a command for people.
type Said struct {
	Command string `json:"command"`
	Request string `json:"request,omitempty"`
}

// ReadDir reads a node's data directory. It reads a copy, so that the directory stays
// as the node left it. The node must have stopped: an error says if it has not.
func ReadDir(dir string) (Node, error) {
	tmp, err := os.MkdirTemp("", "decided-")
	if err != nil {
		return Node{}, fmt.Errorf("decided: %w", err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := copyDir(tmp, dir); err != nil {
		return Node{}, fmt.Errorf("decided: %w", err)
	}
	s, err := storage.Open(tmp, storage.Options{})
	if err != nil {
		return Node{}, fmt.Errorf("decided: a copy of %s: %w", dir, err)
	}
	defer func() { _ = s.Close() }()
	d, err := s.Load(paxos.Main)
	if err != nil {
		return Node{}, fmt.Errorf("decided: a copy of %s: %w", dir, err)
	}
	return nodeOf(s.Identity().Name, s.Identity().Node, d), nil
}

// copyDir copies the files in and below a directory, whatever kind of log it has.
func copyDir(to, from string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is no file", path)
		}
		return copyFile(filepath.Join(to, name), path)
	})
}

// copyFile copies a file that nobody writes to.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := unused(in); err != nil {
		return fmt.Errorf("%s is in use: stop the node first: %w", from, err)
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func nodeOf(name string, id synod.NodeID, d paxos.Durable) Node {
	h := d.Header
	n := Node{
		Version: Version, Name: name, ID: uint64(id),
		Decided: uint64(h.Decided), Snapshot: uint64(h.Snapshot), Config: uint64(h.Membership.ID),
	}
	for _, v := range h.Membership.Voters {
		n.Voters = append(n.Voters, uint64(v.Node))
	}
	for _, v := range d.Votes {
		n.Votes = append(n.Votes, NewVote(v))
	}
	return n
}

// NewVote returns v as it is written.
func NewVote(v paxos.SlotVote) Vote {
	return Vote{
		Slot: uint64(v.Slot), Config: uint64(v.Config), Chosen: v.Chosen,
		Round: v.Vote.Ballot.Round, Member: uint64(v.Vote.Ballot.Member),
		Value: []byte(v.Vote.Value), Says: says(v.Vote.Value),
	}
}

// says tells what is in a value.
func says(v synod.Value) (out []Said) {
	d, err := paxos.Decode(v)
	if err != nil {
		return []Said{{Command: err.Error()}}
	}
	if d.Kind == paxos.KindStop {
		return []Said{{Command: fmt.Sprintf("configuration %d follows, of %d voters", d.Next.ID, len(d.Next.Voters))}}
	}
	for _, raw := range d.Commands {
		if directory.Is(raw) {
			out = append(out, Said{Command: "a command of the directory"})
			continue
		}
		cmd, err := locks.Decode(raw)
		if err != nil {
			out = append(out, Said{Command: err.Error()})
			continue
		}
		s := Said{Command: strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", cmd), "*command."), "Command")}
		if b, err := json.Marshal(cmd); err == nil {
			s.Command += " " + string(b)
		}
		s.Request = requestOf(cmd).ID
		out = append(out, s)
	}
	return out
}

// Write writes n as NDJSON.
func (n Node) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	e := json.NewEncoder(out)
	err := e.Encode(n)
	for i := 0; i < len(n.Votes) && err == nil; i++ {
		err = e.Encode(n.Votes[i])
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("decided: %w", err)
	}
	return nil
}

// Save reads a node's data directory, as [ReadDir] does, and writes what it has to a
// file.
func Save(dir, path string) error {
	n, err := ReadDir(dir)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("decided: %w", err)
	}
	if err := n.Write(f); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("decided: %w", err)
	}
	return nil
}

// Read is the inverse of [Node.Write].
func Read(r io.Reader) (n Node, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	line := 0
	for in.Scan() {
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		var err error
		if line++; line == 1 {
			err = d.Decode(&n)
		} else {
			var v Vote
			err = d.Decode(&v)
			n.Votes = append(n.Votes, v)
		}
		if err != nil {
			return n, fmt.Errorf("decided: line %d: %w", line, err)
		}
		if last := len(n.Votes) - 1; last > 0 && n.Votes[last].Slot <= n.Votes[last-1].Slot {
			return n, fmt.Errorf("decided: line %d: slot %d is not above the one before", line, n.Votes[last].Slot)
		}
		if err := n.checkGap(); err != nil {
			return n, fmt.Errorf("decided: line %d: %w", line, err)
		}
	}
	switch err := in.Err(); {
	case err != nil:
		return n, fmt.Errorf("decided: line %d: %w", line+1, err)
	case line == 0 || n.Version == 0:
		return n, fmt.Errorf("decided: the first line is not that of a node's log")
	case n.Version > Version:
		return n, fmt.Errorf("decided: version %d; this program knows %d: use a newer one", n.Version, Version)
	case max(n.Decided, n.Snapshot) > maxSlot, n.Decided > n.Snapshot && n.Decided-n.Snapshot > uint64(len(n.Votes))+maxGap:
		return n, fmt.Errorf("decided: slots up to %d are decided, and there are %d votes: the file is damaged", n.Decided, len(n.Votes))
	}
	return n, nil
}

// checkGap is an error if the last vote is far above all that was there before.
func (n *Node) checkGap() error {
	last := len(n.Votes) - 1
	if last < 0 {
		return nil
	}
	below := max(first-1, n.Decided) + maxGap
	if last > 0 {
		below = max(below, n.Votes[last-1].Slot+maxGap)
	}
	if s := n.Votes[last].Slot; s > below {
		return fmt.Errorf("slot %d is far above the one before: the file is damaged", s)
	}
	return nil
}
