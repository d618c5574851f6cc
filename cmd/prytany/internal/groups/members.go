package groups

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) addCommand() *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use:     "add NODE",
		Short:   "Have one more node vote in main",
		Long:    "Makes NODE, which has joined, a voter of main, which is to have one more than before.",
		Example: "  prytany member add n4",
		Args:    cli.ExactArgs(1, "NODE"), ValidArgsFunction: a.CompleteNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := w.check(cmd); err != nil {
				return err
			}
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			out, err := send[api.MemberChange](cmd.Context(), c, http.MethodPost, "members", api.AddMember{Node: args[0]})
			if err != nil {
				return refused(err, args[0])
			}
			name := cli.OrElse(out.Name, out.Node)
			_, err = a.await(cmd.Context(), c, w, change{groups: []string{api.MainGroup}, pending: func(g api.Group) string {
				switch {
				case !hasID(g, out.Node):
					return name + " to become a voter"
				case g.Move != nil:
					return moving(g)
				}
				return ""
			}})
			if err != nil {
				return err
			}
			return a.showChange(out)
		},
	}
	w.define(cmd)
	return cmd
}

// sure wants --yes for taking a node out that is there and votes.
func sure(cmd *cobra.Command, c *client.Client, node string) error {
	m, err := cli.Fetch[api.Members](cmd.Context(), c, client.Call{Path: "members"})
	if err != nil {
		return err
	}
	for _, x := range m.Members {
		votes := x.Groups > 0 || x.Roles[api.MainGroup] != "" && x.Roles[api.MainGroup] != api.RoleLearner && x.Roles[api.MainGroup] != api.RoleNone
		if (x.Name == node || x.ID == node) && x.Gossip == "alive" && votes {
			return cli.Usage("%s: %s is alive and votes in %d %s; its process ends, for good; say --yes if that is what you want",
				cli.CommandName(cmd), node, x.Groups, cli.Plural(x.Groups, "group")).Try(cmd.CommandPath() + " " + cli.Shown(node) + " --yes")
		}
	}
	return nil
}

const yesHelp = "also if the node is alive"

const forceHelp = "also if so many are down that a group may be left without a quorum"

func (a app) removeCommand() *cobra.Command {
	var w waiting
	var yes, force bool
	cmd := &cobra.Command{
		Use:   "remove NODE",
		Short: "Take a node out of the cluster for good",
		Long: `Takes NODE, given by name or id, out of all groups for good; other nodes take its places as far as there are any. Its process ends by
itself; with --yes also if it is alive and votes. The name can be used again by a node with an empty data directory.

Exit code 4: in some group those who stay and live would be no quorum; --force does it nevertheless.`,
		Example: "  prytany member remove n2 --yes",
		Args:    cli.ExactArgs(1, "NODE"), ValidArgsFunction: a.CompleteNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withdraw(cmd, w, args[0], yes, client.Call{Method: http.MethodDelete, Path: "members/" + url.PathEscape(args[0]), Query: forced(force)}, nil)
		},
	}
	w.define(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, yesHelp)
	cmd.Flags().BoolVar(&force, "force", false, forceHelp)
	return cmd
}

// forced is the query of a change that is to be made in any case.
func forced(force bool) url.Values {
	if !force {
		return nil
	}
	return url.Values{"force": {"true"}}
}

func (a app) replaceCommand() *cobra.Command {
	var w waiting
	var in api.ReplaceMember
	var yes, force bool
	cmd := &cobra.Command{
		Use:   "replace OLD [--by NEW]",
		Short: "Have another node take all places of one that is gone for good",
		Long: `Takes OLD, given by name or id, out of all groups for good, and has NEW take its places; without --by the node that has come up
with an empty data directory and the same name, if there is one, else whichever suits best, group by group.

Exit code 4: in some group those who stay and live would be no quorum; --force does it nevertheless.`,
		Example: "  prytany member replace n2\n  prytany member replace n2 --by n4 --yes",
		Args:    cli.ExactArgs(1, "OLD"), ValidArgsFunction: a.CompleteNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			call := client.Call{Method: http.MethodPost, Path: "members/" + url.PathEscape(args[0]) + ":replace", Query: forced(force)}
			return a.withdraw(cmd, w, args[0], yes, call, in)
		},
	}
	w.define(cmd)
	cmd.Flags().StringVar(&in.By, "by", "", "`node` that takes the places: name or id")
	cmd.Flags().BoolVar(&yes, "yes", false, yesHelp)
	cmd.Flags().BoolVar(&force, "force", false, forceHelp)
	_ = cmd.RegisterFlagCompletionFunc("by", cli.ForFlag(a.CompleteNodes()))
	return cmd
}

// withdraw sends what takes a node out of all groups, and waits until it is.
func (a app) withdraw(cmd *cobra.Command, w waiting, node string, yes bool, call client.Call, in any) error {
	if err := w.check(cmd); err != nil {
		return err
	}
	if in != nil {
		body, err := json.Marshal(in)
		if err != nil {
			return err
		}
		call.Body, call.Header = body, http.Header{"Content-Type": {api.TypeJSON}}
	}
	c, err := a.NodeClient()
	if err != nil {
		return err
	}
	if !yes && !a.Curl {
		if err := sure(cmd, c, node); err != nil {
			return err
		}
	}
	out, err := cli.Fetch[api.MemberChange](cmd.Context(), c, call)
	if err != nil {
		return refused(err, node)
	}
	_, err = a.await(cmd.Context(), c, w, change{groups: out.Groups, pending: func(g api.Group) string {
		switch {
		case g.Move != nil:
			return moving(g)
		case hasID(g, out.Node):
			return cli.OrElse(out.Name, out.Node) + " to cease to be a voter"
		}
		return ""
	}})
	if err != nil {
		return err
	}
	return a.showChange(out)
}

// showChange prints what a change of a member was about.
func (a app) showChange(out api.MemberChange) error {
	if a.JSON() {
		return a.PrintJSON(out)
	}
	head := []string{"NODE", "BY", "GROUPS", "ID"}
	row := []string{cli.OrElse(out.Name, out.Node), cli.Dash(out.By), strconv.Itoa(len(out.Groups)), out.Node}
	if a.Output == "wide" {
		head, row = append(head, "NAMES"), append(row, cli.Dash(strings.Join(out.Groups, ",")))
	}
	t := cli.NewTable(head...)
	t.Add(row...)
	return a.Print(t)
}
