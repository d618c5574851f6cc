package obs

import (
	"context"
	"log/slog"

	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// Observe takes each [paxos.Event] and [leader.Event] of the node; anything
// else is ignored.
func (m *Metrics) Observe(g paxos.GroupID, event any) {
	switch e := event.(type) {
	case paxos.Event:
		m.paxosEvent(g, e)
	case leader.Event:
		m.leaderEvent(g, e)
	}
}

func (m *Metrics) paxosEvent(g paxos.GroupID, e paxos.Event) {
	round := float64(e.Ballot.Round)
	line := func(level slog.Level, msg string, args ...any) {
		m.log.Log(context.Background(), m.level(g, level), msg, append([]any{"group", m.name(g)}, args...)...)
	}
	switch e.Kind {
	case paxos.EvCampaign:
		m.count(m.campaigns, g)
		m.set(m.round, g, round)
		line(slog.LevelInfo, "campaigning", "ballot", e.Ballot.String())
	case paxos.EvLeading:
		m.count(m.terms, g)
		m.set(m.leading, g, 1)
		m.set(m.round, g, round)
		line(slog.LevelInfo, "leading", "ballot", e.Ballot.String(), "recovered_to", uint64(e.Slot))
	case paxos.EvStepDown:
		m.count(m.stepDowns, g)
		m.set(m.leading, g, 0)
		m.set(m.leased, g, 0)
		line(slog.LevelInfo, "stepped down", "ballot", e.Ballot.String())
	case paxos.EvPromised:
		m.set(m.round, g, round)
		line(slog.LevelDebug, "promised", "ballot", e.Ballot.String(), "to", m.peer(e.Node))
	case paxos.EvDecided:
		m.set(m.decided, g, float64(e.Slot))
	case paxos.EvReconfigured:
		m.count(m.configs, g)
		line(slog.LevelInfo, "membership changed", "slot", uint64(e.Slot))
	case paxos.EvInstalled:
		m.count(m.snapshots, g)
		line(slog.LevelInfo, "snapshot installed", "slot", uint64(e.Slot))
	case paxos.EvCatchUp:
		m.count(m.catchUps, g)
		line(slog.LevelDebug, "catching up", "from", m.peer(e.Node), "slot", uint64(e.Slot))
	}
}

func (m *Metrics) leaderEvent(g paxos.GroupID, e leader.Event) {
	step := func(name string, level slog.Level, msg string) {
		m.count(m.leaderEvents, g, name)
		m.log.Log(context.Background(), m.level(g, level), msg, "group", m.name(g), "peer", m.peer(e.Node), "ballot", e.Ballot.String(), "reason", e.Reason)
	}
	switch e.Kind {
	case leader.EvLinkUp:
		m.link(e, "up", 1, slog.LevelInfo)
	case leader.EvLinkDown:
		m.link(e, "down", 0, slog.LevelWarn)
	case leader.EvDiscontent:
		step("discontent", slog.LevelWarn, "wants another leader")
	case leader.EvClaim:
		step("claim", slog.LevelInfo, "asks for support to lead")
	case leader.EvGrant:
		step("grant", slog.LevelDebug, "supports a claim to lead")
	case leader.EvRefuse:
		step("refuse", slog.LevelDebug, "refuses a claim to lead")
	case leader.EvFollow:
		m.count(m.leaderChanges, g)
		step("follow", slog.LevelInfo, "follows another leader")
	case leader.EvContent:
		step("content", slog.LevelInfo, "content with the leader")
	default:
		m.laterEvent(g, e, step)
	}
}

// laterEvent tells of what is not a step of an election.
func (m *Metrics) laterEvent(g paxos.GroupID, e leader.Event, step func(name string, level slog.Level, msg string)) {
	switch e.Kind {
	case leader.EvUnfit:
		m.fit.Set(0)
		step("unfit", slog.LevelWarn, "should not lead")
	case leader.EvFit:
		m.fit.Set(1)
		step("fit", slog.LevelInfo, "may lead again")
	case leader.EvRelease:
		step("release", slog.LevelInfo, "the leader gives the lead up in favour of the peer")
	case leader.EvLeased:
		m.set(m.leased, g, 1)
		step("leased", slog.LevelDebug, "may answer reads by its lease")
	case leader.EvUnleased:
		m.set(m.leased, g, 0)
		step("unleased", slog.LevelDebug, "may not answer reads by its lease any more")
	case leader.EvClock:
		step("clock", slog.LevelWarn, "compares clocks")
	case leader.EvMend:
		step("mend", slog.LevelInfo, "begins a higher ballot, so that the peer votes for it again")
	case leader.EvNearer:
		step("nearer", slog.LevelInfo, "the peer stands nearer to a quorum")
	}
}

// ObserveHandOver counts a hand-over of the lead that this node began.
func (m *Metrics) ObserveHandOver(g paxos.GroupID, done bool) {
	m.count(m.handOvers, g, map[bool]string{true: "done", false: "failed"}[done])
}

// link tells of a link, which belongs to the node and not to a group.
func (m *Metrics) link(e leader.Event, to string, up float64, level slog.Level) {
	m.linkUp.WithLabelValues(e.Node.String()).Set(up)
	m.linkChanges.WithLabelValues(to).Inc()
	m.log.Log(context.Background(), level, "link is "+to, "peer", m.peer(e.Node), "reason", e.Reason)
}

// peer is how a node is called in log lines: its name, if that is known.
func (m *Metrics) peer(n synod.NodeID) string {
	if m.names != nil {
		return m.names(n)
	}
	return n.String()
}

// level lowers what is told of groups without series of their own: hundreds of them
// may find another leader at once.
func (m *Metrics) level(g paxos.GroupID, l slog.Level) slog.Level {
	if m.Shown(g) || l <= slog.LevelDebug {
		return l
	}
	return slog.LevelDebug
}

// Forget drops what is remembered of a peer that has left for good.
func (m *Metrics) Forget(peer string) { m.linkUp.DeleteLabelValues(peer) }
