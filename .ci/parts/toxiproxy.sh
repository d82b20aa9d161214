# shellcheck shell=bash
# Toxiproxy: cuts, slows and breaks connections between what tests run, built from the Go module proxy.
# shellcheck disable=SC2034 # read by parts.sh
VERSION=2.12.0

install_part() {
	GOBIN=$PART GOFLAGS="" nice -n 5 go install "github.com/Shopify/toxiproxy/v2/cmd/server@v$VERSION" || return 1
	mv "$PART/server" "$PART/toxiproxy"
}
