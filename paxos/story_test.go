package paxos

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/prytany/prytany/synod"
)

// TestStories runs the scripts in testdata. Every command prints what nodes
// want done, in the order in which it must be done. Messages between nodes of a
// story wait until they are delivered or dropped.
//
//	node id=1 voters=(1,2,3) ...   starts a node; input: "slot ballot value" votes on its disk
//	turn id=1                      one turn; input: one step per line, see (*story).step
//	deliver [from=] [to=] [type=]  hands over the matching messages that wait, each in a turn
//	stabilize                      delivers until nothing waits
//	drop [from=] [to=] [type=]     loses the matching messages that wait
//	restart id=1                   starts a node anew from its disk
//	status id=1
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{nodes: map[synod.NodeID]*storyNode{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			if err := s.run(t, d); err != nil {
				fmt.Fprintf(&s.out, "error: %v\n", err)
			}
			if s.out.Len() == 0 {
				return "ok\n"
			}
			return s.out.String()
		})
	})
}

type story struct {
	nodes map[synod.NodeID]*storyNode
	net   []packet
	out   strings.Builder
}

type storyNode struct {
	cfg    Config
	g      *Group
	header Header
	votes  map[Slot]SlotVote
}

func (s *story) run(t *testing.T, d *datadriven.TestData) error {
	id := synod.NodeID(argOf(t, d, "id"))
	switch d.Cmd {
	case "node":
		return s.node(t, d, id)
	case "turn":
		n := s.nodes[id]
		s.turn(id, n, func(out *Effects) {
			for line := range strings.Lines(d.Input) {
				if err := s.step(n, strings.Fields(line), out); err != nil {
					fmt.Fprintf(&s.out, "%s: %v\n", strings.TrimSpace(line), err)
				}
			}
		})
	case "deliver":
		s.deliver(s.take(t, d))
	case "stabilize":
		for range 100 {
			s.deliver(s.take(t, d))
		}
		if len(s.net) > 0 {
			return errors.New("does not become stable")
		}
	case "drop":
		for _, p := range s.take(t, d) {
			fmt.Fprintf(&s.out, "%d -> %d lost: %s\n", p.from, p.to, showMessage(p.msg.(Message)))
		}
	case "restart":
		return s.start(id, s.nodes[id])
	case "status":
		s.status(s.nodes[id].g.Status())
	default:
		return fmt.Errorf("unknown command %s", d.Cmd)
	}
	return nil
}

func argOf(t *testing.T, d *datadriven.TestData, key string) (n uint64) {
	if d.HasArg(key) {
		d.ScanArgs(t, key, &n)
	}
	return n
}

func (s *story) node(t *testing.T, d *datadriven.TestData, id synod.NodeID) error {
	n := &storyNode{cfg: Config{Group: Main, Self: id}, votes: map[Slot]SlotVote{}}
	n.cfg.MaxWindow = int(argOf(t, d, "window"))
	n.cfg.MaxMessageBytes = int(argOf(t, d, "bytes"))
	h := &n.header
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "voters":
			h.Membership = storyMembership(max(1, uint64(h.Membership.ID)), a.Vals, argOf(t, d, "leader"))
		case "peers":
			for _, v := range a.Vals {
				n.cfg.Peers = append(n.cfg.Peers, synod.NodeID(number(v)))
			}
		case "promised":
			h.Promised = ballot(a.Vals[0])
		}
	}
	if c := argOf(t, d, "config"); c > 0 {
		h.Membership.ID = ConfigID(c)
	}
	h.Membership.Start = Slot(argOf(t, d, "start"))
	h.Decided = Slot(argOf(t, d, "decided"))
	h.Snapshot = Slot(argOf(t, d, "snapshot"))
	h.Trimmed = Slot(argOf(t, d, "trimmed"))
	h.Floor = ConfigID(argOf(t, d, "floor"))
	for line := range strings.Lines(d.Input) {
		v := storyVote(strings.Fields(line), h.Membership.ID)
		n.votes[v.Slot] = v
	}
	s.nodes[id] = n
	return s.start(id, n)
}

// storyVote parses "slot ballot value [config=1] [chosen]".
func storyVote(f []string, c ConfigID) SlotVote {
	v := SlotVote{Slot: Slot(number(f[0])), Config: c, Vote: synod.Vote{Ballot: ballot(f[1]), Value: value(f[2])}}
	for _, x := range f[3:] {
		if x == "chosen" {
			v.Chosen = true
		} else {
			v.Config = ConfigID(number(strings.TrimPrefix(x, "config=")))
		}
	}
	return v
}

// storyMembership makes a configuration in which every voter's ordinal is its
// node id.
func storyMembership(id uint64, voters []string, leader uint64) Membership {
	m := Membership{ID: ConfigID(id), Leader: synod.Ordinal(leader)}
	for _, v := range voters {
		n := number(v)
		m.Voters = append(m.Voters, Member{Node: synod.NodeID(n), Ordinal: synod.Ordinal(n)})
		m.Next = max(m.Next, synod.Ordinal(n)+1)
	}
	return m
}

