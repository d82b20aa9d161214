# shellcheck shell=bash disable=SC2034 # sourced by parts.sh
# An OpenTelemetry Collector of the core's own parts, built from internal/realpart/otelcol/collector.
COLLECTOR=$ROOT/internal/realpart/otelcol/collector
VERSION="$(cat "$COLLECTOR/main.go" "$COLLECTOR/go.mod" "$COLLECTOR/go.sum" | cksum) $(go env GOVERSION)"

install_part() {
	(cd "$COLLECTOR" && GOFLAGS='' GOWORK=off CGO_ENABLED=0 nice go build -trimpath -ldflags='-s -w' -o "$PART/otelcol" .) || return 1
	"$PART/otelcol" --version >/dev/null
}
