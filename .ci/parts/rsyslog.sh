# shellcheck shell=bash disable=SC2034 # sourced by parts.sh
# rsyslogd and its TLS driver, unpacked from Debian's packages: the machine's own configuration isn't touched and no service starts.
VERSION="8 with openssl"

install_part() {
	if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
		missing_part rsyslog "a machine with apt-get and dpkg-deb"
		return 1
	fi
	local packages=(rsyslog rsyslog-openssl libestr0 libfastjson4 liblognorm5) deb lib
	mkdir -p "$PART/debs"
	download() (cd "$PART/debs" && apt-get download -qq "${packages[@]}" >&2)
	# Without lists, or with old ones, apt finds no package: get them and ask again.
	download 2>/dev/null || { apt-get update -qq >&2 && download; } || {
		missing_part rsyslog "apt-get update, then .ci/parts.sh rsyslog"
		return 1
	}
	for deb in "$PART"/debs/*.deb; do dpkg-deb -x "$deb" "$PART/root" || return 1; done
	rm -rf "$PART/debs"
	lib=$(dirname "$(find "$PART/root" -name 'libestr.so.0' -print -quit)")
	ln -s "${lib#"$PART/"}" "$PART/lib"
	LD_LIBRARY_PATH=$PART/lib "$PART/root/usr/sbin/rsyslogd" -v >/dev/null
}
