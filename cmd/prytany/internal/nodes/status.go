package nodes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show quorum, leader and the state of each node on one screen",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			group := a.Group
			a.Group = api.MainGroup // the status is the node's
			return a.Show(cmd, watch, "", func(ctx context.Context, c *client.Client) error {
				st, err := cli.Fetch[api.Status](ctx, c, client.Call{Path: "status"})
				if err != nil {
					return err
				}
				if group != api.MainGroup {
					if err := partOf(ctx, c, &st, group); err != nil {
						return err
					}
				}
				if a.JSON() {
					return a.PrintJSON(st)
				}
				members, err := cli.Fetch[api.Members](ctx, c, client.Call{Path: "members"})
				if err != nil {
					return err
				}
				return a.showStatus(st, members.Members)
			})
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

// partOf makes st tell of the node's part in that group instead of main.
func partOf(ctx context.Context, c *client.Client, st *api.Status, group string) error {
	g, err := cli.Fetch[api.Group](ctx, c, client.Call{Path: "groups/" + strings.ReplaceAll(client.EscapeName(group), "/", "%2F")})
	switch {
	case errors.Is(err, client.ErrNotFound):
		return cli.Failure(cli.CodeNotFound, "there is no group %s", group).Try("prytany groups")
	case err != nil:
		return err
	case g.Here == nil:
		return cli.Failure(cli.CodeNotFound, "node %s has no part in group %s", st.Name, group).Try("prytany group show " + cli.Shown(group))
	}
	st.Groups = []api.GroupStatus{*g.Here}
	return nil
}

func (a app) showStatus(st api.Status, members []api.Member) error {
	if a.Output == "name" {
		return a.showMembers(members)
	}
	a.Printf("node     %s (%s), prytany %s, up %s\n", st.Name, st.HTTP, st.Version, cli.Round(time.Duration(st.UptimeMS)*time.Millisecond))
	a.Printf("cluster  %s\n", cli.Dash(st.Cluster))
	for _, g := range st.Groups {
		alive := 0
		for _, m := range members {
			if (m.Link == "up" || m.Link == "self") && votes(m, g) {
				alive++
			}
		}
		a.Printf("group    %s: %s; %s, ballot %s, configuration %d\n", g.Group, QuorumText(alive, len(g.Voters), "reachable from here"), leaderText(g, alive), g.Ballot, g.Config)
		if g.Why != "" {
			a.Printf("         %s\n", whyText(st.Name, g))
		}
		a.Printf("         revision %d, slot %d decided, %d applied here; %d sessions, %d locks\n", g.Revision, g.Decided, g.Applied, g.Sessions, g.Locks)
	}
	if n := st.Counts; n.Known > 0 {
		a.Printf("groups   %d known, %d on this node: leads %d, %d without a leader\n", n.Known, n.Here, n.Leads, n.Leaderless)
	}
	a.Printf("disk     %s\n", diskText(st.Disk))
	a.Printf("health   %s\n\n", healthText(st.Health))
	return a.showMembers(members)
}

// votes reports whether m is a voter of g.
func votes(m api.Member, g api.GroupStatus) bool {
	if g.Group != api.MainGroup {
		return slices.Contains(g.Voters, m.Name)
	}
	r := m.Roles[g.Group]
	return r == api.RoleLeader || r == api.RoleCandidate || r == api.RoleFollower
}

// leaderText says who leads, if that is certain. A node that has no quorum in
// reach and no reason to be content with the last leader knows of none.
func leaderText(g api.GroupStatus, alive int) string {
	quorum := alive >= len(g.Voters)/2+1
	switch {
	case g.Leader != "" && g.Content:
		return "leader " + g.Leader
	case g.Leader != "" && quorum:
		return "leader " + g.Leader + ", in doubt"
	case g.Leader != "":
		return "no leader; " + g.Leader + " was the last"
	case quorum:
		return "leader unknown"
	}
	return "no leader"
}

// whyText says why a node is content with the leader, or not.
func whyText(name string, g api.GroupStatus) string {
	is := "is content"
	if !g.Content {
		is = "is NOT content"
	}
	text := fmt.Sprintf("%s %s (for %s): %s", name, is, cli.Round(time.Duration(g.SinceMS)*time.Millisecond), g.Why)
	if g.Leased {
		text += "; reads are answered by its lease"
	}
	return text
}

// diskText says how the disk fares.
func diskText(d api.Disk) string {
	text := fmt.Sprintf("well, last write %s", cli.OrElse(strings.Trim(rtt(d.WriteMS), "-"), "not yet"))
	if !d.Healthy {
		text = fmt.Sprintf("NOT well, last write %s: %s", rtt(d.WriteMS), d.Reason)
	}
	if d.FreeBytes > 0 {
		text += fmt.Sprintf(", %.1f GiB free", float64(d.FreeBytes)/(1<<30))
	}
	if d.Log != "" {
		text += ", log " + d.Log
	}
	return text
}

// healthText says whether the node should lead.
func healthText(h api.Health) string {
	if !h.Fit {
		return "NOT fit to lead: " + h.Reason
	}
	if h.Score > 0 {
		return fmt.Sprintf("fit to lead; keeps up badly with the gossip (%d)", h.Score)
	}
	return "fit to lead"
}

// QuorumText says how many more failures a group survives, of whose voters so many
// are as seen says: "alive".
func QuorumText(alive, voters int, seen string) string {
	spare := alive - (voters/2 + 1)
	if spare < 0 {
		return fmt.Sprintf("NO QUORUM, %d of %d voters %s", alive, voters, seen)
	}
	return fmt.Sprintf("quorum, %d of %d voters %s, survives %d more %s", alive, voters, seen, spare, cli.Plural(spare, "failure"))
}

// MembersCommand is `members`, or under another name the same.
func MembersCommand(c *cli.App, name string) *cobra.Command {
	a := app{c}
	var watch bool
	cmd := &cobra.Command{
		Use:   name,
		Short: "List the nodes: what gossip says and what the groups say",
		Args:  cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.Group = api.MainGroup // the members are the node's
			return a.Show(cmd, watch, "", func(ctx context.Context, c *client.Client) error {
				m, err := cli.Fetch[api.Members](ctx, c, client.Call{Path: "members"})
				switch {
				case err != nil:
					return err
				case a.JSON():
					return cli.PrintList(a.App, m.Members)
				}
				return a.showMembers(m.Members)
			})
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

func (a app) showMembers(members []api.Member) error {
	head := []string{"NAME", "HTTP", "GOSSIP", "LINK", "ROLE", "GROUPS", "RTT", "ZONE", "VERSION"}
	if a.Output == "wide" {
		head = append(head, "ID", "PEER")
	}
	t := cli.NewTable(head...)
	for _, m := range members {
		row := []string{m.Name, cli.Dash(m.HTTP), m.Gossip, m.Link, role(m), fmt.Sprint(m.Groups), rtt(m.RTTMS), cli.Dash(m.Zone), cli.Dash(m.Version)}
		if a.Output == "wide" {
			row = append(row, m.ID, cli.Dash(m.Peer))
		}
		t.Add(row...)
	}
	return a.Print(t)
}

// role is the node's part in main.
func role(m api.Member) string {
	if m.Removed {
		return "removed"
	}
	return cli.Dash(m.Roles[api.MainGroup])
}

func rtt(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fms", ms)
}
