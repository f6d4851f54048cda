#!/bin/sh
# run.sh start|stop - a suite to try, below run/ at the top of the sources: `make run`, `make stop`.
#
# Made at the first start: an instance with its own certificate authority, and one user with a
# random password, which stands in run/demo-password. Later starts use it again.
set -eu

cd "$(dirname "$0")/.."
dir=$PWD/run
valija=$PWD/build/bin/valija
domain=example.org
user=demo@$domain
password_file=$dir/demo-password

running() {
	"$valija" --dir "$dir" status >/dev/null 2>&1
}

# The first base of 10000, 11000 ... whose ports nobody has. Ports in use: from the kernel's tables.
free_port_base() {
	used=$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
		awk '$4 == "0A" { n = split($2, part, ":"); print part[n] }')
	for base in 10000 11000 12000 13000 14000 15000 16000 17000 18000 19000 20000; do
		taken=
		for port in 25 143 465 587 993; do
			hex=$(printf '%04X' $((base + port)))
			case " $(echo $used) " in
			*" $hex "*) taken=1 ;;
			esac
		done
		if [ -z "$taken" ]; then
			echo "$base"
			return
		fi
	done
	echo "run: ports 10025 to 20993 are all in use" >&2
	exit 69
}

new_instance() {
	# Nothing is ever removed: what an instance holds may be somebody's mail.
	if [ -e "$dir/etc/valija.conf" ]; then
		said=$("$valija" init --dir "$dir")
	else
		said=$("$valija" init --dir "$dir" --hostname localhost --domain "$domain" \
			--port-base "$(free_port_base)")
	fi
	# What comes next is done here.
	printf '%s\n' "$said" | sed '/^next:/d'
	umask 077
	od -An -N12 -tx1 /dev/urandom | tr -d ' \n' >"$dir/.demo-password"
	echo >>"$dir/.demo-password"
	chmod 600 "$dir/.demo-password"
	what=add
	if "$valija" --dir "$dir" user list | grep -qxF "$user"; then what=passwd; fi
	"$valija" --dir "$dir" user "$what" "$user" --stdin <"$dir/.demo-password"
	mv "$dir/.demo-password" "$password_file"
	umask 022
	fresh=1
}

how_to_use() {
	eval "$("$valija" --dir "$dir" env)"
	if [ -n "$fresh" ]; then
		password=$(cat "$password_file")
	else
		password="(in $password_file)"
	fi
	cat <<END

Valija runs in $dir${1:+ ($1)}. Settings for a mail client on this machine:

    user             $user
    password         $password
    receiving        IMAP   $HOST port $IMAPS_PORT (TLS) or $IMAP_PORT (STARTTLS)
    sending          SMTP   $HOST port $SUBMISSIONS_PORT (TLS) or $SUBMISSION_PORT (STARTTLS)
    incoming mail    SMTP   $HOST port $SMTP_PORT
    certificate of the authority to trust
                     $CAFILE
    log              $dir/log/valija.log

Send a message to yourself, and read it:

    printf 'From: <$user>\r\nTo: <$user>\r\nSubject: first\r\n\r\nHello.\r\n' |
    curl --ssl-reqd --cacert $CAFILE --user "$user:\$(cat $password_file)" \\
        --mail-from $user --mail-rcpt $user --upload-file - smtp://$HOST:$SUBMISSION_PORT

    curl --cacert $CAFILE --user "$user:\$(cat $password_file)" \\
        "imaps://$HOST:$IMAPS_PORT/INBOX;MAILINDEX=1"

Processes: $valija --dir $dir status
Stop:      make stop

END
}

if [ -e "$dir" ] && [ ! -O "$dir" ]; then
	echo "run: $dir belongs to another user; become that user, or remove it" >&2
	exit 77
fi
fresh=
case ${1:-start} in
start)
	if [ ! -e "$password_file" ]; then new_instance; fi
	if running; then
		how_to_use "it was running already"
	else
		"$valija" --dir "$dir" start
		how_to_use
	fi
	;;
stop)
	if [ -x "$valija" ] && [ -d "$dir" ] && running; then
		"$valija" --dir "$dir" stop
		echo "stopped"
	else
		echo "not running"
	fi
	;;
*)
	echo "usage: run.sh start|stop" >&2
	exit 64
	;;
esac
