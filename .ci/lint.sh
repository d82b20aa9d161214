#!/usr/bin/env bash
# What must be clean: gofumpt, go vet, staticcheck, buf lint, and buf breaking against the frozen protocol. LINT_PKGS narrows the Go
# packages (default ./...). Everything is run before the script fails.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

.ci/tools.sh gofumpt staticcheck buf
read -ra pkgs <<<"${LINT_PKGS:-./...}"
failed=()

# check NAME COMMAND...
check() {
	local name=$1 begin=$SECONDS
	shift
	if "$@"; then
		echo "ok    $name ($((SECONDS - begin))s)"
	else
		failed+=("$name")
		echo "FAIL  $name"
	fi
}

formatted() {
	local bad
	if [ -n "${LINT_PKGS:-}" ]; then
		# shellcheck disable=SC2016 # a template of go list, not of the shell
		bad=$(go list -f '{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}} {{end}}{{range .TestGoFiles}}{{$d}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$d}}/{{.}} {{end}}' \
			"${pkgs[@]}" | tr ' ' '\n' | grep -v '\.pb\.go$' | grep . | xargs gofumpt -l) || return 1
	else
		bad=$(go_files | xargs -0 gofumpt -l) || return 1
	fi
	[ -z "$bad" ] && return
	printf 'not formatted (run make fmt):\n%s\n' "$bad"
	return 1
}

check gofumpt formatted
check "go vet" go vet "${pkgs[@]}"
check staticcheck staticcheck "${pkgs[@]}"
for script in .ci/run .ci/*.sh; do
	bash -n "$script" || failed+=("bash -n $script")
done
if command -v buf >/dev/null; then
	check "buf lint" buf lint
	check "buf breaking" .ci/proto.sh breaking
fi

[ ${#failed[@]} -eq 0 ] || die "lint: ${failed[*]}"
