package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-io/sluice/proto/wire"
)

// versionLine is what `version --json` prints.
type versionLine struct {
	V        int    `json:"v"`
	TS       string `json:"ts"`
	Event    string `json:"event"` // "version"
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a work tree with changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Arrow    string `json:"arrow,omitempty"`
	Protocol int    `json:"protocol"` // of plugins
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactArgs(0),
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if a.json {
				a.printJSON(v)
				return nil
			}
			commit := v.Commit
			if v.Modified {
				commit += " (modified)"
			}
			return a.printTable([][]string{
				{"sluice", v.Version},
				{"commit", commit},
				{"go", v.Go + " " + v.Platform},
				{"arrow", v.Arrow},
				{"protocol", fmt.Sprint(v.Protocol)},
			})
		},
	}
}

func readVersion() versionLine {
	v := versionLine{
		V: 1, TS: stamp(time.Now()), Event: "version", Version: buildVersion(), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Protocol: wire.ProtocolVersion,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	for _, d := range info.Deps {
		if d.Path == "github.com/apache/arrow/go/v15" {
			v.Arrow = d.Version
		}
	}
	return v
}
