package journal

import (
	"fmt"
	"strings"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/leader"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/synod"
)

// The kinds of events.
const (
	KindLinkUp       = "link-up"            // the direct link to the peer works
	KindLinkDown     = "link-down"          // it does not any more
	KindDiscontent   = "discontent"         // the node sees a reason for another leader; the peer is the present one
	KindContent      = "content"            // it does not any more
	KindClaim        = "claim"              // the node asks for support to lead
	KindGrant        = "grant"              // it supports the peer's claim
	KindRefuse       = "refuse"             // it refuses the peer's claim
	KindRefused      = "refused"            // the peer refuses the node's claim
	KindFollow       = "follow"             // the node follows another leader, the peer
	KindUnfit        = "unfit"              // the node should not lead
	KindFit          = "fit"                // it may again
	KindRelease      = "release"            // a leader gives the lead up in favour of the peer
	KindLeased       = "leased"             // the node, which leads, holds the lease: a quorum is bound to it
	KindUnleased     = "unleased"           // it does not any more
	KindClock        = "clock"              // the clock of the peer runs at another rate, or well again
	KindNearer       = "nearer"             // the peer has stood nearer to a quorum for long enough
	KindMend         = "mend"               // this leader begins a higher ballot, so that the peer votes for it again
	KindCampaign     = "campaign"           // the node begins phase 1
	KindLeading      = "leading"            // the node leads
	KindStepDown     = "step-down"          // the node leads or campaigns no more
	KindReconfigured = "reconfigured"       // the members of the group have changed
	KindInstalled    = "snapshot-installed" // the node took another's state
	KindHandedOver   = "handed-over"        // the node has handed the lead over to the peer
	KindNotHanded    = "not-handed-over"    // it wanted to
)

// A standing is what the journal remembers of a group, to tell of it better.
type standing struct {
	leader string       // name of the last one, "" if unknown
	claim  synod.Ballot // of the node, the last one
	leads  synod.Ballot // with which the node leads, or zero
}

func (j *Journal) standing(group string) *standing {
	s := j.known[group]
	if s == nil {
		s = &standing{}
		j.known[group] = s
	}
	return s
}

// Observe keeps those [leader.Event]s and [paxos.Event]s of the node that concern
// who leads; anything else is ignored.
func (j *Journal) Observe(g paxos.GroupID, event any) {
	e, ok := api.NodeEvent{}, false
	switch ev := event.(type) {
	case leader.Event:
		e, ok = j.leaderEvent(ev)
	case paxos.Event:
		e, ok = j.paxosEvent(j.groupName(uint64(g)), ev)
	}
	if ok {
		j.Add(e)
	}
}

// groupName names a group, "" for none.
func (j *Journal) groupName(g uint64) string {
	switch g {
	case 0:
		return ""
	case uint64(paxos.Main):
		return api.MainGroup
	}
	return j.cfg.Groups(g)
}

