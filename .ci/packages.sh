#!/usr/bin/env bash
# As root on a Debian-like system, installs the packages that tests against real programs need and that are missing. Anywhere else
# it does nothing: the tests name what they miss.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	exit 0
fi

want=()
# need PROGRAM PACKAGE...
need() { command -v "$1" >/dev/null || want+=("${@:2}"); }

need gcc gcc libc6-dev # the race detector
need git git
need curl curl
need gzip gzip
need zstd zstd
need sqlite3 sqlite3
need python3 python3
need ps procps
need java openjdk-17-jre-headless # Kafka
need mvn maven
if ! command -v npm >/dev/null && ! python3 -m pip --version >/dev/null 2>&1; then
	want+=(python3-pip) # brings buf
fi

[ ${#want[@]} -gt 0 ] || exit 0
say "installing Debian packages: ${want[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${want[@]}"; } </dev/null >&2; then
	[ "${SLUICE_REQUIRE_PARTS:-}" != 1 ] || die "installing Debian packages: ${want[*]}"
	say "the packages could not be installed; what needs them is named at the end"
fi
