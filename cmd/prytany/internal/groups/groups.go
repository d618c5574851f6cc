// Package groups has the commands about groups and about members of the cluster: to
// make, look at, move, resize, delete and balance groups, and to add, remove and
// replace members. Such a change is decided at once and carried out afterwards; the
// commands wait for that, unless told not to.
package groups

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/cmd/prytany/internal/nodes"
	"github.com/prytany/prytany/internal/api"
)

// An app is one run of the command.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(c *cli.App) []*cobra.Command {
	a := app{c}
	return []*cobra.Command{a.groupCommand(), a.listCommand("groups"), a.memberCommand()}
}

func (a app) groupCommand() *cobra.Command {
	cmd := a.parent("group", "Make, look at, move, resize, delete and balance groups", `A group has a log, sessions, locks and keys of its own, and its voters are some of the nodes of the cluster. Every node takes
requests for every group: prytany -g NAME get KEY. Group main is there from the beginning and knows the others.

move and resize are decided at once and carried out by the group's leader, one node at a time: the new one catches up, gets a
vote, and then the old one loses its own. The commands wait for that, as long as --wait says.`)
	cmd.AddCommand(
		a.createCommand(), a.listCommand("list"), a.showCommand(), a.moveCommand(), a.resizeCommand(), a.deleteCommand(), a.rebalanceCommand(),
	)
	return cmd
}

func (a app) memberCommand() *cobra.Command {
	cmd := a.parent("member", "List, add, remove and replace nodes of the cluster", `Nodes join by themselves (serve --join) and hold members of groups as they are placed. main takes them in until it has as
many voters as it is to have; add makes it one more.

remove takes a node out of everything for good: its process ends, and it never has a part in anything again under its identity.
replace does that, too, and lets another node take all its places: one with an empty disk that has the same name, unless --by
says which.`)
	cmd.AddCommand(nodes.MembersCommand(a.App, "list"), a.addCommand(), a.removeCommand(), a.replaceCommand())
	return cmd
}

// parent is a command that only has others below it.
func (a app) parent(use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.UnknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
}

// path is where the API has a group, and what can be done to it, such as ":move".
func path(name, verb string) string {
	return "groups/" + strings.ReplaceAll(client.EscapeName(name), "/", "%2F") + verb
}

// send makes a change and reads what the server says of it.
func send[T any](ctx context.Context, c *client.Client, method, path string, in any) (out T, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	return cli.Fetch[T](ctx, c, client.Call{Method: method, Path: path, Body: body, Header: http.Header{"Content-Type": {api.TypeJSON}}})
}

// fetchGroup reads one group.
func fetchGroup(ctx context.Context, c *client.Client, name string) (api.Group, error) {
	return cli.Fetch[api.Group](ctx, c, client.Call{Path: path(name, "")})
}

func (a app) createCommand() *cobra.Command {
	var in api.CreateGroup
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a group",
		Long: `Makes a group on nodes that are alive: first in distinct zones, then near --near, or near to each other, then where there is
least to do. Returns when the group has a leader.`,
		Example: "  prytany group create web\n  prytany group create web --replicas 5 --zone a --zone b --near n2",
		Args:    cli.ExactArgs(1, "NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Name = args[0]
			if in.Replicas < 0 || cmd.Flags().Changed("replicas") && in.Replicas == 0 {
				return cli.Usage("group create: --replicas %d: want 1 or more", in.Replicas).Try("prytany group create " + cli.Shown(in.Name) + " --replicas 3")
			}
			empty := "" // the flag that was given nothing, by a script whose variable is not set
			switch f := cmd.Flags(); {
			case f.Changed("zone") && len(in.Zones) == 0:
				empty = "zone"
			case f.Changed("near") && in.Near == "":
				empty = "near"
			}
			if empty != "" {
				return cli.Usage("group create: --%s is empty", empty).Try("prytany group create " + cli.Shown(in.Name))
			}
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			g, err := send[api.Group](cmd.Context(), c, http.MethodPost, "groups", in)
			if err != nil {
				return refused(err, in.Name)
			}
			return a.showGroups(g)
		},
	}
	f := cmd.Flags()
	f.IntVar(&in.Replicas, "replicas", 0, "how many nodes are to vote (default 3, or as many as there are)")
	f.StringSliceVar(&in.Zones, "zone", nil, "only nodes of these `zones` (default: of any)")
	f.StringVar(&in.Near, "near", "", "`node` to be near to")
	_ = cmd.RegisterFlagCompletionFunc("zone", cli.ForFlag(a.CompleteZones()))
	_ = cmd.RegisterFlagCompletionFunc("near", cli.ForFlag(a.CompleteNodes()))
	return cmd
}

// listCommand is `group list`, and `groups`, which is the same.
func (a app) listCommand(name string) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     name + " [PREFIX]",
		Short:   "List the groups of the cluster whose names begin with PREFIX",
		Long:    "Lists the groups whose names begin with PREFIX, by name, as the asked node knows them: who votes, who leads, and which\nchange of the voters is under way. Who leads groups that it has no part in, others are asked.",
		Example: map[bool]string{true: "  prytany groups\n  prytany groups web- -o wide", false: "  prytany group list web-"}[name == "groups"],
		Args:    cli.RangeArgs(0, 1), ValidArgsFunction: a.CompleteGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Group = api.MainGroup // the list is the cluster's
			return a.Show(cmd, watch, "", func(ctx context.Context, c *client.Client) error {
				groups, err := listGroups(ctx, c, strings.Join(args, ""))
				if err != nil {
					return err
				}
				a.findLeaders(ctx, c, groups)
				if a.JSON() {
					return cli.PrintList(a.App, groups)
				}
				return a.Print(a.table(groups))
			})
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

