#!/usr/bin/env bash
# Installs the pinned tools into .tools/ unless they are there: tools.sh [gofumpt|staticcheck|protoc-gen-go|protoc-gen-go-grpc|buf]...
# Without arguments: all. Go tools come through the Go module proxy; buf comes prebuilt from npm or PyPI, whichever client exists.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

GOFUMPT_VERSION=v0.12.0
STATICCHECK_VERSION=v0.8.2
PROTOC_GEN_GO_GRPC_VERSION=v1.6.2
BUF_VERSION=1.75.0

mkdir -p "$TOOLS/bin" "$TOOLS/stamps"

# A tool is as wanted when its binary stands and the stamp beside it names the version and the Go release it was built with
# (staticcheck can't read code newer than the release that built it).
stamped() { [ -x "$TOOLS/bin/$1" ] && [ "$(cat "$TOOLS/stamps/$1" 2>/dev/null)" = "$2" ]; }

# go_tool NAME PACKAGE VERSION
go_tool() {
	local want
	want="$3 $(go env GOVERSION)"
	stamped "$1" "$want" && return
	say "installing $1 $3"
	# Stand outside the module: its go.mod must not be read for a tool's own build. GOFLAGS may hold -mod, which install refuses.
	(cd "$TOOLS" && GOFLAGS='' GOBIN="$TOOLS/bin" go install "$2@$3") || die "installing $1 $3 (needs the Go module proxy)"
	printf '%s\n' "$want" >"$TOOLS/stamps/$1"
}

# buf_binary prints the path of the prebuilt binary below a folder; the packages differ in where they put it.
buf_binary() { find "$1" -type f -path '*/bin/buf' -size +1000k -print -quit; }

install_buf() {
	stamped buf "$BUF_VERSION" && return
	if ! command -v npm >/dev/null && ! python3 -m pip --version >/dev/null 2>&1; then
		local have=""
		[ -x "$TOOLS/bin/buf" ] && have=$("$TOOLS/bin/buf" --version 2>&1)
		[ "$have" = "$BUF_VERSION" ] && return # someone followed the remedy below
		missing_part "buf (checks of the plugin protocol)" \
			"install npm or python3-pip, or: GOBIN=$TOOLS/bin go install github.com/bufbuild/buf/cmd/buf@v$BUF_VERSION"
		return
	fi
	say "installing buf $BUF_VERSION"
	local into=$TOOLS/buf found
	rm -rf "$into" && mkdir "$into"
	if command -v npm >/dev/null; then
		# The platform's binary comes as an optional dependency; no script of the package needs to run.
		npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$into" "@bufbuild/buf@$BUF_VERSION" >&2 || true
	fi
	found=$(buf_binary "$into")
	if [ -z "$found" ] && python3 -m pip --version >/dev/null 2>&1; then
		python3 -m pip install --quiet --no-deps --target "$into" "buf-bin==$BUF_VERSION" >&2 || true
		found=$(buf_binary "$into")
	fi
	[ -n "$found" ] || die "installing buf $BUF_VERSION from npm or PyPI"
	chmod +x "$found"
	ln -sf "$found" "$TOOLS/bin/buf"
	[ "$("$TOOLS/bin/buf" --version 2>&1)" = "$BUF_VERSION" ] || die "$found doesn't answer as buf $BUF_VERSION"
	printf '%s\n' "$BUF_VERSION" >"$TOOLS/stamps/buf"
}

# Two makes may run at once: the second waits, then finds the tools in place. Without flock they only waste work.
exec 9>"$TOOLS/lock"
if command -v flock >/dev/null; then flock 9; fi

[ $# -gt 0 ] || set -- gofumpt staticcheck protoc-gen-go protoc-gen-go-grpc buf
for tool in "$@"; do
	case $tool in
	gofumpt) go_tool gofumpt mvdan.cc/gofumpt "$GOFUMPT_VERSION" ;;
	staticcheck) go_tool staticcheck honnef.co/go/tools/cmd/staticcheck "$STATICCHECK_VERSION" ;;
	protoc-gen-go) # the version of the run-time library, so that generated code and library never differ
		version=$(go list -m -f '{{.Version}}' google.golang.org/protobuf)
		go_tool protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go "$version"
		;;
	protoc-gen-go-grpc) go_tool protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc "$PROTOC_GEN_GO_GRPC_VERSION" ;;
	buf) install_buf ;;
	*) die "tools.sh: no tool is called $tool" ;;
	esac
done
