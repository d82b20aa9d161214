package main

import (
	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/plugins"
)

func (a *app) pluginCommand() *cobra.Command {
	c := &cobra.Command{Use: "plugin", Short: "List and describe plugins"}
	c.AddCommand(&cobra.Command{
		Use: "serve NAME", Hidden: true, Args: exactArgs(1),
		Short: "Serve a built-in source; the host runs this",
		RunE: func(_ *cobra.Command, args []string) error {
			d, err := sourceDefinition(args[0])
			if err != nil {
				return usageError(err)
			}
			d.Version = buildVersion()
			plugins.Serve(d)
			return nil
		},
	})
	a.addPluginCommands(c)
	return c
}
