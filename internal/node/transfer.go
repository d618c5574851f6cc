package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prytany/prytany/internal/api"
	"github.com/prytany/prytany/paxos"
	"github.com/prytany/prytany/paxos/replica"
	"github.com/prytany/prytany/synod"
)

// transferWithin bounds how long a hand-over of the lead may take.
const transferWithin = 10 * time.Second

// electWithin is how long a hand-over waits for somebody to lead at all.
const electWithin = time.Second

// refuse is an answer of the HTTP API.
func refuse(code api.Code, format string, args ...any) *api.Problem {
	return &api.Problem{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// transfer hands the lead of a group over to a voter, named or by id, "" meaning
// whichever suits best. A node that does not lead asks the one that does, and one
// without a part in the group a member, unless forward is false. Errors are
// [*api.Problem]s, or of an unknown outcome.
func (n *Node) transfer(ctx context.Context, group, to string, forward bool) (api.HandedOver, error) {
	ctx, cancel := context.WithTimeout(ctx, transferWithin)
	defer cancel()
	id, ok := n.groupID(group)
	if !ok {
		return api.HandedOver{}, refuse(api.CodeGroupUnknown, "there is no such group")
	}
	if _, here := n.host.Group(id); !here && forward {
		return n.askMember(ctx, group, to)
	}
	n.awaitLeader(ctx, id)
	_, links := n.host.Status()
	g, ok := n.host.Group(id)
	switch {
	case ok && g.Leading && !led(g, n.id, links):
		return api.HandedOver{}, refuse(api.CodeNoLeader, "%s led last and reaches no quorum: nobody leads, as far as it can tell", n.cfg.Name)
	case ok && g.Leading:
		return n.transferFrom(ctx, g, to)
	case !ok || g.Leader == 0 || g.Leader == n.id || !forward:
		return api.HandedOver{}, refuse(api.CodeNoLeader, "%s does not lead the group and knows nobody who does", n.cfg.Name)
	}
	return n.askLeader(ctx, group, g.Leader, to, false)
}

// askMember has a member of a group see to it that the lead is handed over.
func (n *Node) askMember(ctx context.Context, group, to string) (api.HandedOver, error) {
	for _, id := range n.steward.Members(group) {
		if n.urlOf(id) == "" || !n.allowed(id) {
			continue
		}
		out, err := n.askLeader(ctx, group, id, to, true)
		if p, ok := errors.AsType[*api.Problem](err); ok && p.Code == api.CodeNoLeader && ctx.Err() == nil {
			continue
		}
		return out, err
	}
	return api.HandedOver{}, refuse(api.CodeNoLeader, "%s has no part in the group, and no member that it reaches knows who leads", n.cfg.Name)
}

// awaitLeader waits until this node knows who leads, or for as long as an election
// takes: between two leaders nobody does, right after a hand-over for one.
func (n *Node) awaitLeader(ctx context.Context, id paxos.GroupID) {
	ctx, cancel := context.WithTimeout(ctx, electWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if g, ok := n.host.Group(id); ok && (g.Leading || g.Leader != 0 && g.Leader != n.id) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// transferFrom is transfer on the node that leads.
func (n *Node) transferFrom(ctx context.Context, g replica.GroupStatus, to string) (api.HandedOver, error) {
	heir, err := voter(n.groupName(g.Group), g.Membership, to)
	if err != nil {
		return api.HandedOver{}, err
	}
	out := api.HandedOver{From: n.cfg.Name, To: n.cfg.Name}
	if heir == n.id {
		return out, nil
	}
	began := time.Now()
	next, err := n.host.HandOver(ctx, g.Group, heir)
	if err != nil {
		return api.HandedOver{}, n.notHandedOver(ctx, err, g.Group, heir, g.Ballot)
	}
	out.To, out.TookMS = n.nameOf(next), millis(time.Since(began).Nanoseconds())
	return out, nil
}

// notHandedOver says err of the host, with which the lead under ballot b was not
// handed over, in the words of the API.
func (n *Node) notHandedOver(ctx context.Context, err error, id paxos.GroupID, heir synod.NodeID, b synod.Ballot) error {
	who := "no other voter"
	if heir != 0 {
		who = n.nameOf(heir)
	}
	var not *paxos.NotLeaderError
	switch {
	case errors.Is(err, replica.ErrNoHeir) && heir != 0:
		return refuse(api.CodeNoHeir, "%s cannot take the lead over now: it is not in reach, not fit, or too far behind", who)
	case errors.Is(err, replica.ErrNoHeir):
		return refuse(api.CodeNoHeir, "no other voter could take the lead over now: none is in reach, fit and up to date")
	case errors.Is(err, replica.ErrNotVoter):
		return refuse(api.CodeVoterUnknown, "%s is not a voter any more", who)
	case errors.Is(err, replica.ErrHandingOver):
		return refuse(api.CodeHandingOver, "the lead is being handed over already")
	case errors.Is(err, replica.ErrNotHandedOver) && ctx.Err() == nil && n.standing(id) == (Standing{Leads: true, Ballot: b}):
		return refuse(api.CodeNoHeir, "%s did not catch up in time, or its link was lost; %s leads on", who, n.cfg.Name)
	case errors.Is(err, replica.ErrNotHandedOver):
		return refuse(api.CodeOutcomeUnknown, "%s has given up the lead, or is about to, and %s did not begin to lead in time", n.cfg.Name, who)
	case errors.As(err, &not):
		return refuse(api.CodeNoLeader, "this node has just lost the lead; nothing was handed over")
	}
	return err
}

// voter finds a voter by name or id; 0 for "".
func voter(group string, m paxos.Membership, who string) (synod.NodeID, error) {
	if who == "" {
		return 0, nil
	}
	var names []string
	for _, v := range m.Voters {
		if v.Name == who || v.Node.String() == who {
			return v.Node, nil
		}
		names = append(names, v.Name)
	}
	slices.Sort(names)
	p := refuse(api.CodeVoterUnknown, "it is not a voter of %s; the voters are %s", group, strings.Join(names, ", "))
	p.Field, p.Value, p.Limit = "to", who, strings.Join(names, ", ")
	return 0, p
}

// askLeader has the node that leads hand the lead over, or with further one that knows
// who does, and passes its answer on.
func (n *Node) askLeader(ctx context.Context, group string, lead synod.NodeID, to string, further bool) (out api.HandedOver, err error) {
	err = n.send(ctx, lead, http.MethodPost, "/v1/groups/"+url.PathEscape(group)+"/leader:transfer", further, api.HandOver{To: to}, &out)
	var p *api.Problem
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, errUnreached):
		return api.HandedOver{}, refuse(api.CodeNoLeader, "%s leads, but does not answer; nothing was handed over; ask another node", n.nameOf(lead))
	case !errors.As(err, &p):
		return api.HandedOver{}, refuse(api.CodeOutcomeUnknown, "%s leads, and did not say whether it has handed the lead over", n.nameOf(lead))
	case p.Code == api.CodeNotLeader, p.Code == api.CodeStopping:
		return api.HandedOver{}, refuse(api.CodeNoLeader, "%s leads no more; nothing was handed over", n.nameOf(lead))
	}
	return api.HandedOver{}, p
}
