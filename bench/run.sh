#!/usr/bin/env bash
# Throughput, CPU and memory of `sluice run` beside its peers, in one interleaved run, into bench/RESULTS.md.
#
#   run.sh           at full size: SIZE bytes (1 GiB) in ROUNDS rounds (5), in memory, then on disk, then the parts' own benchmarks
#   run.sh --cold    the same, and how long a build takes with an empty build cache
#   run.sh --memory  peak memory of each case at the sizes SIZES (2 and 20 GB), into bench/MEMORY.md
#   run.sh --quick   128 MiB in memory, three short rounds, to stdout: fails on a cliff (see bench/measure/judge.go)
#
# ROUNDS=1 SIZE=$((256 << 20)) takes a minute or two. EVENTS is how many bytes of lines go to Kafka and come as Logentries' pages. SLUICE_BENCH_MEMORY and
# SLUICE_BENCH_DISK name folders on a memory file system and on a disk; RESULTS another file for the tables.
# shellcheck source=../.ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../.ci/lib.sh"

memory=${SLUICE_BENCH_MEMORY:-/dev/shm}
disk=${SLUICE_BENCH_DISK:-$WORK}
size=${SIZE:-$((1 << 30))}
rounds=${ROUNDS:-5}
events=${EVENTS:-$((size < (256 << 20) ? size : 256 << 20))}
quick=0 cold=0 peaks=0
case ${1:-} in
"") ;;
--quick) quick=1 ;;
--cold) cold=1 ;;
--memory) peaks=1 ;;
*) die "usage: run.sh [--quick | --cold | --memory]" ;;
esac
name=RESULTS
[ "$peaks" = 0 ] || name=MEMORY
results=${RESULTS:-bench/$name.md}

if [ "$(uname -s)" != Linux ]; then
	missing_part "benchmark" "run it on Linux: it reads /proc"
	exit 0
fi
for program in curl sync df; do
	if ! command -v "$program" >/dev/null; then
		missing_part "benchmark" "install $program"
		exit 0
	fi
done

go build -trimpath -o "$WORK/sluice" ./cmd/sluice
go build -o "$WORK/measure" ./bench/measure

folders=("$memory" "$disk")
if [ "$quick" = 1 ]; then
	size=$((128 << 20))
	rounds=3
	folders=("$memory")
fi
# The first download, one of the case's, which for ndjson is 2.2 times the lines, and some room.
need=$((size * 4))
for folder in "${folders[@]}"; do
	free=$(df --output=avail -B1 "$folder" | tail -1)
	[ "$free" -ge "$need" ] || die "$folder has $free bytes free, $need are needed: name another folder or a smaller SIZE"
done
if [ "$quick" = 1 ]; then
	"$WORK/measure" -sluice "$WORK/sluice" -size "$size" -rounds "$rounds" -memory "$memory" -brief
	exit 0
fi

.ci/parts.sh python kafka

# Redpanda Connect's engine stands in for it where it isn't installed, if its modules can be had.
(cd bench/measure/peers/benthos && GOFLAGS='' GOWORK=off CGO_ENABLED=0 go build -trimpath -o "$WORK/peers/benthos" .) ||
	say "Benthos couldn't be built: it is left out"
PATH=$PATH:$WORK/peers

# field NAME FILE prints the first value of a line "NAME : value".
field() { sed -n "s/^$1[[:space:]]*: *//p" "$2" | head -1; }

# setting prints what a result was measured on.
setting() {
	local commit
	commit=$(git describe --always --dirty 2>/dev/null) || commit="without a repository"
	printf -- '- machine: %s cores of %s, %s MiB of memory, Linux %s; load %s at the start\n' "$(nproc)" "$(field 'model name' /proc/cpuinfo)" \
		"$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))" "$(uname -r)" "$(cut -d' ' -f1 /proc/loadavg)"
	printf -- '- %s, %s, %s\n' "$(date -u +%F)" "$(go version | cut -d' ' -f3)" "$(curl --version | cut -d' ' -f1,2 | head -1)"
	printf -- '- commit %s; the binary takes %s MiB\n' "$commit" "$(($(stat -c %s "$WORK/sluice") >> 20))"
}

if [ "$peaks" = 1 ]; then
	notes=$(
		printf '# Memory\n\nMeasured by `make bench-memory` (bench/run.sh --memory); docs/performance.md says how.\n\n'
		setting
	)
	"$WORK/measure" -sluice "$WORK/sluice" -parts "$TOOLS/parts" -memory "$memory" -disk "$disk" -peaks "${SIZES:-2000000000,20000000000}" \
		-only "${ONLY:-}" -notes "$notes" -out "$WORK/table"
	cp "$WORK/table" "$results"
	cat "$results"
	exit 0
fi

notes=$(
	printf '# Benchmark\n\nMeasured by `make bench` (bench/run.sh); docs/performance.md says how and what limits.\n\n'
	setting
	if [ "$cold" = 1 ]; then
		TIMEFORMAT='- build with an empty build cache (modules downloaded): %R s, %U s of user and %S s of system time'
		{ time GOCACHE=$WORK/cache go build -trimpath -o "$WORK/cold" ./cmd/sluice >&2; } 2>&1
	elif [ -f "$results" ]; then
		grep '^- build with an empty build cache' "$results" || true # measured once
	fi
)

# The parts' own benchmarks: of all packages that have any, but for those that compare other programs, need servers or are no part of a run.
# Files of Parquet and Arrow are measured by what compares them with other writers.
mapfile -t packages < <(packages_with '^func Benchmark' ./proto/... ./plugins/... ./host/... ./sinks/... | grep -v /vendorsim)
say "benchmarks of ${packages[*]}"
go test -run '^$' -bench . -benchtime "${BENCHTIME:-0.2s}" -benchmem -p 1 -timeout 20m "${packages[@]}" >"$WORK/micro"
for own in '^BenchmarkWriters$/^sluice$' '^BenchmarkArrow$'; do
	go test -run '^$' -bench "$own" -benchtime "${BENCHTIME:-0.2s}" -benchmem ./bench/parquet >>"$WORK/micro"
done

"$WORK/measure" -sluice "$WORK/sluice" -parts "$TOOLS/parts" -size "$size" -events "$events" -rounds "$rounds" -memory "$memory" -disk "$disk" \
	-notes "$notes" -micro "$WORK/micro" -out "$WORK/table"
cp "$WORK/table" "$results"
cat "$results"
