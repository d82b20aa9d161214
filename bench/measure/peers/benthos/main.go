// Benthos is the engine of Redpanda Connect with the parts of its core, which are under the MIT licence: what bench/run.sh measures `sluice run` beside
// on a machine without Redpanda Connect. It is a module of its own, for what it needs is no business of the module above it.
package main

import (
	"context"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() { service.RunCLI(context.Background()) }
