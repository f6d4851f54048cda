#!/bin/sh
# bootstrap.sh build|run|check|check-long|deb|rpm - see to it that the packages are there that this goal needs.
#
# Needs nothing but sh and the distribution's package tools. Says what is missing; as root it is
# installed, otherwise the one command to type is printed and the exit code is 1. Quick, and silent,
# when nothing is missing. In a list, a|b means: a, or where the distribution has no a, b.
set -eu

goal=${1:-build}

deb_build='make gcc libnatpmp-dev libc6-dev autoconf pkg-config|pkgconf libgnutls28-dev nettle-dev libgmp-dev libevent-dev
	libconfuse-dev libseccomp-dev libcap-dev libgsasl-dev|libgsasl7-dev libdb5.3-dev|libdb-dev
	libcrypt-dev libpam0g-dev libargon2-dev libpwquality-dev libjansson-dev libidn2-dev libunistring-dev libunbound-dev
	libcurl4-gnutls-dev|libcurl4-openssl-dev zlib1g-dev'
deb_run='curl ca-certificates procps'
deb_check='clang miniupnpd libclang-rt-14-dev|libclang-rt-19-dev|libclang-rt-18-dev|libclang-rt-dev|clang
	libcmocka-dev python3 python3-pytest curl swaks msmtp isync mutt gsasl fail2ban openssl gnutls-bin strace
	libcap2-bin haproxy dovecot-imapd mandoc procps util-linux binutils libio-socket-ssl-perl libnet-ssleay-perl
	iproute2 nftables dnsmasq-base isc-dhcp-client knot knot-dnsutils bind9-dnsutils postfix s-nail node-nodemailer
	sslscan softhsm2 git-email libmailtools-perl php-cli opendkim opendkim-tools python3-dkim python3-nacl
	rspamd opendmarc clamav-milter clamav-daemon xfsprogs'
deb_long='neomutt offlineimap3 fetchmail getmail6 imapfilter testssl.sh pebble certbot uacme swtpm libtpm2-pkcs11-1 libtpm2-pkcs11-tools tpm2-tools libtss2-tcti-device0
	gnutls-bin busybox-static|busybox qemu-system-x86
	linux-image-cloud-amd64|linux-image-cloud-arm64'
deb_deb='build-essential debhelper dpkg-dev fakeroot'
deb_rpm='rpm'

rpm_build='make gcc libnatpmp-devel glibc-devel autoconf pkgconf-pkg-config gnutls-devel nettle-devel gmp-devel libevent-devel
	libconfuse-devel libseccomp-devel libcap-devel libgsasl-devel libdb-devel libxcrypt-devel
	pam-devel libargon2-devel libpwquality-devel jansson-devel libidn2-devel libunistring-devel unbound-devel libcurl-devel zlib-devel'
rpm_run='curl procps-ng'
rpm_check='clang compiler-rt libasan libubsan libcmocka-devel python3 python3-pytest curl swaks msmtp isync
	mutt openssl gnutls-utils strace libcap haproxy s-nail git-email php-cli opendkim opendkim-tools opendmarc dovecot postfix
	clamav-milter clamd
	mandoc procps-ng util-linux binutils iproute nftables dnsmasq python3-dkim python3-pynacl dhcp-client knot
	knot-utils bind-utils softhsm sslscan gsasl fail2ban xfsprogs'
rpm_long='neomutt offlineimap fetchmail getmail6 imapfilter testssl certbot uacme swtpm tpm2-pkcs11 tpm2-pkcs11-tools tpm2-tools busybox qemu-system-x86-core kernel-core'
rpm_deb='debhelper dpkg-dev fakeroot'
rpm_rpm='rpm-build'

say() {
	echo "bootstrap: $*" >&2
}

# wanted FAMILY: the packages for the goal.
wanted() {
	case $goal in
	build) eval "echo \$${1}_build" ;;
	run)   eval "echo \$${1}_build \$${1}_run" ;;
	check) eval "echo \$${1}_build \$${1}_run \$${1}_check" ;;
	check-long) eval "echo \$${1}_build \$${1}_run \$${1}_check \$${1}_long" ;;
	deb)   eval "echo \$${1}_build \$${1}_deb" ;;
	rpm)   eval "echo \$${1}_build \$${1}_rpm" ;;
	*)     say "usage: bootstrap.sh build|run|check|check-long|deb|rpm"; exit 64 ;;
	esac
}

# missing_of INSTALLED WANTED: the wanted entries none of whose alternatives is installed.
missing_of() {
	for entry in $2; do
		found=
		for package in $(echo "$entry" | tr '|' ' '); do
			case " $1 " in
			*" $package "*) found=1; break ;;
			esac
		done
		if [ -z "$found" ]; then echo "$entry"; fi
	done
}

deb_installed() {
	dpkg-query -W -f='${Package} ${db:Status-Status}\n' $(echo "$@" | tr '|' ' ') 2>/dev/null |
		sed -n 's/ installed$//p' | tr '\n' ' '
}

rpm_installed() {
	rpm -q --qf '%{NAME}\n' $(echo "$@" | tr '|' ' ') 2>/dev/null | grep -v ' ' | tr '\n' ' '
}

# choose COMMAND... < entries: of each entry the first alternative that the distribution has.
deb_has() {
	apt-cache show --no-all-versions "$1" >/dev/null 2>&1
}

rpm_has() {
	dnf -q list --available "$1" >/dev/null 2>&1
}

choose() {
	for entry in $2; do
		chosen=
		for package in $(echo "$entry" | tr '|' ' '); do
			if [ "$entry" = "$package" ] || "$1_has" "$package"; then chosen=$package; break; fi
		done
		echo "${chosen:-${entry%%|*}}"
	done | tr '\n' ' '
}

# The one command, for the distribution's family.
install_command() {
	case $1 in
	deb) echo "apt-get update && apt-get install -y --no-install-recommends $2" ;;
	rpm) echo "dnf install -y $2" ;;
	esac
}

install_now() {
	case $1 in
	deb)
		# Old lists may still do: a failing update is not the end.
		apt-get -q update >&2 || say "apt-get update failed; trying with the lists at hand"
		packages=$(choose deb "$2")
		say "installing: $packages"
		DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $packages >&2
		;;
	rpm)
		packages=$(choose rpm "$2")
		say "installing: $packages"
		dnf install -y $packages >&2
		;;
	esac
}

if command -v dpkg-query >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
	family=deb
elif command -v rpm >/dev/null 2>&1 && command -v dnf >/dev/null 2>&1; then
	family=rpm
else
	# Neither family: configure will say what it misses.
	say "neither apt-get nor dnf here: please see to these (Debian's names) yourself:" $(wanted deb)
	exit 0
fi

list=$(wanted $family)
missing=$(missing_of "$(${family}_installed "$list")" "$list")
if [ -z "$missing" ]; then exit 0; fi

say "missing for 'make $goal':" $missing
if [ "$(id -u)" -eq 0 ]; then
	install_now $family "$missing"
	exit 0
fi
say "only root can install packages. Please type:"
echo
echo "    sudo sh -c '$(install_command $family "$(choose $family "$missing")")'"
echo
exit 1
