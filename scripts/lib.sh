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

# Whether the Rust here can build trochee; if not, one line that installs one that can.
check_rust() {
	local wanted found problem
	wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
	if ! command -v cargo >/dev/null; then
		problem="cargo was not found"
	else
		found=$(cargo --version | cut -d' ' -f2)
		[ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n1)" != "$wanted" ] || return 0
		problem="$(command -v cargo) is of Rust $found"
	fi
	die "$problem; trochee needs Rust $wanted or later, and those of Debian 12 (1.63) and 13 (1.85) are too old. This line installs it for this user:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --component rustfmt --component clippy"
}

# What the tests need of Rust beside the compiler.
check_rust_tools() {
	local tool
	for tool in fmt clippy; do
		cargo "$tool" --version >/dev/null 2>&1 ||
			die "cargo $tool was not found: 'rustup component add rustfmt clippy' adds it"
	done
}
