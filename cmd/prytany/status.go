package main

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show quorum, leader and the state of each node on one screen",
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			group := a.group
			c, err := a.nodeClient()
			if err != nil {
				return err
			}
			st, err := fetch[api.Status](cmd.Context(), c, client.Call{Path: "status"})
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("group") {
				st.Groups = slices.DeleteFunc(st.Groups, func(g api.GroupStatus) bool { return g.Group != group })
				if len(st.Groups) == 0 {
					return failure(codeNotFound, "node %s has no part in group %s", st.Name, group).try("prytany status")
				}
			}
			if a.json() {
				return a.printJSON(st)
			}
			members, err := fetch[api.Members](cmd.Context(), c, client.Call{Path: "members"})
			if err != nil {
				return err
			}
			return a.showStatus(st, members.Members)
		},
	}
}

// nodeClient returns a client for what belongs to a node and not to a group.
func (a *app) nodeClient() (*client.Client, error) {
	a.group = api.MainGroup
	return a.client()
}

func (a *app) showStatus(st api.Status, members []api.Member) error {
	a.printf("node     %s (%s), prytany %s, up %s\n", st.Name, st.HTTP, st.Version, round(time.Duration(st.UptimeMS)*time.Millisecond))
	a.printf("cluster  %s\n", dash(st.Cluster))
	for _, g := range st.Groups {
		alive := 0
		for _, m := range members {
			if r := m.Roles[g.Group]; (m.Link == "up" || m.Link == "self") && (r == api.RoleLeader || r == api.RoleCandidate || r == api.RoleFollower) {
				alive++
			}
		}
		a.printf("group    %s: %s; leader %s, ballot %s, configuration %d\n", g.Group, quorumText(alive, len(g.Voters)), dash(g.Leader), g.Ballot, g.Config)
		a.printf("         revision %d, slot %d decided, %d applied here; %d sessions, %d locks\n", g.Revision, g.Decided, g.Applied, g.Sessions, g.Locks)
	}
	a.printf("\n")
	return a.showMembers(members)
}

// quorumText says how many more failures the group survives.
func quorumText(alive, voters int) string {
	spare := alive - (voters/2 + 1)
	if spare < 0 {
		return fmt.Sprintf("NO QUORUM, %d of %d voters reachable from here", alive, voters)
	}
	return fmt.Sprintf("quorum, %d of %d voters reachable from here, survives %d more %s", alive, voters, spare, plural(spare, "failure"))
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

func (a *app) membersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the nodes: what gossip says and what the groups say",
		Args:  exactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.nodeClient()
			if err != nil {
				return err
			}
			m, err := fetch[api.Members](cmd.Context(), c, client.Call{Path: "members"})
			if err != nil {
				return err
			}
			if a.json() {
				return printList(a, m.Members)
			}
			return a.showMembers(m.Members)
		},
	}
}

func (a *app) showMembers(members []api.Member) error {
	t := newTable("NAME", "HTTP", "GOSSIP", "LINK", "ROLE", "RTT", "ZONE", "VERSION")
	if a.output == "wide" {
		t = newTable("NAME", "HTTP", "GOSSIP", "LINK", "ROLE", "RTT", "ZONE", "VERSION", "ID", "PEER")
	}
	for _, m := range members {
		row := []string{m.Name, dash(m.HTTP), m.Gossip, m.Link, roles(m.Roles), rtt(m.RTTMS), dash(m.Zone), dash(m.Version)}
		if a.output == "wide" {
			row = append(row, m.ID, dash(m.Peer))
		}
		t.add(row...)
	}
	return a.print(t)
}

// roles is "leader" for a node with a part in group main only, else
// "main=leader,g1=follower".
func roles(r map[string]string) string {
	if len(r) == 1 && r[api.MainGroup] != "" {
		return r[api.MainGroup]
	}
	var list []string
	for g, role := range r {
		list = append(list, g+"="+role)
	}
	sort.Strings(list)
	return dash(strings.Join(list, ","))
}

func rtt(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fms", ms)
}
