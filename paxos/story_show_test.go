package paxos

import (
	"fmt"
	"strings"

	"github.com/prytany/prytany/synod"
)

// fields is a message as words: key=value pairs, a ballot, and after "|" values
// or votes.
type fields struct {
	ballot synod.Ballot
	nums   map[string]uint64
	rest   []string
}

func parseFields(words []string) fields {
	f := fields{nums: map[string]uint64{"config": 1}}
	for i, w := range words {
		k, v, ok := strings.Cut(w, "=")
		switch {
		case w == "|":
			f.rest = words[i+1:]
			return f
		case w == "learner":
			f.nums[w] = 1
		case k == "promised":
			f.nums[k] = ballot(v).Pack()
		case ok:
			f.nums[k] = number(v)
		default:
			f.ballot = ballot(w)
		}
	}
	return f
}

// parseMessage is the inverse of showMessage.
func parseMessage(words []string) Message {
	f := parseFields(words[1:])
	c, slot := ConfigID(f.nums["config"]), func(k string) Slot { return Slot(f.nums[k]) }
	var values []synod.Value
	if words[0] != "promise" {
		for _, v := range f.rest {
			values = append(values, value(v))
		}
	}
	switch words[0] {
	case "prepare":
		return Prepare{c, f.ballot, slot("first")}
	case "promise":
		p := Promise{Config: c, Ballot: f.ballot, Decided: slot("decided")}
		for _, v := range f.rest {
			p.Votes = append(p.Votes, storyVote(strings.Split(v, "/"), c))
		}
		return p
	case "accept":
		return Accept{c, f.ballot, slot("base"), slot("first"), values, slot("decided")}
	case "accepted":
		return Accepted{c, f.ballot, slot("upto")}
	case "nack":
		return Nack{c, f.ballot, synod.Unpack(f.nums["promised"])}
	case "confirm":
		return Confirm{c, f.ballot, f.nums["seq"]}
	case "confirmed":
		return Confirmed{c, f.ballot, f.nums["seq"]}
	case "catchup":
		return CatchUp{From: slot("from"), Learner: f.nums["learner"] == 1, SnapshotSlot: slot("snapshot"), SnapshotOffset: f.nums["offset"]}
	case "learned":
		return Learned{slot("first"), values, slot("decided")}
	case "sealed":
		return Sealed{c, slot("at")}
	}
	panic("unknown message " + words[0])
}

func showMessage(m Message) string {
	switch m := m.(type) {
	case Prepare:
		return fmt.Sprintf("prepare %v%s first=%d", m.Ballot, showConfig(m.Config), m.First)
	case Promise:
		return fmt.Sprintf("promise %v%s decided=%d%s", m.Ballot, showConfig(m.Config), m.Decided, showVotes(m.Votes, m.Config))
	case Accept:
		return fmt.Sprintf("accept %v%s base=%d first=%d decided=%d%s", m.Ballot, showConfig(m.Config), m.Base, m.First, m.Decided, showValues(m.Values))
	case Accepted:
		return fmt.Sprintf("accepted %v%s upto=%d", m.Ballot, showConfig(m.Config), m.UpTo)
	case Nack:
		return fmt.Sprintf("nack %v%s promised=%v", m.Ballot, showConfig(m.Config), m.Promised)
	case Confirm:
		return fmt.Sprintf("confirm %v%s seq=%d", m.Ballot, showConfig(m.Config), m.Seq)
	case Confirmed:
		return fmt.Sprintf("confirmed %v%s seq=%d", m.Ballot, showConfig(m.Config), m.Seq)
	case CatchUp:
		s := fmt.Sprintf("catchup from=%d", m.From)
		if m.Learner {
			s += " learner"
		}
		return s
	case Learned:
		return fmt.Sprintf("learned first=%d decided=%d%s", m.First, m.Decided, showValues(m.Values))
	case Sealed:
		return fmt.Sprintf("sealed config=%d at=%d", m.Config, m.At)
	}
	return fmt.Sprintf("%T", m)
}

func showConfig(c ConfigID) string {
	if c == 1 {
		return ""
	}
	return fmt.Sprintf(" config=%d", c)
}

func showValues(values []synod.Value) (s string) {
	for _, v := range values {
		s += " " + showValue(v)
	}
	if s != "" {
		s = " |" + s
	}
	return s
}

func showVotes(votes []SlotVote, c ConfigID) (s string) {
	for _, v := range votes {
		s += fmt.Sprintf(" %d/%v/%s", v.Slot, v.Vote.Ballot, showValue(v.Vote.Value))
		if v.Config != c {
			s += fmt.Sprintf("/config=%d", v.Config)
		}
		if v.Chosen {
			s += "/chosen"
		}
	}
	if s != "" {
		s = " |" + s
	}
	return s
}

// effects prints out in the order in which it must be carried out.
func (s *story) effects(out Effects) {
	p := func(format string, args ...any) { fmt.Fprintf(&s.out, "  "+format+"\n", args...) }
	for _, e := range out.Early {
		p("early to %d: %s", uint64(e.To), showMessage(e.Msg))
	}
	if u := out.Save; u.Dirty {
		h := u.Header
		p("save: config %s promised %v decided %d snapshot %d trimmed %d%s", showMembership(h.Membership), h.Promised, h.Decided,
			h.Snapshot, h.Trimmed, showVotes(u.Votes, h.Membership.ID))
	}
	for _, e := range out.Send {
		p("send to %d: %s", uint64(e.To), showMessage(e.Msg))
	}
	for _, e := range out.Apply {
		p("apply %d: %s", e.Slot, showValue(e.Value))
	}
	for _, r := range out.Reads {
		if r.Err != nil {
			p("read %d: %v", r.Seq, r.Err)
		} else {
			p("read %d: serve once %d is applied", r.Seq, r.Index)
		}
	}
	for _, c := range out.Chunk {
		p("snapshot wanted by %d", uint64(c.To))
	}
	for _, e := range out.Trace {
		switch e.Kind {
		case EvLeading:
			p("leads with %v, inherited up to %d", e.Ballot, e.Slot)
		case EvStepDown:
			p("gives up %v", e.Ballot)
		case EvReconfigured:
			p("reconfigured by slot %d", e.Slot)
		case EvInstalled:
			p("installed snapshot %d", e.Slot)
		}
	}
}

func (s *story) status(st Status) {
	role := "follower"
	switch {
	case !st.Voter:
		role = "learner"
	case st.Leading:
		role = fmt.Sprintf("leader %v recovered=%v in flight %d", st.Ballot, st.Recovered, st.InFlight)
	case st.Campaign:
		role = fmt.Sprintf("candidate %v", st.Ballot)
	}
	fmt.Fprintf(&s.out, "%s config %s promised %v decided %d log %d-%d", role, showMembership(st.Membership), st.Promised, st.Decided, st.First, st.Last)
	for _, v := range st.Membership.Voters {
		if m, ok := st.Marks[v.Node]; ok {
			fmt.Fprintf(&s.out, " mark(%d)=%d", uint64(v.Node), m)
		}
	}
	for _, n := range st.Nacked {
		fmt.Fprintf(&s.out, " nacked(%d)", uint64(n))
	}
	s.out.WriteByte('\n')
}
