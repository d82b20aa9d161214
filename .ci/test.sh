#!/usr/bin/env bash
# Runs the tests: first all but TestNoRace*, with the race detector; then TestNoRace* (memory and speed) in binaries without it, one
# package at a time so that they don't disturb one another.
#
#   test.sh       both passes
#   test.sh soak  only the second, with SLUICE_SOAK=1 (full size) and an hour for each package
#
# Tests do all of what is alike (SLUICE_TEST_SIZE=full) where a plain `go test ./...` does a sample.
# TEST_PKGS narrows the packages (default ./...), TEST_FLAGS adds flags of go test, TEST_SLOWEST is how many of the slowest tests are named
# (10). SLUICE_REQUIRE_PARTS=1: a part that can't run is
# a failure, and so is any skipped test.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

limit=25m
export SLUICE_TEST_SIZE=full
case ${1:-} in
"") ;;
soak)
	limit=1h
	export SLUICE_SOAK=1
	;;
*) die "usage: test.sh [soak]" ;;
esac

read -ra pkgs <<<"${TEST_PKGS:-./...}"
read -ra flags <<<"${TEST_FLAGS:-}"
report_flags=(-slowest "${TEST_SLOWEST:-10}")
[ "${SLUICE_REQUIRE_PARTS:-}" != 1 ] || report_flags+=(-forbid-skips)
go build -o "$WORK/testreport" ./internal/testreport

# The tests sync thousands of small files. What they prove of a crash doesn't rest on the disk (a killed process loses no
# page), so they run in memory where there is room.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] && [ "$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')" -gt $((8 << 20)) ]; then
	memory=$(mktemp -d /dev/shm/s.XXXX)
	export TMPDIR=$memory
fi

# Results are never taken from the cache: a cached pass says nothing about the programs that are on this machine now.
run() { GOTMPDIR=$WORK go test -json -count=1 -timeout "$limit" "$@" | "$WORK/testreport" "${report_flags[@]}"; }

failed=()
if [ "${SLUICE_SOAK:-}" != 1 ]; then
	race=(-race)
	if has_race; then
		echo "== tests, with the race detector"
	else
		echo "== tests"
		race=()
		missing_part "race detector" "install a C compiler (apt-get install gcc libc6-dev) and leave CGO_ENABLED unset"
	fi
	# Tests that start sluice hundreds of times take it without the detector, under which a start costs five times as much (programEnv).
	if [ ${#race[@]} -gt 0 ] && go list "${pkgs[@]}" | grep -q '/cmd/sluice$' && go test -c -o "$WORK/sluice.test" ./cmd/sluice; then
		export SLUICE_TEST_PROGRAM=$WORK/sluice.test
	fi
	# At the end of a process the detector waits for a second by default.
	GORACE=${GORACE:-atexit_sleep_ms=0} run "${race[@]}" -skip '^TestNoRace' "${flags[@]}" "${pkgs[@]}" || failed+=("tests")
fi

measured=$(packages_with '^func TestNoRace' "${pkgs[@]}")
if [ -n "$measured" ]; then
	echo "== tests of memory and speed, without the race detector"
	mapfile -t measured <<<"$measured"
	run -p 1 -run '^TestNoRace' "${flags[@]}" "${measured[@]}" || failed+=("tests of memory and speed")
else
	echo "== no tests of memory and speed in: ${pkgs[*]}"
fi

[ -z "${memory:-}" ] || rm -rf "$memory"
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
