package main

import "github.com/spf13/cobra"

// addCommands adds the commands that look, write files or print.
func (a *app) addCommands(root *cobra.Command) {
	parent(root)
	root.AddCommand(
		a.demoCommand(), a.discoverCommand(), a.getCommand(),
		a.simCommand(), a.catCommand(), a.schemaCommand(), a.initCommand(), a.checkCommand(), a.planCommand(), a.previewCommand(), a.statusCommand(),
		a.ledgerCommand(), a.retryCommand(), a.forgetCommand(), a.verifyCommand(), a.reportCommand(), a.sqlCommand(),
	)
}
