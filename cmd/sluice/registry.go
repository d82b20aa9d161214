package main

import (
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/sluice-io/sluice/host/config"
	"github.com/sluice-io/sluice/plugins"
	"github.com/sluice-io/sluice/plugins/elsa"
	"github.com/sluice-io/sluice/plugins/logentries"
	"github.com/sluice-io/sluice/plugins/rapid7download"
	"github.com/sluice-io/sluice/plugins/rapid7usage"
	"github.com/sluice-io/sluice/sinks"
	"github.com/sluice-io/sluice/sinks/arrowfile"
	"github.com/sluice-io/sluice/sinks/file"
	"github.com/sluice-io/sluice/sinks/kafka"
	"github.com/sluice-io/sluice/sinks/object"
	"github.com/sluice-io/sluice/sinks/opensearch"
	"github.com/sluice-io/sluice/sinks/otlp"
	"github.com/sluice-io/sluice/sinks/parquet"
	"github.com/sluice-io/sluice/sinks/postgres"
	"github.com/sluice-io/sluice/sinks/splunkhec"
	"github.com/sluice-io/sluice/sinks/stdout"
	"github.com/sluice-io/sluice/sinks/syslog"
)

// version is set by the linker for releases.
var version = ""

// buildVersion is the released version, else the module's.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}

// builtinSources are the sources inside this binary, each started as a process of its own.
func builtinSources() []plugins.Definition {
	return []plugins.Definition{rapid7download.Definition(), rapid7usage.Definition(), logentries.Definition(), elsa.Definition()}
}

// builtinSinks are the sinks inside this binary.
func builtinSinks() []sinks.Definition {
	return []sinks.Definition{
		arrowfile.Definition,
		file.Definition,
		kafka.Definition,
		object.Definition,
		opensearch.Definition,
		otlp.Definition,
		parquet.Definition,
		postgres.Definition,
		splunkhec.Definition,
		stdout.Definition,
		syslog.Definition,
	}
}

// registry is what a config file may name.
func registry() config.Registry {
	reg := config.Registry{Sources: map[string]config.SourceType{}, Sinks: map[string]config.SinkType{}}
	for _, d := range builtinSources() {
		t := config.SourceType{Schema: d.Config}
		for _, s := range d.Streams {
			t.Streams = append(t.Streams, s.Name)
			if s.Main {
				t.Main = append(t.Main, s.Name)
			}
		}
		reg.Sources[d.Name] = t
	}
	for _, d := range builtinSinks() {
		reg.Sinks[d.Type] = config.SinkType{Schema: d.Config}
	}
	return reg
}

func sourceDefinition(name string) (plugins.Definition, error) {
	all := builtinSources()
	i := slices.IndexFunc(all, func(d plugins.Definition) bool { return d.Name == name })
	if i < 0 {
		return plugins.Definition{}, fmt.Errorf("no built-in source is called %q; `sluice plugin list` names them", name)
	}
	return all[i], nil
}

func sinkDefinition(name string) (sinks.Definition, error) {
	all := builtinSinks()
	i := slices.IndexFunc(all, func(d sinks.Definition) bool { return d.Type == name })
	if i < 0 {
		return sinks.Definition{}, fmt.Errorf("no sink is of type %q", name)
	}
	return all[i], nil
}
