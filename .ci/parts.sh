#!/usr/bin/env bash
# Installs the servers and readers that tests run against, each below .tools/parts: parts.sh [NAME]... Without arguments: all that
# .ci/parts has a script for. A script is sourced with PART (the folder to fill) and has
#
#   VERSION=...     what the stamp says; another version installs anew
#   install_part()  fills $PART; it may use missing_part and return 1 when this machine can't have it, and share_classes
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PARTS=$TOOLS/parts
mkdir -p "$PARTS"
exec 8>"$PARTS/lock"
if command -v flock >/dev/null; then flock 8; fi

# random_port prints a port that is likely to be free.
random_port() { echo $((20000 + RANDOM % 10000)); }

# share_classes PORT CLASS [ARGUMENT]... starts a Java server of $PART/libs until it listens on PORT, and keeps the classes that it has loaded by
# then in $PART/classes.jsa, from which tests start it for a third less (internal/realpart, Java). Where that fails, tests do without.
share_classes() {
	local port=$1 pid
	shift
	java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit="$PART/classes.jsa" -cp "$PART/libs/*" "$@" >"$WORK/classes.log" 2>&1 &
	pid=$!
	for _ in {1..120}; do
		kill -0 "$pid" 2>/dev/null || break
		if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			sleep 2
			break
		fi
		sleep 0.5
	done
	kill "$pid" 2>/dev/null || true
	for _ in {1..120}; do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.5
	done
	kill -KILL "$pid" 2>/dev/null || true # an archive that isn't whole is none to the virtual machine
	wait "$pid" || true
}

# install_one NAME runs in a subshell, so that scripts don't see each other's names.
install_one() (
	PART=$PARTS/$1
	VERSION=""
	# shellcheck disable=SC1090 # the part's own script
	source ".ci/parts/$1.sh"
	[ -n "$VERSION" ] || die ".ci/parts/$1.sh sets no VERSION"
	[ "$(cat "$PART/stamp" 2>/dev/null)" != "$VERSION" ] || exit 0
	say "installing $1 $VERSION"
	rm -rf "$PART" && mkdir -p "$PART"
	install_part || exit 1
	printf '%s\n' "$VERSION" >"$PART/stamp"
)

if [ $# -eq 0 ]; then
	shopt -s nullglob
	for script in .ci/parts/*.sh; do
		name=${script##*/}
		set -- "$@" "${name%.sh}"
	done
fi
failed=()
for name in "$@"; do
	[ -f ".ci/parts/$name.sh" ] || die "parts.sh: no part is called $name"
	begin=$SECONDS
	if install_one "$name"; then
		[ $((SECONDS - begin)) -lt 2 ] || say "installed $name ($((SECONDS - begin))s)"
	else
		failed+=("$name")
	fi
done
if [ ${#failed[@]} -gt 0 ]; then
	[ "${SLUICE_REQUIRE_PARTS:-}" != 1 ] || die "parts: ${failed[*]}"
	say "not installed: ${failed[*]}; tests that need them are named at the end"
fi
