package paxos

import (
	"slices"

	"github.com/prytany/prytany/internal/invariant"
	"github.com/prytany/prytany/internal/mutant"
	"github.com/prytany/prytany/synod"
)

// Config configures a Group. Fields without a stated default are required.
// The limits must be the same on all members of a group.
type Config struct {
	Group GroupID
	Self  synod.NodeID

	// Peers are nodes to catch up from beside the voters. A fresh member, which
	// does not know any configuration yet, needs at least one.
	Peers []synod.NodeID

	// MaxWindow bounds the slots proposed and not yet chosen. 0 means 1024.
	MaxWindow int
	// MaxWindowBytes bounds the bytes of those slots. 0 means 16 MiB. One value
	// is let through whatever its size when nothing else is in flight.
	MaxWindowBytes int
	// MaxMessageBytes bounds the values in one Accept or Learned. 0 means 1 MiB.
	// A single larger value is sent alone.
	MaxMessageBytes int
}

func (c Config) withDefaults() Config {
	if c.MaxWindow <= 0 {
		c.MaxWindow = 1024
	}
	if c.MaxWindowBytes <= 0 {
		c.MaxWindowBytes = 16 << 20
	}
	if c.MaxMessageBytes <= 0 {
		c.MaxMessageBytes = 1 << 20
	}
	return c
}

// reach is how far above its watermark a member votes at all. A leader has at
// most one window in flight beyond what it recovered.
func (c Config) reach() Slot { return 4 * Slot(c.MaxWindow) }

// A Group is one node's member of one replicated log.
//
// A driver calls it from one goroutine, in turns: any number of steps
// (Receive, Propose, Read, Tick, ...) with one Effects, then Flush, then the
// Effects are carried out in field order before the next turn begins.
type Group struct {
	cfg Config

	// Durable: a change is in Effects.Save before anything depends on it.
	m        Membership
	promised synod.Ballot // in configuration m.ID
	log      ledger       // from Header.Trimmed on
	snapshot Slot
	floor    ConfigID // see Header.Floor

	seat    int  // own seat in m, -1 if a learner, see seatIn
	decided Slot // every slot up to it is chosen and known
	applied Slot // every slot up to it was in some Effects.Apply
	seen    Slot // decided when Flush last reported it
	fresh   Slot // the first that was decided in this turn by an own vote of this turn; 0: none

	durable durable
	follow  follow
	camp    *campaign // phase 1, nil if none
	lead    *leading  // phase 2, nil if none
	reads   reads
	catch   catchUp
	heir    bool      // designated to lead m, and has not begun
	learner []learner // the latest to ask is last
	removed bool      // was a voter of an earlier configuration, and is none of m
	holders synod.Set // seats of m whose nodes are known to have all up to m.Start on disk
}

// durable is what the last turns have made durable for certain, and so what an
// Early message may rest on.
type durable struct {
	ballot synod.Ballot // own promise
	voted  Slot         // own votes under ballot reach at least here
}

// Recover begins the first turn after New: it emits what is known to be chosen
// above the snapshot once more, because a machine's state is only durable in
// its snapshot. (The first Flush would do it too.)
func (g *Group) Recover(out *Effects) { g.emit(out) }

// SetPeers replaces Config.Peers: a learner may have been told of nobody who
// can help it, or those it was told of may be gone.
func (g *Group) SetPeers(peers []synod.NodeID) { g.cfg.Peers = slices.Clone(peers) }

// Receive handles one message from a peer. Nothing a peer can send makes it
// panic; what is malformed, late or not for this member is ignored.
//
// A SnapshotChunk is the driver's to assemble. Handing it to Receive as well
// tells the group that the transfer goes on, so that it does not begin another.
func (g *Group) Receive(from synod.NodeID, m Message, out *Effects) {
	if from == 0 || from == g.cfg.Self {
		return
	}
	g.noteHolder(from, m)
	switch m := m.(type) {
	case CatchUp:
		g.onCatchUp(from, m, out)
	case Learned:
		g.onLearned(from, m, out)
	case Sealed:
		g.onSealed(from, m, out)
	case SnapshotChunk:
		g.onSnapshotChunk()
	case Prepare:
		if g.sameConfig(from, m.Config, out) && g.owns(from, m.Ballot) {
			g.onPrepare(from, m, out)
		}
	case Promise:
		if g.sameConfig(from, m.Config, out) {
			g.onPromise(from, m, out)
		}
	case Accept:
		if g.sameConfig(from, m.Config, out) && g.owns(from, m.Ballot) {
			g.onAccept(from, m, out)
		}
	case Accepted:
		if g.sameConfig(from, m.Config, out) {
			g.onAccepted(from, m, out)
		}
	case Nack:
		if g.sameConfig(from, m.Config, out) {
			g.onNack(from, m)
		}
	case Confirm:
		if g.sameConfig(from, m.Config, out) && g.owns(from, m.Ballot) {
			g.onConfirm(from, m, out)
		}
	case Confirmed:
		if g.sameConfig(from, m.Config, out) {
			g.onConfirmed(from, m, out)
		}
	}
}

