package groups

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) moveCommand() *cobra.Command {
	var in api.MoveMember
	var w waiting
	cmd := &cobra.Command{
		Use:   "move NAME --from NODE [--to NODE]",
		Short: "Have another node vote in a group instead of one that does",
		Long: `Has the node --to vote in the group instead of --from; without --to whichever node suits best. The new one copies the state and
gets a vote before the old one loses its own.`,
		Example: "  prytany group move web --from n2\n  prytany group move web --from n2 --to n4",
		Args:    cli.ExactArgs(1, "NAME"), ValidArgsFunction: a.CompleteGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := w.check(cmd); err != nil {
				return err
			}
			if in.From == "" {
				return cli.Usage("group move: missing --from NODE").Try("prytany group show " + cli.Shown(args[0]))
			}
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			g, err := send[api.Group](cmd.Context(), c, http.MethodPost, path(args[0], ":move"), in)
			if err != nil {
				return refused(err, args[0])
			}
			seen, err := a.await(cmd.Context(), c, w, change{groups: []string{g.Name}, begun: true, pending: func(g api.Group) string {
				switch {
				case g.Move != nil:
					return moving(g)
				case has(g, in.From):
					return in.From + " to cease to be a voter"
				case in.To != "" && !has(g, in.To):
					return in.To + " to become a voter"
				}
				return ""
			}})
			if err != nil {
				return err
			}
			return a.showGroups(newest(g, seen))
		},
	}
	w.define(cmd)
	cmd.Flags().StringVar(&in.From, "from", "", "`node` that is to vote no more: name or id (required)")
	cmd.Flags().StringVar(&in.To, "to", "", "`node` that is to vote instead: name or id")
	_ = cmd.RegisterFlagCompletionFunc("from", cli.ForFlag(a.CompleteNodes()))
	_ = cmd.RegisterFlagCompletionFunc("to", cli.ForFlag(a.CompleteNodes()))
	return cmd
}

// newest is the group as it was seen last.
func newest(g api.Group, seen []api.Group) api.Group {
	if len(seen) == 1 {
		return seen[0]
	}
	return g
}

func (a app) resizeCommand() *cobra.Command {
	var w waiting
	cmd := &cobra.Command{
		Use:     "resize NAME N",
		Short:   "Have N nodes vote in a group",
		Long:    "Has N nodes vote in a group. Which come and which go is chosen as for a new group.",
		Example: "  prytany group resize web 5",
		Args:    cli.ExactArgs(2, "NAME", "N"), ValidArgsFunction: a.CompleteGroups(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := w.check(cmd); err != nil {
				return err
			}
			n, err := strconv.Atoi(args[1])
			if err != nil || n < 1 {
				return cli.Usage("group resize: %q: want a number from 1", args[1]).Try("prytany group resize " + cli.Shown(args[0]) + " 3")
			}
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			g, err := send[api.Group](cmd.Context(), c, http.MethodPatch, path(args[0], ""), api.ResizeGroup{Replicas: n})
			if err != nil {
				return refused(err, args[0])
			}
			seen, err := a.await(cmd.Context(), c, w, change{groups: []string{g.Name}, pending: func(g api.Group) string {
				switch {
				case g.Move != nil:
					return moving(g)
				case len(g.Members) != n || g.Replicas != n:
					return fmt.Sprintf("%d voters instead of %d", n, len(g.Members))
				}
				return ""
			}})
			if err != nil {
				return err
			}
			return a.showGroups(newest(g, seen))
		},
	}
	w.define(cmd)
	return cmd
}

func (a app) rebalanceCommand() *cobra.Command {
	var in api.Rebalance
	var w waiting
	cmd := &cobra.Command{
		Use:   "rebalance",
		Short: "Spread voters and leaders better over the nodes, or say how",
		Long: `Moves voters out of zones that they share, to nearer nodes, and from nodes that hold or lead more than others; each step is
printed with its reason. With --dry-run nothing is done. A second run after the first has nothing to do.

Exit code 4: some steps could not be begun; the table says why.`,
		Example: "  prytany group rebalance --dry-run\n  prytany group rebalance --limit 10",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := w.check(cmd); err != nil {
				return err
			}
			if in.Limit < 0 || cmd.Flags().Changed("limit") && in.Limit == 0 {
				return cli.Usage("group rebalance: --limit %d: want 1 or more", in.Limit).Try("prytany group rebalance --limit 10")
			}
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			out, err := send[api.Rebalanced](cmd.Context(), c, http.MethodPost, "groups:rebalance", in)
			switch {
			case err != nil && in.DryRun && errors.Is(err, client.ErrUnknownOutcome):
				return cli.Failure(cli.CodeUnavailable, "no answer in time; nothing was to be done, and nothing has been").Try("prytany status")
			case err != nil:
				return refused(err, "")
			}
			if err := a.showSteps(out); err != nil || out.DryRun {
				return err
			}
			_, err = a.await(cmd.Context(), c, w, stepsDone(out.Steps))
			return err
		},
	}
	w.define(cmd)
	cmd.Flags().BoolVar(&in.DryRun, "dry-run", false, "only say what would be done, and why")
	cmd.Flags().IntVar(&in.Limit, "limit", 0, "so many steps at most (default 100)")
	return cmd
}

// stepsDone waits for the steps that move voters and were begun.
func stepsDone(steps []api.RebalanceStep) (ch change) {
	to := map[string][]api.RebalanceStep{}
	for _, s := range steps {
		if s.Kind == "member" && s.Error == "" {
			if len(to[s.Group]) == 0 {
				ch.groups = append(ch.groups, s.Group)
			}
			to[s.Group] = append(to[s.Group], s)
		}
	}
	ch.pending = func(g api.Group) string {
		if g.Move != nil {
			return moving(g)
		}
		for _, s := range to[g.Name] {
			if has(g, s.From) {
				return s.From + " to cease to be a voter"
			}
		}
		return ""
	}
	return ch
}

// showSteps prints what was begun, or would be.
func (a app) showSteps(out api.Rebalanced) error {
	failed := 0
	for _, s := range out.Steps {
		if s.Error != "" {
			failed++
		}
	}
	if failed > 0 {
		a.Code = cli.CodeRefused
		a.Say("prytany: %d of %d %s could not be begun", failed, len(out.Steps), cli.Plural(len(out.Steps), "step"))
	}
	if a.JSON() {
		return a.PrintJSON(out)
	}
	if len(out.Steps) == 0 {
		a.Say("prytany: nothing to do: voters and leaders are where they should be")
		return nil
	}
	if out.DryRun {
		a.Say("prytany: nothing was done; this is what would be:")
	}
	t := cli.NewTable("GROUP", "STEP", "FROM", "TO", "WHY")
	for _, s := range out.Steps {
		why := s.Why
		if s.Error != "" {
			why += "; not begun: " + s.Error
		}
		t.Add(s.Group, map[string]string{"lead": "lead", "member": "vote"}[s.Kind], cli.Dash(s.From), cli.Dash(s.To), cli.Dash(why))
	}
	return a.Print(t)
}
