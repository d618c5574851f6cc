package nodes

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/prytany/prytany/cmd/prytany/internal/cli"
)

// A setting is one line of `prytany config`.
type setting struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
	From  string `json:"from"` // "default", "file", "environment" or "flag"
}

func (a app) configCommand() *cobra.Command {
	var path, check string
	cmd := &cobra.Command{
		Use:   "config [--config FILE]",
		Short: "Print with which settings serve would run, and where each comes from",
		Long: `Prints with which settings serve would run if it were called with the same flags, environment and file, and where each
of them comes from. --check FILE says whether a file is one that serve takes, and nothing else.`,
		Example: "  prytany config --config node.yaml\n  prytany config --check node.yaml",
		Args:    cli.ExactArgs(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check != "" {
				cfg, _, err := mergeServe(cmd, check)
				if err == nil {
					err = cfg.check()
				}
				if err == nil {
					_, err = a.logger(cfg.LogLevel, cfg.LogFormat)
				}
				if err != nil {
					return err
				}
				a.Say("%s is fine", check)
				return nil
			}
			cfg, inFile, err := mergeServe(cmd, path)
			if err != nil {
				return err
			}
			return a.showSettings(a.settings(cmd, cfg, inFile))
		},
	}
	serveFlags(cmd.Flags(), &path)
	cmd.Flags().StringVar(&check, "check", "", "only say whether this `file` is good")
	cmd.MarkFlagsMutuallyExclusive("check", "config")
	return cmd
}

// settings tells where each field of cfg comes from.
func (a app) settings(cmd *cobra.Command, cfg serveConfig, inFile []string) (list []setting) {
	v := reflect.ValueOf(cfg)
	for i := range v.NumField() {
		s := setting{Name: v.Type().Field(i).Tag.Get("koanf"), Value: v.Field(i).Interface(), From: "default"}
		switch {
		case a.FromEnv[s.Name]:
			s.From = "environment"
		case cmd.Flags().Changed(s.Name):
			s.From = "flag"
		case slices.Contains(inFile, s.Name):
			s.From = "file"
		}
		if l, ok := s.Value.([]string); ok && l == nil {
			s.Value = []string{}
		}
		list = append(list, s)
	}
	return list
}

func (a app) showSettings(list []setting) error {
	if a.JSON() {
		return cli.PrintList(a.App, list)
	}
	t := cli.NewTable("SETTING", "VALUE", "FROM")
	for _, s := range list {
		text := fmt.Sprint(s.Value)
		if l, ok := s.Value.([]string); ok {
			text = strings.Join(l, ",")
		}
		t.Add(s.Name, cli.Dash(text), s.From)
	}
	return a.Print(t)
}
