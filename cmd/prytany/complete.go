package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/client"
	"github.com/prytany/prytany/internal/api"
)

// completeWithin bounds what a press of the tab key may cost.
const completeWithin = time.Second

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the script that completes commands, lock names and keys",
		Example: "  source <(prytany completion bash)\n  prytany completion zsh > \"${fpath[1]}/_prytany\"\n" +
			"  prytany completion fish > ~/.config/fish/completions/prytany.fish",
		Args:              exactArgs(1, "bash, zsh, fish or powershell"),
		ValidArgsFunction: cobra.FixedCompletions([]string{"bash", "zsh", "fish", "powershell"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usage("completion: %q: want bash, zsh, fish or powershell", args[0]).try("prytany completion bash")
		},
	}
}

func (a *app) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, c := range cmd.Root().Commands() {
				names = append(names, c.Name())
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return a.unknownCommand(cmd.Root(), strings.Join(args, " "))
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

// completer completes the first argument of a command.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeFrom completes with what list finds. Whatever goes wrong, there are
// just no proposals.
func (a *app) completeFrom(list func(context.Context, *client.Client, string) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(context.Background(), completeWithin)
		defer cancel()
		a.stderr = nil // the terminal shows a half-typed line
		c, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names, err := list(ctx, c, begun)
		if err != nil {
			names = nil
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (a *app) completeLocks() completer {
	return a.completeFrom(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return fetchAll(ctx, c, "locks", begun, func(b []byte) (names []string, next string, err error) {
			var p api.Locks
			err = json.Unmarshal(b, &p)
			for _, l := range p.Locks {
				names = append(names, l.Name)
			}
			return names, p.Next, err
		})
	})
}

func (a *app) completeKeys() completer {
	return a.completeFrom(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return fetchAll(ctx, c, "config", begun, func(b []byte) (keys []string, next string, err error) {
			var p api.Entries
			err = json.Unmarshal(b, &p)
			for _, e := range p.Entries {
				keys = append(keys, e.Key)
			}
			return keys, p.Next, err
		})
	})
}

func (a *app) completeSessions() completer {
	return a.completeFrom(func(ctx context.Context, c *client.Client, begun string) ([]string, error) {
		return fetchAll(ctx, c, "sessions", "", func(b []byte) (ids []string, next string, err error) {
			var p api.Sessions
			err = json.Unmarshal(b, &p)
			for _, s := range p.Sessions {
				if strings.HasPrefix(s.ID, begun) {
					ids = append(ids, s.ID+"\t"+s.Name)
				}
			}
			return ids, p.Next, err
		})
	})
}
