# Shared by the scripts in this folder; sourced, not run.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
# Prosody 13.0, as unpacked by scripts/setup; the packaged Prosody is 0.12.
PROSODY_13=$ROOT/.prosody/13.0

# rustup puts cargo here and expects the login shell to know; make and CI often run without one.
if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
	PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi

# Where cargo leaves its products, and where the demo keeps its data.
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
