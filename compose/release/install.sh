#!/bin/sh
# Installs the program `appliance`: downloads a release, verifies it, puts it in place, and starts
# `appliance up` where there is a terminal, which offers to install Docker from this system's packages.
#     sh install.sh [--from URL|DIRECTORY] [--prefix DIRECTORY] [--yes] [--no-docker] [--no-up]
#
# --from       where the release is: an address, or a directory with its files
# --prefix     where the program goes, with manual pages and completion beside it (/usr/local)
# --yes        ask nothing: install Docker if it is missing, and do not start `appliance up`
# --no-docker  do not look for Docker, and do not start `appliance up`; --no-up is only the latter
#
# What cannot be verified is not installed. A second run puts the new program in the place
# of the old one, which stays beside it as appliance.previous.
set -eu

# Both are filled in when a release is made: its address, and the key that it is signed with (minisign's).
from=
key=

say() { printf 'install: %s\n' "$1"; }
die() { printf 'install: error: %s\ninstall: hint: %s\n' "$1" "$2" >&2 && exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
terminal() { (: </dev/tty) 2>/dev/null; }

# get FILE downloads a file of the release, completely or not at all.
get() {
	case $from in
	http*)
		if have curl; then curl -fsSL --retry 2 --connect-timeout 20 -o "$1.part" "$from/$1"
		elif have wget; then wget -q -O "$1.part" "$from/$1"
		else die "neither curl nor wget is here" "apt-get install curl ca-certificates"; fi ;;
	*) cp "$from/$1" "$1.part" ;;
	esac || die "$from/$1 cannot be fetched" "nothing was changed; check the address, and run this again"
	mv "$1.part" "$1"
}

# signed reports whether the key signed SHA256SUMS and the comment that names it.
signed() {
	if have minisign; then minisign -Vqm SHA256SUMS -P "$key" >/dev/null 2>&1; else
		{ printf '\060\052\060\005\006\003\053\145\160\003\041\000' && printf %s "$key" | base64 -d | tail -c 32; } >key.der
		sed -n 2p SHA256SUMS.minisig | base64 -d | tail -c 64 >one
		sed -n 4p SHA256SUMS.minisig | base64 -d >two
		{ cat one && sed -n '3s/^trusted comment: //p' SHA256SUMS.minisig | tr -d '\n'; } >comment
		openssl dgst -blake2b512 -binary -out sums SHA256SUMS
		openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key.der -in sums -sigfile one >/dev/null 2>&1 &&
			openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key.der -in comment -sigfile two >/dev/null 2>&1
	fi && sed -n 3p SHA256SUMS.minisig | grep -q 'file:SHA256SUMS'
}

# verify FILE checks the checksum, and the signature where that is possible, and says which.
verify() {
	if [ -n "$key" ] && { have minisign || openssl pkeyutl -help 2>&1 | grep -q rawin; }; then
		get SHA256SUMS.minisig
		signed 2>/dev/null || die "SHA256SUMS is not signed with the key of this release, $key" "nothing was changed; do not use these files: they were altered, or are not whole"
		how="signature and checksum"
	else
		case $from in http://*) die "the signature cannot be verified here, and $from is not https" "nothing was changed; install minisign or OpenSSL 3, or use a release with a key" ;; esac
		how="checksum only, not the signature: that needs minisign or OpenSSL 3, and a release with a key"
	fi
	grep "[ *]$1\$" SHA256SUMS >sum || die "SHA256SUMS does not name $1" "nothing was changed; this release is not for this kind of host"
	sha256sum -c sum >/dev/null 2>&1 || die "$1 does not have the checksum of SHA256SUMS" "nothing was changed; run this again, and if it still fails ask whoever publishes the release"
	say "verified $1: $how"
}

main() {
	prefix=/usr/local yes=no docker=yes up=yes
	while [ $# -gt 0 ]; do
		case $1 in
		--from) from=${2:?--from needs an address} && shift ;;
		--prefix) prefix=${2:?--prefix needs a directory} && shift ;;
		--yes) yes=yes up=no ;;
		--no-docker) docker=no up=no ;;
		--no-up) up=no ;;
		*) die "there is no option $1" "the first lines of this script explain them" ;;
		esac && shift
	done
	[ -n "$from" ] || { [ -f "${0%/*}/SHA256SUMS" ] && from=${0%/*}; } || die "where is the release?" "add --from and its address, or the directory with its files"
	case $from in /* | http://* | https://*) ;; *) from=$(pwd)/$from ;; esac
	case $(uname -s)/$(uname -m) in
	Linux/x86_64 | Linux/amd64) name=appliance_linux_amd64 ;;
	Linux/aarch64 | Linux/arm64) name=appliance_linux_arm64 ;;
	*) die "there is no release for $(uname -s) on $(uname -m)" "it runs on Linux with a 64-bit Intel, AMD or ARM processor" ;;
	esac
	{ mkdir -p "$prefix/bin" && [ -w "$prefix/bin" ]; } 2>/dev/null || die "cannot write to $prefix/bin" "run this as root: sudo sh install.sh"
	[ ! -e /usr/lib/appliance/package ] || die "appliance is installed here as a package" "install the package of the new release: apt install ./$name.deb"
	if docker compose version >/dev/null 2>&1; then docker=no; fi
	[ "$docker$yes" != yesno ] || terminal || die "Docker or its Compose plugin is missing, and there is no terminal to ask on" "nothing was changed; add --yes to have it installed, or --no-docker"

	work=$(mktemp -d) && trap 'rm -rf "$work" "$prefix/bin/.appliance.new"' EXIT && trap 'exit 130' INT TERM && cd "$work"
	get SHA256SUMS && get "$name.tar.gz" && verify "$name.tar.gz"
	tar xzf "$name.tar.gz" || die "$name.tar.gz cannot be unpacked in $work" "nothing was changed; see above what tar says, and whether the disk is full: df -h $work"
	[ -x "$name/appliance" ] || die "$name.tar.gz has no program that can be run in $work" "nothing was changed; if that place is mounted noexec, name another: TMPDIR=/root sh install.sh"
	cd "$name"
	version=$(./appliance version) || die "the program does not start on this host" "nothing was changed; if $work is mounted noexec, name another place: TMPDIR=/root sh install.sh"
	program=$prefix/bin/appliance
	if cmp -s appliance "$program"; then say "$version is here already"; else
		cp appliance "$prefix/bin/.appliance.new" && chmod 755 "$prefix/bin/.appliance.new"
		[ ! -e "$program" ] || ln -f "$program" "$program.previous"
		mv "$prefix/bin/.appliance.new" "$program" && say "installed $version as $program"
	fi
	mkdir -p "$prefix/share" && cp -R share/. "$prefix/share/"
	# The program knows what Docker needs here; up offers it, too.
	if [ "$docker$yes" = yesyes ]; then
		"$program" prepare --yes || die "Docker was not installed" "the program is; see above why"
	elif [ "$docker$up" = yesno ]; then
		"$program" prepare </dev/tty || die "Docker was not installed" "the program is; see above why"
	fi
	if [ "$up" = yes ] && terminal; then "$program" up </dev/tty; else say "next, type: appliance up (or, with an existing installation: appliance upgrade)"; fi
}

main "$@"