func (s *story) start(id synod.NodeID, n *storyNode) (err error) {
	d := Durable{Header: n.header}
	for _, slot := range slices.Sorted(maps.Keys(n.votes)) {
		d.Votes = append(d.Votes, n.votes[slot])
	}
	if n.g, err = New(n.cfg, d); err != nil {
		return err
	}
	s.turn(id, n, n.g.Recover)
	return nil
}

// turn is one turn of a node's driver.
func (s *story) turn(id synod.NodeID, n *storyNode, step func(*Effects)) {
	var out Effects
	step(&out)
	n.g.Flush(&out)
	if out.Save.Dirty {
		n.header = out.Save.Header
		for _, v := range out.Save.Votes {
			n.votes[v.Slot] = v
		}
		maps.DeleteFunc(n.votes, func(s Slot, _ SlotVote) bool { return s < n.header.Trimmed })
	}
	for _, e := range slices.Concat(out.Early, out.Send) {
		if s.nodes[e.To] != nil {
			s.net = append(s.net, packet{id, e.To, e.Msg})
		}
	}
	s.effects(out)
}

// take removes the waiting packets that match.
func (s *story) take(t *testing.T, d *datadriven.TestData) (taken []packet) {
	from, to, kind := argOf(t, d, "from"), argOf(t, d, "to"), ""
	if d.HasArg("type") {
		d.ScanArgs(t, "type", &kind)
	}
	s.net = slices.DeleteFunc(s.net, func(p packet) bool {
		ok := (from == 0 || p.from == synod.NodeID(from)) && (to == 0 || p.to == synod.NodeID(to)) &&
			(kind == "" || strings.HasPrefix(showMessage(p.msg.(Message)), kind))
		if ok {
			taken = append(taken, p)
		}
		return ok
	})
	return taken
}

func (s *story) deliver(packets []packet) {
	for _, p := range packets {
		fmt.Fprintf(&s.out, "%d -> %d %s\n", p.from, p.to, showMessage(p.msg.(Message)))
		n := s.nodes[p.to]
		s.turn(p.to, n, func(out *Effects) { n.g.Receive(p.from, p.msg.(Message), out) })
	}
}

// step does one step of a turn: an own action, or "from N: " and a message as
// it is printed.
func (s *story) step(n *storyNode, f []string, out *Effects) error {
	switch f[0] {
	case "campaign":
		n.g.Campaign(ballot(f[1]), out)
	case "stepdown":
		n.g.StepDown(out)
	case "propose":
		for _, v := range f[1:] {
			if _, err := n.g.Propose(value(v), out); err != nil {
				return err
			}
		}
	case "reconfigure":
		d, err := Decode(value(f[1]))
		if err != nil {
			return err
		}
		_, err = n.g.Reconfigure(d.Next, out)
		return err
	case "read":
		_, err := n.g.Read(out)
		return err
	case "tick":
		n.g.Tick(out)
	case "compact":
		n.g.Compact(Slot(number(f[1])), Slot(number(f[2])), out)
	case "install":
		m := n.header.Membership
		if len(f) > 2 {
			d, err := Decode(value(f[2]))
			if err != nil {
				return err
			}
			m = d.Next
			m.Start = Slot(number(f[3]))
		}
		if !n.g.Install(Snapshot{Slot: Slot(number(f[1])), Membership: m}, out) {
			return errors.New("refused")
		}
	case "from":
		n.g.Receive(synod.NodeID(number(strings.TrimSuffix(f[1], ":"))), parseMessage(f[2:]), out)
	default:
		return errors.New("unknown step")
	}
	return nil
}

func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func ballot(s string) synod.Ballot {
	r, m, ok := strings.Cut(s, ".")
	if !ok {
		return synod.Ballot{}
	}
	return synod.Ballot{Round: number(r), Member: synod.Ordinal(number(m))}
}

// value parses "noop", "stop:config:voter,voter:leader" or any other word.
func value(s string) synod.Value {
	if s == "noop" {
		return Noop
	}
	if rest, ok := strings.CutPrefix(s, "stop:"); ok {
		f := strings.Split(rest, ":")
		return EncodeStop(storyMembership(number(f[0]), strings.Split(f[1], ","), number(f[2])))
	}
	return synod.Value(s)
}

func showValue(v synod.Value) string {
	if v == Noop {
		return "noop"
	}
	if d, err := Decode(v); err == nil && d.Kind == KindStop {
		return "stop:" + showMembership(d.Next)
	}
	return string(v)
}

func showMembership(m Membership) string {
	var voters []string
	for _, v := range m.Voters {
		voters = append(voters, fmt.Sprint(uint64(v.Node)))
	}
	return fmt.Sprintf("%d:%s:%d", m.ID, strings.Join(voters, ","), m.Leader)
}
