// Package nodes has the commands about nodes: to run them, alone or several in
// one process, and to look at them.
package nodes

import (
	"github.com/spf13/cobra"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
)

// An app is one run of the command.
type app struct{ *cli.App }

// Commands returns the commands of this package.
func Commands(c *cli.App) []*cobra.Command {
	a := app{c}
	return []*cobra.Command{
		a.devCommand(), a.serveCommand(), a.configCommand(),
		a.statusCommand(), MembersCommand(c, "members"), a.doctorCommand(),
	}
}
