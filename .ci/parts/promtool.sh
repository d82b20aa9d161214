# shellcheck shell=bash disable=SC2034 # sourced by parts.sh
# promtool, unpacked from Debian's package of Prometheus: no service starts, and nothing else of the package is kept.
VERSION="of Debian's prometheus"

install_part() {
	if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
		missing_part promtool "a machine with apt-get and dpkg-deb"
		return 1
	fi
	download() (cd "$PART" && apt-get download -qq prometheus >&2)
	# Without lists, or with old ones, apt finds no package: get them and ask again.
	download 2>/dev/null || { apt-get update -qq >&2 && download; } || {
		missing_part promtool "apt-get update, then .ci/parts.sh promtool"
		return 1
	}
	dpkg-deb --fsys-tarfile "$PART"/prometheus_*.deb | tar -x -C "$PART" --strip-components=3 ./usr/bin/promtool || return 1
	rm -f "$PART"/*.deb
	"$PART/promtool" --version >/dev/null
}
