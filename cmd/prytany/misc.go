package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

func (a app) fenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fence RESOURCE [N]",
		Short: "Note that a resource has seen a fence, or print the highest it has seen",
		Long: `For resources that cannot compare fences themselves: before each step of the work, ask whether its fence is still the
highest. The highest one is printed. If a higher one was seen, the lock has been granted anew: exit code 4, and the step
must not be done.`,
		Example: "  prytany fence db/backup $PRYTANY_LOCK_FENCE && ./write.sh\n  prytany fence db/backup",
		Args:    cli.RangeArgs(1, 2, "RESOURCE"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.Client()
			if err != nil {
				return err
			}
			r := client.Call{Path: "fences/" + client.EscapeName(args[0])}
			if len(args) == 2 {
				n, err := api.ParseNumber(args[1])
				if err != nil || n == 0 {
					return cli.Usage("fence: %q: want a fence, a number from 1", args[1]).Try("prytany fence " + cli.Shown(args[0]) + " $PRYTANY_LOCK_FENCE")
				}
				if r.Body, err = json.Marshal(api.Fence{Fence: n}); err != nil {
					return err
				}
				r.Method, r.Header = http.MethodPut, http.Header{"Content-Type": {api.TypeJSON}}
			}
			out, err := cli.Fetch[api.Highest](cmd.Context(), c, r)
			switch p := cli.ProblemOf(err); {
			case errors.Is(err, client.ErrStaleFence) && p != nil:
				return cli.Failure(cli.CodeRefused, "%s has seen fence %d, which is higher than %s", args[0], p.CurrentFence, args[1])
			case errors.Is(err, client.ErrNotFound):
				return cli.Failure(cli.CodeNotFound, "%s has seen no fence", args[0])
			case err != nil:
				return err
			case a.JSON():
				return a.PrintJSON(out)
			}
			_, err = fmt.Fprintln(a.Stdout, out.Highest)
			return err
		},
	}
}

func (a app) txnCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "txn -|@FILE",
		Short: "Run a transaction: conditions, and what to do if they hold or if not",
		Long: `Reads a transaction as JSON, as POST /v1/transactions takes it, runs it in one step and prints what it did. Exit code 4
says that a condition did not hold; what is in else was done then.`,
		Example: `  echo '{"if":[{"key":"a","exists":false}],"then":[{"put":"a","value":"1"}]}' | prytany txn -`,
		Args:    cli.ExactArgs(1, "- or @FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] != "-" && args[0][:min(1, len(args[0]))] != "@" {
				return cli.Usage("txn: %q: want - or @FILE", args[0]).Try("prytany txn @txn.json")
			}
			body, err := a.readValue(args[0])
			if err != nil {
				return err
			}
			var probe api.Transaction
			dec := json.NewDecoder(bytes.NewReader(body))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&probe); err != nil {
				return cli.Usage("txn: %v", err).Try("prytany txn --help")
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			out, err := cli.Fetch[api.Transacted](cmd.Context(), c, client.Call{
				Method: http.MethodPost, Path: "transactions", Body: body, Header: http.Header{"Content-Type": {api.TypeJSON}},
			})
			if err != nil {
				return err
			}
			if !out.Succeeded {
				a.Code = cli.CodeRefused
			}
			return a.showTxn(out)
		},
	}
}

func (a app) showTxn(out api.Transacted) error {
	if a.JSON() {
		return a.PrintJSON(out)
	}
	for _, f := range out.Failed {
		a.Say("prytany: condition %d does not hold: at %d", f.Index, f.Current)
	}
	t := cli.NewTable("KEY", "DONE", "REVISION", "VALUE")
	for _, r := range out.Results {
		row := []string{r.Key, r.Op, "-", "-"}
		switch {
		case r.Deleted != nil:
			row[3] = fmt.Sprintf("(%d deleted)", *r.Deleted)
		case r.Entry != nil:
			value, err := r.Entry.Bytes()
			if err != nil {
				return err
			}
			row[2], row[3] = fmt.Sprint(r.Entry.Revision), cli.Dash(preview(value))
		}
		t.Add(row...)
	}
	return a.Print(t)
}
