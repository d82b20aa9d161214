#!/usr/bin/env bash
# Formats what people write: Go by gofumpt, .proto files by buf.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

.ci/tools.sh gofumpt buf
go_files | xargs -0 gofumpt -w
if command -v buf >/dev/null; then
	buf format -w
fi
