# shellcheck shell=bash
# Versity S3 Gateway: an S3 server over a folder, built from the Go module proxy.
# shellcheck disable=SC2034 # read by parts.sh
VERSION=1.8.0

install_part() {
	GOBIN=$PART GOFLAGS="" nice -n 5 go install "github.com/versity/versitygw/cmd/versitygw@v$VERSION" || return 1
	"$PART/versitygw" --version >/dev/null
}
