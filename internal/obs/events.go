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
	group := groupLabel(g)
	round := float64(e.Ballot.Round)
	line := func(level slog.Level, msg string, args ...any) {
		m.log.Log(context.Background(), level, msg, append([]any{"group", group}, args...)...)
	}
	switch e.Kind {
	case paxos.EvCampaign:
		m.campaigns.WithLabelValues(group).Inc()
		m.round.WithLabelValues(group).Set(round)
		line(slog.LevelInfo, "campaigning", "ballot", e.Ballot.String())
	case paxos.EvLeading:
		m.terms.WithLabelValues(group).Inc()
		m.leading.WithLabelValues(group).Set(1)
		m.round.WithLabelValues(group).Set(round)
		line(slog.LevelInfo, "leading", "ballot", e.Ballot.String(), "recovered_to", uint64(e.Slot))
	case paxos.EvStepDown:
		m.stepDowns.WithLabelValues(group).Inc()
		m.leading.WithLabelValues(group).Set(0)
		line(slog.LevelInfo, "stepped down", "ballot", e.Ballot.String())
	case paxos.EvPromised:
		m.round.WithLabelValues(group).Set(round)
		line(slog.LevelDebug, "promised", "ballot", e.Ballot.String(), "to", m.peer(e.Node))
	case paxos.EvDecided:
		m.decided.WithLabelValues(group).Set(float64(e.Slot))
	case paxos.EvReconfigured:
		m.configs.WithLabelValues(group).Inc()
		line(slog.LevelInfo, "membership changed", "slot", uint64(e.Slot))
	case paxos.EvInstalled:
		m.snapshots.WithLabelValues(group).Inc()
		line(slog.LevelInfo, "snapshot installed", "slot", uint64(e.Slot))
	case paxos.EvCatchUp:
		m.catchUps.WithLabelValues(group).Inc()
		line(slog.LevelDebug, "catching up", "from", m.peer(e.Node), "slot", uint64(e.Slot))
	}
}

func (m *Metrics) leaderEvent(g paxos.GroupID, e leader.Event) {
	group := groupLabel(g)
	step := func(name string, level slog.Level, msg string) {
		m.leaderEvents.WithLabelValues(group, name).Inc()
		m.log.Log(context.Background(), level, msg, "group", group, "peer", m.peer(e.Node), "ballot", e.Ballot.String(), "reason", e.Reason)
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
		m.leaderChanges.WithLabelValues(group).Inc()
		step("follow", slog.LevelInfo, "follows another leader")
	case leader.EvContent:
		step("content", slog.LevelInfo, "content with the leader")
	}
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

// SetNames has log lines call nodes by what names returns, which must be quick.
// Call it before the first event.
func (m *Metrics) SetNames(names func(synod.NodeID) string) { m.names = names }

// Forget drops what is remembered of a peer that has left for good.
func (m *Metrics) Forget(peer string) { m.linkUp.DeleteLabelValues(peer) }
