# Shared by the scripts in this folder; sourced, not run.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
# What scripts/setup unpacks from Debian's backports: Prosody 13.0, beside the packaged 0.12, and a test client.
PROSODY_13=$ROOT/.prosody/13.0
GO_SENDXMPP=$ROOT/.prosody/go-sendxmpp

# rustup puts cargo here and expects the login shell to know; make and CI often run without one.
if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
	PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi

# Where cargo leaves its products, and where the demo keeps its data.
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}

say() { printf '== %s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