// listGroups reads all groups whose names begin with prefix.
func listGroups(ctx context.Context, c *client.Client, prefix string) ([]api.Group, error) {
	return cli.FetchAll(ctx, c, "groups", prefix, func(b []byte) ([]api.Group, string, error) {
		var p api.Groups
		err := json.Unmarshal(b, &p)
		return p.Groups, p.Cursor, err
	})
}

// table shows groups one a line.
func (a app) table(groups []api.Group) *cli.Table {
	head := []string{"NAME", "REPLICAS", "MEMBERS", "LEADER", "MOVE"}
	if a.Output == "wide" {
		head = append(head, "ID", "CONFIG", "ZONES", "NEAR")
	}
	t := cli.NewTable(head...)
	for _, g := range groups {
		row := []string{g.Name, strconv.Itoa(g.Replicas), memberNames(g), cli.Dash(g.Leader), cli.Dash(moveText(g.Move))}
		if a.Output == "wide" {
			row = append(row, strconv.FormatUint(g.ID, 10), strconv.FormatUint(uint64(g.Config), 10), cli.Dash(strings.Join(g.Zones, ",")), cli.Dash(g.Near))
		}
		t.Add(row...)
	}
	return t
}

// memberNames is "n1,n2,n3", with a mark at those that gossip does not find alive.
func memberNames(g api.Group) string {
	var names []string
	for _, m := range g.Members {
		name := cli.OrElse(m.Name, m.ID)
		if m.Gossip != "alive" && m.Gossip != "" {
			name += "(" + m.Gossip + ")"
		}
		names = append(names, name)
	}
	return cli.Dash(strings.Join(names, ","))
}

// moveText is "+n4 -n2".
func moveText(m *api.Move) string {
	var parts []string
	if m != nil && m.Add != "" {
		parts = append(parts, "+"+m.Add)
	}
	if m != nil && m.Remove != "" {
		parts = append(parts, "-"+m.Remove)
	}
	return strings.Join(parts, " ")
}

// showGroups prints what has become of one group.
func (a app) showGroups(g api.Group) error {
	if a.JSON() {
		return a.PrintJSON(g)
	}
	return a.Print(a.table([]api.Group{g}))
}

func (a app) showCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show one group: who votes, who leads, what is under way",
		Example: "  prytany group show web\n  prytany group show web --watch",
		Args:    cli.ExactArgs(1, "NAME"), ValidArgsFunction: a.CompleteGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Group = api.MainGroup
			return a.Show(cmd, watch, "", func(ctx context.Context, c *client.Client) error {
				g, err := fetchGroup(ctx, c, args[0])
				if err != nil {
					return refused(err, args[0])
				}
				one := []api.Group{g}
				a.findLeaders(ctx, c, one)
				g = one[0]
				switch {
				case a.JSON():
					return a.PrintJSON(g)
				case a.Output == "name":
					return a.PrintName(g.Name)
				}
				return a.showGroup(g)
			})
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

// showGroup prints all that is known of a group.
func (a app) showGroup(g api.Group) error {
	a.Printf("group    %s (id %d): %d %s wanted, configuration %d\n", g.Name, g.ID, g.Replicas, cli.Plural(g.Replicas, "voter"), g.Config)
	alive := 0
	for _, m := range g.Members {
		if m.Gossip == "alive" {
			alive++
		}
	}
	leader := "no leader known"
	if g.Leader != "" {
		leader = "leader " + g.Leader
		if g.LeaderURL != "" {
			leader += " (" + g.LeaderURL + ")"
		}
	}
	a.Printf("         %s; %s\n", nodes.QuorumText(alive, len(g.Members), "alive"), leader)
	if len(g.Zones) > 0 || g.Near != "" {
		a.Printf("wishes   zones %s, near %s\n", cli.OrElse(strings.Join(g.Zones, ","), "any"), cli.OrElse(g.Near, "no node"))
	}
	if g.Move != nil {
		a.Printf("move     %s: %s\n", moveText(g.Move), cli.OrElse(g.Move.Why, "no reason given"))
	}
	if h := g.Here; h != nil {
		a.Printf("here     %s, ballot %s, revision %d, slot %d decided, %d applied; %d %s, %d %s\n", h.Role, h.Ballot, h.Revision, h.Decided, h.Applied,
			h.Sessions, cli.Plural(h.Sessions, "session"), h.Locks, cli.Plural(h.Locks, "lock"))
	} else {
		a.Printf("here     the node that answers has no part in it\n")
	}
	a.Printf("\n")
	t := cli.NewTable("NODE", "ROLE", "GOSSIP", "ZONE", "ID")
	for _, m := range g.Members {
		role := api.RoleFollower
		if m.Name == g.Leader {
			role = api.RoleLeader
		}
		t.Add(cli.OrElse(m.Name, m.ID), role, cli.Dash(m.Gossip), cli.Dash(m.Zone), m.ID)
	}
	return a.Print(t)
}

func (a app) deleteCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:     "delete NAME --yes",
		Short:   "Delete a group with everything in it",
		Long:    "Deletes a group for good: its sessions, locks and keys are gone, and clients that work in it are told that there is no such group.",
		Example: "  prytany group delete web --yes",
		Args:    cli.ExactArgs(1, "NAME"), ValidArgsFunction: a.CompleteGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !yes {
				return cli.Usage("group delete: everything in %s is lost; say --yes if that is what you want", args[0]).Try("prytany -g " + cli.Shown(args[0]) + " list")
			}
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			if _, err = c.Call(cmd.Context(), client.Call{Method: http.MethodDelete, Path: path(args[0], "")}); err != nil {
				return refused(err, args[0])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "really do it")
	return cmd
}
