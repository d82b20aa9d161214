package main

import (
	"bytes"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/host/config"
)

func (a *app) schemaCommand() *cobra.Command {
	var table bool
	c := &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the config file",
		Long:    "schema prints the JSON Schema of the config file, for editors; --table prints every key of the file as a Markdown table.",
		Example: "  sluice schema > sluice.schema.json",
		Args:    exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			if table {
				return a.printText(config.Table())
			}
			text, err := a.schema()
			if err != nil {
				return failedError(err)
			}
			return a.printText(text + "\n")
		},
	}
	c.Flags().BoolVar(&table, "table", false, "print a Markdown table of the keys instead")
	return c
}

// schema is indented for people, one line with --json.
func (a *app) schema() (string, error) {
	text, err := config.Schema(registry())
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if a.json {
		err = json.Compact(&b, text)
	} else {
		err = json.Indent(&b, text, "", "  ")
	}
	return string(bytes.TrimSpace(b.Bytes())), err
}
