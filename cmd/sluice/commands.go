package main

import "github.com/spf13/cobra"

// addCommands adds the commands that look, write files or print.
func (a *app) addCommands(root *cobra.Command) {}

func (a *app) addPluginCommands(c *cobra.Command) {}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: exactArgs(0), RunE: func(*cobra.Command, []string) error {
		return nil
	}}
}
