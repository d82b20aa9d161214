#!/usr/bin/env bash
# Throughput, CPU and memory of `sluice run` into each sink, each against its real server, in interleaved rounds, into bench/SINKS.md.
# SLUICE_BENCH_SIZE (256 MiB) is how many bytes of lines each run moves, SLUICE_BENCH_ROUNDS (3) how often.
# shellcheck source=../.ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../.ci/lib.sh"

.ci/parts.sh
go build -trimpath -o "$WORK/sluice" ./cmd/sluice
table=$WORK/table
commit=$(git describe --always --dirty 2>/dev/null) || commit="without a repository"
load=$(cut -d' ' -f1 /proc/loadavg)
SLUICE_BENCH_BINARY=$WORK/sluice SLUICE_BENCH_OUT=$table go test -run '^$' -bench '^BenchmarkSinks$' -benchtime 1x -timeout 1h -v ./bench/sinks
{
	printf '# Sinks\n\nMeasured by `make bench-sinks` (bench/sinks.sh), commit %s, %s, %s; load %s at the start. The servers ran on the same\ncores.\n\n' \
		"$commit" "$(date -u +%F)" "$(go version | cut -d' ' -f3)" "$load"
	cat "$table"
} >bench/SINKS.md
cat bench/SINKS.md
