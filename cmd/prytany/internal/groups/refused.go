package groups

import (
	"github.com/prytany/prytany/cmd/prytany/internal/cli"
	"github.com/prytany/prytany/internal/api"
)

// refused says why a change of groups or members was refused, and what to do; name
// is the group or node that it was about.
func refused(err error, name string) error {
	p := cli.ProblemOf(err)
	if p == nil {
		return err
	}
	shown := cli.Shown(name)
	switch api.Code(p.Code) {
	case api.CodeGroupUnknown:
		return cli.Failure(cli.CodeNotFound, "there is no group %s", name).Try("prytany groups")
	case api.CodeNodeUnknown:
		return cli.Failure(cli.CodeNotFound, "%s", p.Detail).Try("prytany members")
	case api.CodeGroupExists:
		return cli.Failure(cli.CodeRefused, "%s", p.Detail).Try("prytany group show " + shown)
	case api.CodeGroupBusy:
		return cli.Failure(cli.CodeRefused, "%s", p.Detail).Try("prytany groups, which shows the change under way, and again when it is done")
	case api.CodeTooFewNodes:
		return cli.Failure(cli.CodeRefused, "%s", p.Detail).Try("prytany members")
	case api.CodeNodeRemoved:
		return cli.Failure(cli.CodeRefused, "%s", p.Detail).Try("prytany members; a node that was removed comes back only as a new one, with an empty data directory")
	case api.CodeQuorumAtRisk:
		return cli.Failure(cli.CodeRefused, "%s", p.Detail).Try("prytany members; bring back who is down, or say --force if it is gone for good")
	case api.CodeMainGroup:
		return cli.Failure(cli.CodeRefused, "%s", p.Detail).Try("prytany member --help for what can be done to main")
	case api.CodeTooManyGroups:
		return cli.Failure(cli.CodeRefused, "%s", p.Detail).Try("prytany groups")
	}
	return err
}
