# ClickHouse as a Python module: the same reader of files without a server, in a virtual environment of its own (half a gigabyte).
# shellcheck shell=bash
PACKAGES=(chdb-core==26.9.0)
VERSION="${PACKAGES[*]}"

install_part() {
	local python
	python=$(command -v python3) || { missing_part python3 "apt-get install python3 python3-venv"; return 1; }
	"$python" -m venv "$PART" || { missing_part python3-venv "apt-get install python3-venv"; return 1; }
	"$PART/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --only-binary :all: "${PACKAGES[@]}"
}
