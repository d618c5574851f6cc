package crashstates

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/prytany/prytany/internal/crashfs"
	"github.com/prytany/prytany/internal/storage"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// A promise is what was acknowledged when power failed.
type promise struct {
	done     int // the last step that has returned, -1 if none has
	under    int // the step that had begun, -1 if none had
	node     synod.NodeID
	position uint64
}

// A judge opens states.
type judge struct {
	steps []step
	opts  storage.Options
	dir   string // for states, empty
	turn  int
}

// held returns what a store holds.
func held(s *storage.Store) (m model, err error) {
	m = empty()
	id := s.Identity()
	m.Cluster, m.Name, m.Lease, m.Incarnation = id.Cluster, id.Name, id.Lease, id.Incarnation
	list, err := s.Groups()
	if err != nil {
		return m, err
	}
	for _, g := range list {
		d, err := s.Load(g)
		if err != nil {
			return m, err
		}
		d.Votes = slices.DeleteFunc(d.Votes, func(v paxos.SlotVote) bool { return v.Slot < d.Header.Trimmed })
		if len(d.Votes) == 0 {
			d.Votes = nil
		}
		m.Groups[g] = d
	}
	for g := paxos.GroupID(1); g <= groups; g++ {
		snap, ok, err := s.LoadSnapshot(g)
		if err != nil {
			return m, err
		}
		if ok {
			m.Snapshots[g] = snap
		}
		tomb, ok, err := s.Dropped(g)
		if err != nil {
			return m, err
		}
		if ok {
			m.Dropped[g] = tomb.Floor
		}
	}
	if m.Addresses, err = s.Addresses(); err != nil {
		return m, err
	}
	m.Seen, err = s.Sightings()
	return m, err
}

// equal reports whether two models are one but for the incarnation.
func equal(a, b model) bool {
	a.Incarnation = b.Incarnation
	for _, m := range []map[paxos.GroupID]paxos.Snapshot{a.Snapshots, b.Snapshots} {
		for g, s := range m {
			if len(s.Data) == 0 {
				s.Data = nil
				m[g] = s
			}
		}
	}
	return reflect.DeepEqual(a, b)
}

// allowed lists what a store may hold after p.
func (j *judge) allowed(p promise) (all []model) {
	before := empty()
	if p.done >= 0 {
		before = j.steps[p.done].after
	}
	all = []model{before}
	if p.under >= 0 {
		all = append(append(all, j.steps[p.under].between...), j.steps[p.under].after)
	}
	return all
}

// try opens a state, and returns why it may not be so.
func (j *judge) try(m crashfs.Image, p promise) (err error) {
	j.turn++
	dir := filepath.Join(j.dir, fmt.Sprint("state-", j.turn))
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := errors.Join(os.Mkdir(dir, 0o700), m.Write(dataDir, dir)); err != nil {
		return err
	}
	first, err := j.open(dir, p, nil)
	if err != nil {
		return err
	}
	// Again, and every other time with a vote more.
	p.position++
	again, err := j.open(dir, p, func(s *storage.Store) error {
		if j.turn%2 == 0 {
			return nil
		}
		h := paxos.Header{Membership: paxos.Membership{ID: 1}, Promised: synod.Ballot{Round: 1 << 40, Member: 1}, Floor: first.Dropped[groups]}
		u := paxos.Update{Group: groups + 1, Dirty: true, Header: h, Votes: []paxos.SlotVote{{Slot: 1, Config: 1, Vote: synod.Vote{Ballot: h.Promised, Value: "more"}}}}
		return s.Save([]paxos.Update{u})
	})
	switch {
	case err != nil:
		return fmt.Errorf("opened again: %w", err)
	case !equal(first, again) || again.Incarnation != first.Incarnation+1:
		return fmt.Errorf("opened again it holds something else: %s", differ(again, first))
	case j.turn%2 == 0:
		return nil
	}
	s, err := storage.Open(dir, j.opts)
	if err != nil {
		return fmt.Errorf("opened after another vote: %w", err)
	}
	d, err := s.Load(groups + 1)
	if err = errors.Join(err, s.Close()); err != nil || len(d.Votes) != 1 || d.Votes[0].Vote.Value != "more" {
		return fmt.Errorf("another vote is lost: %+v, %w", d, err)
	}
	return nil
}

// open opens dir, compares what it holds, and calls then, unless that is nil.
func (j *judge) open(dir string, p promise, then func(*storage.Store) error) (m model, err error) {
	s, err := storage.Open(dir, j.opts)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if m, err = held(s); err != nil {
		return m, err
	}
	all := j.allowed(p)
	if !slices.ContainsFunc(all, func(may model) bool { return equal(m, may) }) {
		return m, fmt.Errorf("it holds what was never there: %s", differ(m, all[0]))
	}
	if self := s.Self(); p.done >= 0 {
		switch {
		case self.Node != p.node:
			return m, fmt.Errorf("it is of node %x, not %x", self.Node, p.node)
		case m.Incarnation <= all[0].Incarnation:
			return m, fmt.Errorf("it is in its incarnation %d, after %d", m.Incarnation, all[0].Incarnation)
		case s.Position() <= p.position:
			return m, fmt.Errorf("it is at position %d, after %d", s.Position(), p.position)
		case len(self.Past) == 0 || self.Past[len(self.Past)-1].End < p.position:
			return m, fmt.Errorf("its past %+v ends before position %d", self.Past, p.position)
		}
	}
	if then != nil {
		err = then(s)
	}
	return m, err
}

// differ says where two models differ, in short.
func differ(got, want model) string {
	for g := paxos.GroupID(1); g <= groups; g++ {
		a, b := got.Groups[g], want.Groups[g]
		if !reflect.DeepEqual(a, b) {
			return fmt.Sprintf("group %d: %d votes, %+v; not %d votes, %+v", g, len(a.Votes), a.Header, len(b.Votes), b.Header)
		}
		x, y := got.Snapshots[g], want.Snapshots[g]
		if x.Slot != y.Slot || string(x.Data) != string(y.Data) {
			return fmt.Sprintf("group %d: a snapshot of slot %d, %d bytes; not %d, %d", g, x.Slot, len(x.Data), y.Slot, len(y.Data))
		}
	}
	short := func(m model) model { m.Groups, m.Snapshots = nil, nil; return m }
	return fmt.Sprintf("%+v; not %+v", short(got), short(want))
}
