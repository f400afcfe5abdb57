# Installs Debian packages, in which no service starts: `packages` and, of what they bring, `services`, by the package's name or
# as PACKAGE:SERVICE. Sourced after lib.sh.
# shellcheck shell=bash

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "not root and no sudo: as root, run: apt-get install ${missing[*]}"
	fi
}

install_packages() {
	command -v dpkg-query >/dev/null ||
		die "this is not Debian; install by hand what corresponds to: ${packages[*]}"
	missing=()
	local p
	for p in "${packages[@]}"; do installed "$p" || missing+=("$p"); done
	[ ${#missing[@]} -gt 0 ] || return 0

	say "installing Debian packages: ${missing[*]}"
	local new_services=() s policy=/usr/sbin/policy-rc.d own_policy=''
	for s in "${services[@]}"; do installed "${s%:*}" || new_services+=("${s#*:}"); done

	# Debian starts a service as soon as its package is unpacked. Ours must stay off, or Prosody's would take
	# port 5222 from `make run`; policy-rc.d is Debian's own switch for that. Leave one that exists alone.
	if [ ${#new_services[@]} -gt 0 ] && [ ! -e $policy ]; then
		say "keeping packaged services from starting: ${new_services[*]} (temporary $policy)"
		printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
		as_root chmod 755 $policy
		own_policy=yes
	fi
	local status=0 apt_log
	apt_log=$(mktemp)
	{
		as_root apt-get update -qq &&
			as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
	} </dev/null >"$apt_log" 2>&1 || status=$?
	[ ! "$own_policy" ] || as_root rm -f $policy
	[ $status = 0 ] || { cat "$apt_log" >&2; die "apt-get failed (status $status); what it said is above"; }
	rm -f "$apt_log"

	# Nor may they start at the next boot. Somebody who had installed one before wants it as it was.
	for s in "${new_services[@]}"; do
		say "disabling the packaged service $s; 'systemctl enable --now $s' turns it on"
		as_root update-rc.d "$s" disable >/dev/null 2>&1 || true
		if [ -d /run/systemd/system ]; then
			as_root systemctl disable --now "$s" >/dev/null 2>&1 || true
		fi
	done
}
