#!/usr/bin/env bash
# Where the CPU of each case goes, by perf, into the tables of bench/profiles.md; what follows from them is written there by hand.
#
# SIZE (512 MiB) is how many bytes of lines each case moves; SLUICE_BENCH_MEMORY a folder on a memory file system. It needs perf
# (apt-get install linux-perf) and the right to watch the kernel (root, or /proc/sys/kernel/perf_event_paranoid of 1 at most).
# shellcheck source=../.ci/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../.ci/lib.sh"

command -v perf >/dev/null || die "no perf: apt-get install linux-perf"
.ci/parts.sh kafka
go build -trimpath -o "$WORK/sluice" ./cmd/sluice
go build -o "$WORK/measure" ./bench/measure
commit=$(git describe --always --dirty 2>/dev/null) || commit="without a repository"
notes="Commit $commit, $(date -u +%F), $(go version | cut -d' ' -f3), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg) at the start."
size=${SIZE:-$((512 << 20))}
"$WORK/measure" -profiles -sluice "$WORK/sluice" -parts "$TOOLS/parts" -size "$size" -events "$((size / 4))" -records 500000 \
	-memory "${SLUICE_BENCH_MEMORY:-/dev/shm}" -notes "$notes" -out bench/profiles.md
