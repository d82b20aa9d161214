# Readers of data files in Python, in a virtual environment of their own: tests read what Sluice writes back with them.
# shellcheck shell=bash
PACKAGES=(numpy==2.4.6 pyarrow==22.0.0 pandas==2.3.3 duckdb==1.4.2 pytz==2025.2 sqlglot==30.30.0)
VERSION="${PACKAGES[*]}"

install_part() {
	local python
	python=$(command -v python3) || { missing_part python3 "apt-get install python3 python3-venv"; return 1; }
	"$python" -m venv "$PART" || { missing_part python3-venv "apt-get install python3-venv"; return 1; }
	"$PART/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "${PACKAGES[@]}"
}
