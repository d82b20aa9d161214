# shellcheck shell=bash disable=SC2034 # sourced by parts.sh
# PostgreSQL: the programs of this machine if it has them, else Debian's package. Tests make their own clusters with initdb; the
# package's own service isn't started.
VERSION="a folder of programs"

# postgres_programs prints the folder of initdb and postgres.
postgres_programs() {
	local dir
	if command -v initdb >/dev/null && dir=$(dirname "$(readlink -f "$(command -v initdb)")") && [ -x "$dir/postgres" ]; then
		printf '%s\n' "$dir"
		return
	fi
	for dir in /usr/lib/postgresql/*/bin; do
		if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then
			printf '%s\n' "$dir"
			return
		fi
	done
	return 1
}

install_part() {
	if ! postgres_programs >/dev/null; then
		if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
			missing_part postgres "apt-get install postgresql, then .ci/parts.sh postgres"
			return 1
		fi
		mkdir -p /etc/postgresql-common
		[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
		install_packages() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2; }
		install_packages 2>/dev/null || { apt-get update -qq >&2 && install_packages; } || {
			missing_part postgres "apt-get update, then .ci/parts.sh postgres"
			return 1
		}
	fi
	local dir
	dir=$(postgres_programs) || return 1
	ln -s "$dir" "$PART/bin"
	"$PART/bin/postgres" --version >/dev/null
}