func (j *Journal) leaderEvent(ev leader.Event) (e api.NodeEvent, ok bool) {
	e = api.NodeEvent{Group: j.groupName(ev.Group), Reason: ev.Reason}
	if ev.Node != 0 {
		e.Peer = j.cfg.Names(ev.Node)
	}
	if !ev.Ballot.IsZero() {
		e.Ballot = ev.Ballot.String()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.standing(e.Group)
	e.Kind, e.Text = j.sentence(ev, e, s)
	switch ev.Kind {
	case leader.EvClaim:
		s.claim = ev.Ballot
		if strings.HasSuffix(e.Reason, " is content") && s.leader != "" && s.leader != j.cfg.Node {
			e.Reason += " with " + s.leader
		}
	case leader.EvFollow, leader.EvDiscontent, leader.EvContent:
		if e.Peer != "" {
			s.leader = e.Peer
		}
	}
	return e, e.Kind != ""
}

// sentence says ev in the words of the journal, without its reason.
func (j *Journal) sentence(ev leader.Event, e api.NodeEvent, s *standing) (kind, text string) {
	me, group, own := j.cfg.Node, e.Group, e.Peer == j.cfg.Node
	peer := e.Peer
	if peer == "" {
		peer = "nobody"
	}
	switch ev.Kind {
	case leader.EvLinkUp:
		return KindLinkUp, fmt.Sprintf("%s has a link to %s", me, peer)
	case leader.EvLinkDown:
		return KindLinkDown, fmt.Sprintf("%s has no link to %s any more", me, peer)
	case leader.EvDiscontent, leader.EvContent:
		return feeling(ev.Kind == leader.EvContent, me, group, e.Peer)
	case leader.EvClaim:
		return KindClaim, fmt.Sprintf("%s asks for support to lead %s with ballot %s", me, group, e.Ballot)
	case leader.EvGrant:
		return KindGrant, fmt.Sprintf("%s supports that %s leads %s with ballot %s", me, peer, group, e.Ballot)
	case leader.EvRefuse:
		if ev.Ballot == s.claim {
			return KindRefused, fmt.Sprintf("%s refuses that %s leads %s with ballot %s", peer, me, group, e.Ballot)
		}
		return KindRefuse, fmt.Sprintf("%s refuses that %s leads %s with ballot %s", me, peer, group, e.Ballot)
	case leader.EvFollow:
		if own {
			return KindFollow, fmt.Sprintf("%s follows its own ballot %s in %s", me, e.Ballot, group)
		}
		return KindFollow, fmt.Sprintf("%s follows %s with ballot %s as leader of %s", me, peer, e.Ballot, group)
	case leader.EvUnfit:
		return KindUnfit, me + " should not lead"
	case leader.EvFit:
		return KindFit, me + " may lead again"
	case leader.EvRelease:
		return KindRelease, fmt.Sprintf("the leader of %s with ballot %s gives the lead up in favour of %s", group, e.Ballot, peer)
	case leader.EvLeased:
		return KindLeased, fmt.Sprintf("%s holds the lease of %s", me, group)
	case leader.EvUnleased:
		return KindUnleased, fmt.Sprintf("%s holds the lease of %s no longer", me, group)
	case leader.EvClock:
		return KindClock, fmt.Sprintf("%s compares its clock with that of %s", me, peer)
	case leader.EvMend:
		return KindMend, fmt.Sprintf("%s begins its lead of %s anew with ballot %s, for %s has promised to another one that nobody uses", me, group, e.Ballot, peer)
	case leader.EvNearer:
		return KindNearer, fmt.Sprintf("%s stands nearer to a quorum of %s than %s", peer, group, me)
	}
	return "", ""
}

// feeling says that a node is content with a leader, or not.
func feeling(content bool, me, group, lead string) (kind, text string) {
	kind, is := KindContent, "is content"
	if !content {
		kind, is = KindDiscontent, "is not content any more"
	}
	switch lead {
	case "":
		return kind, fmt.Sprintf("%s %s, without a leader of %s", me, is, group)
	case me:
		return kind, fmt.Sprintf("%s %s with its own lead of %s", me, is, group)
	}
	return kind, fmt.Sprintf("%s %s with %s as leader of %s", me, is, lead, group)
}

func (j *Journal) paxosEvent(group string, ev paxos.Event) (e api.NodeEvent, ok bool) {
	me := j.cfg.Node
	e = api.NodeEvent{Group: group}
	if !ev.Ballot.IsZero() {
		e.Ballot = ev.Ballot.String()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.standing(group)
	switch ev.Kind {
	case paxos.EvCampaign:
		e.Kind, e.Text = KindCampaign, fmt.Sprintf("%s begins phase 1 in %s with ballot %s", me, group, e.Ballot)
	case paxos.EvLeading:
		e.Kind, e.Text = KindLeading, fmt.Sprintf("%s leads %s with ballot %s", me, group, e.Ballot)
		s.leads, s.leader = ev.Ballot, me
	case paxos.EvStepDown:
		e.Kind, e.Text = KindStepDown, fmt.Sprintf("%s gives up its attempt to lead %s with ballot %s", me, group, e.Ballot)
		if s.leads == ev.Ballot {
			e.Text = fmt.Sprintf("%s leads %s with ballot %s no longer", me, group, e.Ballot)
		}
		s.leads = synod.Ballot{}
	case paxos.EvReconfigured:
		e.Kind, e.Text = KindReconfigured, fmt.Sprintf("the members of %s have changed, at slot %d", group, uint64(ev.Slot))
	case paxos.EvInstalled:
		e.Kind, e.Text = KindInstalled, fmt.Sprintf("%s took the state of %s up to slot %d from another node", me, group, uint64(ev.Slot))
	}
	return e, e.Kind != ""
}
