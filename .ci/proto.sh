#!/usr/bin/env bash
# The plugin protocol: proto.sh generate | check | breaking | freeze
#
#   generate  writes the Go code of proto/**/*.proto
#   check     fails when the Go code in the tree is not what generate would write
#   breaking  fails when a frozen protocol file changed in a way that breaks generated code somewhere
#   freeze    makes the protocol as it is now the one that breaking compares with; refuses a breaking change
#
# The frozen protocol is a file in the tree (an image without source positions) and not a branch or tag: it is there in every clone,
# shallow or without other branches. It is written at a release. A deliberate break is made by deleting the file and freezing anew,
# which every reviewer sees.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

FROZEN=proto/sluice/v1/frozen.binpb

need_buf() {
	.ci/tools.sh "$@"
	if ! command -v buf >/dev/null; then
		[ "$action" != generate ] || die "buf is needed to generate"
		exit 0 # named as a missing part by tools.sh
	fi
}

generate_into() { buf generate --output "$1"; }

# generated_files FOLDER prints the generated Go files below it, relative to it.
generated_files() { (cd "$1" && find proto -type f -name '*.pb.go' | sort); }

breaking() {
	[ -f "$FROZEN" ] || die "$FROZEN is missing: run make freeze, and commit it"
	buf breaking --against "$FROZEN"
}

check() {
	local fresh=$WORK/fresh stale=0 file
	mkdir "$fresh"
	generate_into "$fresh"
	[ -n "$(generated_files "$fresh")" ] || die "buf generated nothing: are there .proto files?"
	while read -r file; do
		if [ ! -f "$file" ]; then
			say "$file: missing"
			stale=1
		elif [ ! -f "$fresh/$file" ]; then
			say "$file: no .proto file generates it"
			stale=1
		elif ! cmp -s "$file" "$fresh/$file"; then
			say "$file: stale"
			diff -u "$file" "$fresh/$file" | head -n 20 >&2 || true
			stale=1
		fi
	done < <({ generated_files "$fresh" && generated_files .; } | sort -u)
	[ "$stale" = 0 ] || die "generated Go is not what the .proto files say: run make generate, and commit it"
	echo "ok    generated Go is up to date"
}

action=${1:-}
case $action in
generate)
	need_buf buf protoc-gen-go protoc-gen-go-grpc
	generate_into .
	;;
check)
	need_buf buf protoc-gen-go protoc-gen-go-grpc
	check
	;;
breaking)
	need_buf buf
	breaking
	;;
freeze)
	need_buf buf
	if [ -f "$FROZEN" ]; then breaking; fi
	buf build --exclude-source-info --output "$FROZEN"
	;;
*) die "usage: proto.sh generate | check | breaking | freeze" ;;
esac
