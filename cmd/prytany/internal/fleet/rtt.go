package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) rttCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "rtt",
		Short: "Show how far the nodes are from each other, as measured and as predicted",
		Long: `Asks every node for its row. MEASURED is the median of the newest heartbeats, P99 their 99th percentile; PREDICTED comes from
network coordinates that the gossip spreads, also between nodes that exchange no heartbeats, and ERROR is their own estimate
of how wrong they are: below 0.3 is good, 1.5 knows nothing. The last line says in what time each node reaches a quorum of
group main and back: a change takes at least that long while the node leads.`,
		Example: "  prytany rtt\n  prytany rtt -o json",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.Group = api.MainGroup // the rows are the nodes'
			return a.Show(cmd, watch, "", func(ctx context.Context, c *client.Client) error {
				if a.Curl {
					return a.showCurl(c, "/v1/rtt", "")
				}
				members, err := a.members(ctx, c, nil)
				if err != nil {
					return err
				}
				answers, err := askEvery[api.RTT](ctx, a, members, "/v1/rtt")
				if err != nil {
					return err
				}
				var rows []api.RTT
				for _, r := range answers {
					if r != nil {
						rows = append(rows, *r)
					}
				}
				return a.showRTT(rows, members)
			})
		},
	}
	cli.WatchFlag(cmd, &watch)
	return cmd
}

func (a app) showRTT(rows []api.RTT, members []api.Member) error {
	if a.JSON() {
		return cli.PrintList(a.App, rows)
	}
	t := cli.NewTable("FROM", "TO", "MEASURED", "P99", "PREDICTED", "ERROR")
	for _, r := range rows {
		for _, to := range r.RoundTrips {
			wrong := "-"
			if to.PredictedMS > 0 {
				wrong = fmt.Sprintf("%.2f", to.Error)
			}
			t.Add(r.Node, to.Node, ms(to.MeasuredMS), ms(to.P99MS), ms(to.PredictedMS), wrong)
		}
	}
	if err := a.Print(t); err != nil || a.Output == "name" {
		return err
	}
	a.Printf("\n%s\n", quorumLine(rows, members))
	return nil
}

// quorumLine says who stands nearest to a quorum, and who leads.
func quorumLine(rows []api.RTT, members []api.Member) string {
	near := slices.DeleteFunc(slices.Clone(rows), func(r api.RTT) bool { return r.QuorumMS == 0 })
	slices.SortStableFunc(near, func(x, y api.RTT) int {
		switch {
		case x.QuorumMS < y.QuorumMS:
			return -1
		case x.QuorumMS > y.QuorumMS:
			return 1
		}
		return strings.Compare(x.Node, y.Node)
	})
	leader := ""
	for _, m := range members {
		if m.Roles[api.MainGroup] == api.RoleLeader {
			leader = m.Name
		}
	}
	var parts []string
	for i, r := range near {
		text := r.Node + " " + ms(r.QuorumMS)
		switch {
		case i == 0 && r.Node == leader:
			text += " (nearest, leads)"
		case i == 0:
			text += " (nearest)"
		case r.Node == leader:
			text += " (leads)"
		}
		parts = append(parts, text)
	}
	switch {
	case len(parts) == 0:
		parts = append(parts, "not known yet, or not in reach")
	case leader == "":
		parts = append(parts, "nobody leads")
	case !slices.ContainsFunc(near, func(r api.RTT) bool { return r.Node == leader }):
		parts = append(parts, leader+" leads")
	}
	return "to a quorum and back: " + strings.Join(parts, ", ")
}

// ms is a time in milliseconds, "-" if it is not known.
func ms(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fms", v)
}
