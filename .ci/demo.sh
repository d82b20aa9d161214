#!/usr/bin/env bash
# Runs `sluice demo` twice in a folder of its own: it must end well, leave committed data, be safe to repeat, and take less than 20 s.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ -x bin/sluice ] || die "bin/sluice is missing: run make build"

cd "$WORK"
for round in first second; do
	begin=$SECONDS
	status=0
	timeout 60 "$ROOT/bin/sluice" demo </dev/null || status=$?
	took=$((SECONDS - begin))
	[ "$status" = 0 ] || die "demo, $round run: exit $status"
	[ "$took" -lt 20 ] || die "demo, $round run: took ${took}s, 20 are allowed"
	data=$(find sluice-demo -type f -path '*/stream=*' -size +0 ! -path '*/_*' ! -path '*/.*' | wc -l)
	[ "$data" -gt 0 ] || die "demo, $round run: no data file under sluice-demo"
	echo "ok    demo, $round run: ${took}s, $data data files"
done
