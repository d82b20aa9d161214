package main

import (
	"github.com/sluice-io/sluice/host/pipeline"
	"github.com/sluice-io/sluice/host/spool"
)

// openSpool opens what a run keeps its slices in, if the pipeline has a spool.
func (p *assembled) openSpool() error {
	c := p.config.Spool
	if c == nil {
		return nil
	}
	settings, err := p.config.Source.Config.SettingsHash(p.schema)
	if err != nil {
		return err
	}
	store, err := spool.Open(c.Path, c.Max)
	if err != nil {
		return asUsage(err)
	}
	p.run.Spool = &pipeline.Spool{Store: store, Origin: spool.Origin{
		Source: p.run.SourceName, Version: p.run.SourceVer, Sluice: buildVersion(), Settings: settings,
	}}
	return nil
}
