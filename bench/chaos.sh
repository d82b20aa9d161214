#!/usr/bin/env bash
# Chaos: ROUNDS (100) rounds of TestChaos into each exactly-once sink, one sink after another, as many drawn rounds of each source, and as many kills
# of TestWires, into bench/CHAOS.md. SEED is the first round's seed, else one is drawn; a round that fails is named, with what plays it again.
# shellcheck source=../.ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../.ci/lib.sh"

rounds=${ROUNDS:-100}
seed=${SEED:-$((RANDOM * 32768 + RANDOM))}
logs=$TOOLS/chaos # where what the tests print is kept
mkdir -p "$logs"
.ci/parts.sh
go test -c -o "$WORK/chaos.test" ./cmd/sluice
commit=$(git describe --always --dirty 2>/dev/null) || commit="without a repository"

# play NAME FLAG... runs some tests in their package's folder and keeps what they print.
failed=()
play() {
	local name=$1
	shift
	say "$name: $rounds rounds from seed $seed"
	(cd cmd/sluice && "$WORK/chaos.test" -test.timeout 12h -test.v "$@") >"$logs/$name.log" 2>&1 || failed+=("$name")
	grep -E '^ *--- FAIL|again: ' "$logs/$name.log" | grep -A1 -e '--- FAIL' >&2 || true
}

export SLUICE_TEST_SIZE=full SLUICE_CHAOS_ROUNDS=$rounds SLUICE_CHAOS_SEED=$seed SLUICE_PROPERTY_ROUNDS=$rounds SLUICE_PROPERTY_SEED=$seed
: >"$WORK/table"
for prey in files object postgres kafka; do
	SLUICE_CHAOS_REPORT=$WORK/$prey.md play "$prey" -test.run "^TestChaos\$/^$prey\$"
	if [ -s "$WORK/table" ]; then tail -n +3 "$WORK/$prey.md"; else cat "$WORK/$prey.md"; fi >>"$WORK/table"
done
# verdict NAME WORDS says how a play ended, and what failed of it.
verdict() {
	if [[ " ${failed[*]:-} " == *" $1 "* ]]; then
		printf '**failed**: %s' "$(grep -E '^ *--- FAIL' "$logs/$1.log" | sed 's/.*FAIL: //; s/ (.*//' | paste -sd, -)"
	else
		printf '%s' "$2"
	fi
}
play sources -test.run '^TestAnythingHoldsWhatWasServed$'
play wires -test.run '^TestWires$'

{
	printf '# Chaos\n\n'
	printf 'What `make chaos` (bench/chaos.sh) said on %s: commit %s, %s, %s cores, %s.\n\n' \
		"$(date -u +%F)" "$commit" "$(go version | cut -d' ' -f3)" "$(getconf _NPROCESSORS_ONLN)" \
		"$(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo 2>/dev/null)"
	printf 'In each round the real host, its plugin and the real server are killed and hit by some more of what is named below, in an order, at moments and\n'
	printf "of a kind drawn from the round's seed; then the runs go on to their end, and what readers find is compared with what was served, record by record.\n"
	printf '`SLUICE_CHAOS_SEED=N go test ./cmd/sluice -run '"'"'TestChaos/SINK/seed=N$'"'"'` plays a round again.\n\n'
	cat "$WORK/table"
	printf '\nDrawn ranges, caps and faults of vendors (`TestAnythingHoldsWhatWasServed`), %s rounds of each source from seed %s: %s.\n' \
		"$rounds" "$seed" "$(verdict sources "every record once")"
	printf '\nHost, plugin and receiver killed while records go to the sinks that deliver at least once (`TestWires`), %s times from seed %s: %s.\n' \
		"$rounds" "$seed" "$(verdict wires "nothing is missing, and repeats have the ID of what they repeat")"
} >bench/CHAOS.md
cat bench/CHAOS.md
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}; see $logs"
