package fleet

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) transferCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "transfer [NODE]",
		Short: "Hand the lead of the group over to another node",
		Long: `Has NODE, a voter, lead the group instead of the node that does; without NODE whichever suits best: in reach, fit, up to
date, nearest to a quorum. Nothing that was acknowledged is lost, and requests only wait for a few round trips. For planned
maintenance; a node that is told to stop (SIGTERM) hands over by itself.

Exit code 3: NODE is not a voter. 4: nobody could take over now; the leader leads on. 5: nobody leads, or the lead is being
handed over already. 6: the lead was given up, or may have been, and NODE did not begin to lead in time.`,
		Example: "  prytany transfer\n  prytany transfer n2",
		Args:    cli.RangeArgs(0, 1), ValidArgsFunction: a.CompleteNodes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			to := strings.Join(args, "")
			if len(args) == 1 && to == "" {
				return cli.Usage("transfer: NODE is empty").Try("prytany transfer n2")
			}
			body, err := json.Marshal(api.HandOver{To: to})
			if err != nil {
				return err
			}
			out, err := cli.Fetch[api.HandedOver](cmd.Context(), c, client.Call{
				Method: http.MethodPost, Path: "leader:transfer", Body: body, Header: http.Header{"Content-Type": {api.TypeJSON}},
			})
			if p := cli.ProblemOf(err); p != nil {
				return refused(p, err, to)
			}
			if err != nil {
				return err
			}
			return a.showTransfer(out)
		},
	}
}

// refused says why the lead was not handed over, and what to do.
func refused(p *client.ProblemError, err error, to string) error {
	switch api.Code(p.Code) {
	case api.CodeVoterUnknown:
		return cli.Failure(cli.CodeNotFound, "%s: %s", to, p.Detail).Try("prytany transfer, to whichever node suits best")
	case api.CodeNoHeir:
		return cli.Failure(cli.CodeRefused, "the lead was not handed over: %s", p.Detail).Try("prytany status, and prytany events for the reason")
	case api.CodeHandingOver:
		return cli.Failure(cli.CodeUnavailable, "%s", p.Detail).Try("prytany status in a second")
	}
	return err
}

func (a app) showTransfer(out api.HandedOver) error {
	switch {
	case a.JSON():
		return a.PrintJSON(out)
	case a.Output == "name":
		return a.PrintName(out.To)
	case out.From == out.To:
		a.Say("prytany: %s leads already", out.To)
	}
	t := cli.NewTable("FROM", "TO", "TOOK")
	t.Add(out.From, out.To, cli.Round(time.Duration(out.TookMS*float64(time.Millisecond))).String())
	return a.Print(t)
}
