package nodes

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/cmd/prytany/internal/curl"
	"github.com/prytany/prytany/cmd/prytany/internal/doctor"
)

func (a app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check a cluster from outside, and say what to do about what is wrong",
		Long: `Asks every address of --addr, and every node that they know of: can it be reached, do the groups have a quorum and how
many more failures do they survive, do gossip, links and groups agree, are clocks, disks and versions as they should be.
Exit code 1 if something is not.`,
		Args: cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.NodeClient()
			if err != nil {
				return err
			}
			if a.Curl {
				for _, u := range c.Endpoints() {
					req, err := http.NewRequest(http.MethodGet, u+"/v1/status", nil)
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintln(a.Stdout, curl.Line(req, nil)); err != nil {
						return err
					}
				}
				return nil
			}
			r := &cli.Reach{Say: func(string, ...any) {}}
			checks := doctor.Examine(cmd.Context(), r.HTTPClient(), c.Endpoints())
			if err := cmd.Context().Err(); err != nil {
				return err
			}
			return a.showChecks(checks)
		},
	}
}

func (a app) showChecks(checks []doctor.Check) error {
	for _, c := range checks {
		if !c.OK {
			a.Code = cli.CodeError
		}
	}
	switch {
	case a.JSON():
		return cli.PrintList(a.App, checks)
	case a.Output == "name":
		for _, c := range checks {
			if !c.OK {
				if err := a.PrintName(c.Name); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, c := range checks {
		if _, err := io.WriteString(a.Stdout, a.tick(c.OK)); err != nil {
			return err
		}
		a.Printf(" %s: %s\n", c.Name, c.Detail)
		if !c.OK {
			a.Printf("  try: %s\n", c.Hint)
		}
	}
	return nil
}

// tick is a mark, coloured on a terminal whose user does not mind.
func (a app) tick(ok bool) string {
	mark, colour := "✓", "32"
	if !ok {
		mark, colour = "✗", "31"
	}
	f, file := a.Stdout.(*os.File)
	if !file || !cli.IsTerminal(f) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return mark
	}
	return "\x1b[" + colour + "m" + mark + "\x1b[0m"
}
