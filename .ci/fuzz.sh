#!/usr/bin/env bash
# Runs every fuzz target for FUZZTIME (default 10s). TEST_PKGS narrows the packages. A failing input is left in the package's
# testdata/fuzz: commit it with the fix.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FUZZTIME=${FUZZTIME:-10s}
read -ra pkgs <<<"${TEST_PKGS:-./...}"
found=$(packages_with '^func Fuzz' "${pkgs[@]}")
[ -n "$found" ] || die "no package has a fuzz target: ${pkgs[*]}"
mapfile -t found <<<"$found"

# ended_by_time reports whether a run failed by nothing but the end of its time.
ended_by_time() { grep -q '^ *context deadline exceeded$' <<<"$1" && ! grep -q 'Failing input\|panic\|_test\.go:' <<<"$1"; }

failed=()
count=0
for dir in "${found[@]}"; do
	pkg=.${dir#"$ROOT"}
	targets=$(go test -list '^Fuzz' "$pkg") || die "$pkg: listing fuzz targets"
	targets=$(grep '^Fuzz' <<<"$targets") || die "$pkg: a test file declares a fuzz target, go test lists none (build tags?)"
	for target in $targets; do
		count=$((count + 1))
		begin=$SECONDS
		fuzz() { output=$(go test -run '^$' -fuzz "^$target\$" -fuzzminimizetime 20x -fuzztime "$FUZZTIME" "$pkg" 2>&1); }
		# Go's own fuzzer may take the end of its time for a failure (go.dev/issue/75804): then there is no input that failed. Once more.
		if fuzz || { ended_by_time "$output" && fuzz; }; then
			echo "ok    $pkg $target ($((SECONDS - begin))s) $(grep -o 'execs: [0-9]*' <<<"$output" | tail -n 1)"
		else
			printf '%s\nFAIL  %s %s\n' "$output" "$pkg" "$target"
			failed+=("$pkg $target")
		fi
	done
done
[ ${#failed[@]} -eq 0 ] || die "fuzz: ${failed[*]}"
echo "$count fuzz targets, $FUZZTIME each"
