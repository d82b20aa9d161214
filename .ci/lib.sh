# shellcheck shell=bash
# Sourced by the scripts beside it, from any folder; leaves the shell in the repository's root.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ROOT=$PWD
TOOLS=$ROOT/.tools
export PATH="$TOOLS/bin:$PATH"

say() { printf '%s\n' "$*" >&2; }

die() {
	say "error: $*"
	exit 1
}

# A folder for what the script needs while it runs.
WORK=$(mktemp -d)

# A part that can't run here is written down and named at the end, with the command that would enable it. The outermost script owns
# the list and prints it; SLUICE_REQUIRE_PARTS=1 makes a missing part a failure at once.
OWNS_PARTS=0
if [ -z "${SLUICE_MISSING_PARTS:-}" ]; then
	OWNS_PARTS=1
	export SLUICE_MISSING_PARTS=$WORK/missing-parts
fi

at_exit() {
	local status=$?
	if [ "$OWNS_PARTS" = 1 ] && [ -s "$SLUICE_MISSING_PARTS" ]; then
		say ""
		say "NOT RUN on this machine (part: how to enable it)"
		sort -u "$SLUICE_MISSING_PARTS" | sed 's/^/  /' >&2
	fi
	rm -rf "$WORK"
	exit "$status"
}
trap at_exit EXIT

# missing_part NAME REMEDY
missing_part() {
	if [ "${SLUICE_REQUIRE_PARTS:-}" = 1 ]; then
		die "$1 can't run here, and SLUICE_REQUIRE_PARTS=1 forbids leaving it out; to enable it: $2"
	fi
	printf '%s: %s\n' "$1" "$2" >>"$SLUICE_MISSING_PARTS"
}

# has_race says whether the race detector, which needs cgo and a C compiler, works here. go env answers 0 for cgo without a compiler.
has_race() { [ "$(go env CGO_ENABLED)" = 1 ]; }

# go_files prints every Go file that people write, NUL between them. Generated code and test data have their own manner.
go_files() {
	find . \( -path ./.tools -o -path ./.git -o -name testdata -o -name node_modules \) -prune -o \
		-type f -name '*.go' ! -name '*.pb.go' -print0
}

# packages_with PATTERN PACKAGE... prints the folders of those packages whose test files have a line that matches, one a line.
packages_with() {
	local pattern=$1 dirs dir
	shift
	dirs=$(go list -e -f '{{.Dir}}' "$@") || return 1
	while read -r dir; do
		if cat "$dir"/*_test.go 2>/dev/null | grep -E "$pattern" >/dev/null; then
			printf '%s\n' "$dir"
		fi
	done <<<"$dirs"
}
