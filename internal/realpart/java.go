package realpart

import (
	"os"
	"path/filepath"
)

// Java returns options of java for a server in the folder of an installed part: a compiler that is ready sooner, and the classes that
// `.ci/parts.sh` put down in the form in which the virtual machine holds them, if it did. A machine that can't use them reads the jar files.
func Java(part string) []string {
	options := []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	archive := filepath.Join(part, "classes.jsa")
	if _, err := os.Stat(archive); err == nil {
		options = append(options, "-XX:SharedArchiveFile="+archive)
	}
	return options
}