// sameConfig reports whether a message of configuration c from peer from
// concerns this member: both are voters of c. A peer in an older configuration
// is told so, and one in a newer configuration is asked for the stop-signs.
func (g *Group) sameConfig(from synod.NodeID, c ConfigID, out *Effects) bool {
	switch {
	case c < g.m.ID:
		g.send(from, Sealed{Config: g.m.ID, At: g.m.Start}, out)
		return false
	case c > g.m.ID:
		g.catch.want = max(g.catch.want, g.decided+1)
		g.ask(from, out)
		return false
	}
	return g.seat >= 0 && g.m.Seat(from) >= 0
}

// owns reports whether b may be a ballot of node n.
func (g *Group) owns(n synod.NodeID, b synod.Ballot) bool {
	if b.Round == 0 || b.Round > synod.MaxRound || b.Member != g.m.Ordinal(n) {
		return false
	}
	// Round 1 of a later configuration is the designated leader's alone: it
	// does without phase 1 only because it is the lowest ballot there is.
	return g.m.ID == 1 || b.Round > 1 || b.Member == g.m.Leader
}

// Tick is called every heartbeat interval: it repeats what may have been lost.
func (g *Group) Tick(out *Effects) {
	if g.camp != nil {
		g.tickCampaign(out)
	}
	if g.lead != nil {
		g.tickLead(out)
	}
	g.tickCatchUp(out)
	g.tickLearners()
}

// Flush ends a turn: it turns what was proposed and learned in it into as few
// messages as possible. Call it once before carrying out out.
func (g *Group) Flush(out *Effects) {
	if g.lead != nil {
		g.count(out)
	}
	g.beginDesignated(out)
	if g.lead != nil {
		g.flushAccepts(out)
		g.flushReads(out)
	}
	g.emit(out)
	g.settle(out)
	if out.Save.Dirty {
		out.Save.Header = g.header() // Decided may have advanced since
	}
	g.durable = durable{ballot: g.promised}
	if g.lead != nil {
		g.durable.voted = g.lead.next - 1
	}
}

// emit applies what has been decided since it was last called.
func (g *Group) emit(out *Effects) {
	for g.applied < g.decided {
		g.applied++
		out.Apply = append(out.Apply, Entry{g.applied, g.log.at(g.applied).vote.Value})
	}
	if g.seen < g.decided {
		g.seen = g.decided
		g.trace(out, Event{Kind: EvDecided, Slot: g.decided})
	}
}

// settle tells which of the entries to be applied do not wait for this turn to be
// durable: what others have told is chosen, and what own votes of earlier turns have
// helped to choose, up to the first stop-sign.
func (g *Group) settle(out *Effects) {
	out.Settled = len(out.Apply)
	if g.fresh > 0 {
		out.Settled = max(out.Settled-int(g.applied-g.fresh+1), 0)
	}
	g.fresh = 0
	for i, e := range out.Apply[:out.Settled] {
		if _, ok := g.stopSign(e.Value); ok {
			out.Settled = i // much else changes with it
			return
		}
	}
}

// decide advances the watermark by one slot, which is held and known to be
// chosen.
func (g *Group) decide(out *Effects) {
	s := g.decided + 1
	e := g.log.at(s)
	invariant.Check(e.held(), "slot %d decided without a value", s)
	e.chosen = true
	g.log.set(s, e)
	g.decided = s
	if g.lead != nil {
		g.lead.bytes -= len(e.vote.Value)
		if g.fresh == 0 && (g.durable.ballot != g.lead.ballot || s > g.durable.voted) && !mutant.On(mutant.SettlesEarly) {
			g.fresh = s
		}
	}
	if next, ok := g.stopSign(e.vote.Value); ok {
		g.reconfigured(s, next, out)
	}
}

// vote casts the vote v in slot s, which the promise must allow.
func (g *Group) vote(s Slot, v synod.Vote, out *Effects) {
	e := g.log.at(s)
	a, ok := synod.Acceptor{Promised: g.promised, Voted: e.vote}.Accept(v)
	invariant.Check(ok && a.Promised == g.promised, "vote %v in slot %d against promise %v", v.Ballot, s, g.promised)
	invariant.Check(!e.chosen || e.vote.Value == v.Value, "slot %d: vote against the chosen value", s)
	e.vote, e.config = a.Voted, g.m.ID
	g.put(s, e, out)
}

// put sets the entry of slot s and makes it durable.
func (g *Group) put(s Slot, e entry, out *Effects) {
	g.log.set(s, e)
	g.save(out)
	out.Save.Votes = append(out.Save.Votes, SlotVote{Slot: s, Config: e.config, Chosen: e.chosen, Vote: e.vote})
}

// seatIn returns the own seat in m, -1 if there is none or it must stay empty: all
// configurations below the floor are sealed, but a vote there could still help to
// choose something else than what this node once helped to choose.
func (g *Group) seatIn(m Membership) int {
	if m.ID <= g.floor && !mutant.On(mutant.ForgottenVoter) {
		return -1
	}
	return m.Seat(g.cfg.Self)
}

func (g *Group) header() Header {
	return Header{Membership: g.m, Promised: g.promised, Decided: g.decided, Snapshot: g.snapshot, Trimmed: g.log.first, Floor: g.floor}
}

func (g *Group) save(out *Effects) {
	out.Save.Group = g.cfg.Group
	out.Save.Dirty = true
	out.Save.Header = g.header()
}

func (g *Group) send(to synod.NodeID, m Message, out *Effects) {
	out.Send = append(out.Send, Envelope{to, m})
}

func (g *Group) trace(out *Effects, e Event) { out.Trace = append(out.Trace, e) }
