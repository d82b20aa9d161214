#!/usr/bin/env bash
# `make test`: sets up what is missing, then lint, the check of generated code and all tests. Every part runs even when one before it
# failed; what can't run on this machine is named at the end.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

failed=()
.ci/packages.sh || failed+=("Debian packages")
.ci/tools.sh || failed+=("tools")
.ci/parts.sh || failed+=("parts")
echo "== lint"
.ci/lint.sh || failed+=("lint")
echo "== generated code"
.ci/proto.sh check || failed+=("generated code")
.ci/test.sh || failed+=("tests")

[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
