# Where an installation lies, and who uses it. Sourced after lib.sh.
# shellcheck shell=bash

PREFIX=${PREFIX:-/usr/local}
DESTDIR=${DESTDIR:-}
[[ $PREFIX == /* ]] || die "PREFIX=$PREFIX is not an absolute path, such as /usr/local"
[[ -z $DESTDIR || $DESTDIR == /* ]] || die "DESTDIR=$DESTDIR is not an absolute path"
installed=$DESTDIR${PREFIX%/}
manifest=lib/trochee/manifest
# The kernel, and `trochee enable`, name a file without the symbolic links that lead there.
resolved=$(realpath -m "$installed")

# Removes a file below PREFIX, and those of our own folders that are empty then
remove() {
	rm -f "$installed/$1"
	local folder
	folder=$(dirname "$1")
	while [[ $folder/ == lib/trochee/* ]]; do
		rmdir "$installed/$folder" 2>/dev/null || return 0
		folder=$(dirname "$folder")
	done
}

# The processes that have mapped a trochee.so of this folder that is no longer there
running_on_the_old() {
	grep -lsF "${resolved%/}/lib/trochee/lua/trochee.so (deleted)" /proc/[0-9]*/maps 2>/dev/null | cut -d/ -f3 || true
}
