package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// unknownCommand names what was typed and the nearest command.
func unknownCommand(c *cobra.Command, name string) error {
	text := fmt.Sprintf("%q is no command of `%s`", name, c.CommandPath())
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(name); len(near) > 0 {
		text += "; did you mean `" + strings.Join(near, "` or `") + "`?"
	}
	return usageError(fmt.Errorf("%s\n  see `%s --help`", text, c.CommandPath()))
}

// parent makes a command that only has commands below it print its help, and name the nearest one for a typing mistake.
func parent(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(c, args[0])
		}
		return nil
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}
