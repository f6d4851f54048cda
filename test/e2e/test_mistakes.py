"""Mistakes that administrators make: each message says what is wrong, where, and what to do."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess

import pytest

import valija


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, for whom the suite's parts are different users")


@pytest.fixture(scope="module")
def idle():
    """One for all tests that leave it as it was."""
    with valija.Instance(start=False) as instance:
        instance.user_add("ana")
        yield instance


@pytest.fixture
def own():
    with valija.Instance(start=False) as instance:
        yield instance


@contextlib.contextmanager
def changed(path, text):
    """A file with other content, owner and mode kept."""
    good = path.read_bytes()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_bytes(good)


@contextlib.contextmanager
def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(arguments[-1])], check=True)


def warned(instance, *sentences):
    done = instance.valija("check")
    for sentence in sentences:
        assert f"warning: {sentence}" in done.stdout, f"{sentence!r} is not in {done.stdout!r}"


def refused(instance, *sentences, words=("check", "start"), code=78):
    for word in words:
        done = instance.valija(word, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        for sentence in sentences:
            assert sentence in done.stderr, f"{word}: {sentence!r} is not in {done.stderr!r}"


def test_wrong_options(own):
    """All of them at once, with file and line."""
    conf = own.dir / "etc/valija.conf"
    good = conf.read_text()
    lines = len(good.splitlines())
    conf.write_text(good + 'colour = "red"\nqueue_days = 999\nlisten = {"127.0.0.1"}\ndns_servers = "10.1.1"\n')
    refused(own, f'{conf}:{lines + 1}: there is no option "colour"', f"{conf}:{lines + 2}: queue_days = 999 is out of range: from 1 to 60",
            f"{conf}:{lines + 3}: listen is set twice: first in line", f'{conf}:{lines + 4}: "10.1.1" in dns_servers')


def test_missing_configuration(own):
    conf = own.dir / "etc/valija.conf"
    conf.rename(own.dir / "etc/elsewhere")
    refused(own, f"{conf}: is not there; `valija init` makes one")


def test_missing_certificate(own):
    certificate = own.dir / "state/tls/server.crt"
    certificate.unlink()
    refused(own, f"{certificate} is not there; `valija init` makes one")


def test_port_in_use(own):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", own.ports.base + 25))
        other.listen()
        said = f"smtp cannot listen on 127.0.0.1:{own.ports.base + 25}: Address already in use", "ss -ltnp shows which"
        refused(own, *said, words=("start",), code=69)
        refused(own, *said, words=("check",))
    own.start()
    assert own.valija("check").returncode == 0   # it has these ports itself


@needs_root
def test_wrong_owner(own):
    """Of a directory of the suite: it does not start, and says the command. Of one mailbox: the rest is served; its
    user is told that he must wait, and nothing runs in circles."""
    spool = own.dir / "spool"
    right = spool.stat().st_uid
    os.chown(spool, 65534, -1)
    refused(own, f"{spool}: belongs to uid 65534, not to _queue (uid {right}): chown {right} {spool}")
    os.chown(spool, right, -1)
    user, other = own.new_user("restored"), own.new_user("other")
    home = own.maildir(user).parent
    uid = home.stat().st_uid
    for path in [home, *home.rglob("*")]:
        os.chown(path, 0, -1)
    own.start()
    with own.imap() as imap, pytest.raises(imap.error, match="UNAVAILABLE"):
        imap.login(user, own.passwords[user])
    valija.wait_until(lambda: own.log().count("process-died program=imap") == 2, 10, "the second death in the log")
    with own.imap(other) as imap:
        assert imap.select("INBOX")[0] == "OK"
    said = own.valija("check").stdout
    assert f"the mailbox of {user} cannot be used: {home} belongs to uid 0, not to {uid}: chown -R {uid} {home}" in said
    shutil.chown(home, uid)
    for path in home.rglob("*"):
        os.chown(path, uid, -1)
    with own.imap(user) as imap:
        assert imap.select("INBOX")[0] == "OK"
    assert own.log().count("process-died program=imap") == 2


def test_names_that_are_nearly_right_or_of_another_server(idle):
    lines = len(idle.conf.read_text().splitlines())
    with changed(idle.conf, idle.conf.read_text() + "listn = any\nsmtpd_tls_cert_file = /x\nsmtpd_banner = x\n"):
        refused(idle, f'{idle.conf}:{lines + 1}: there is no option "listn"; is "listen" meant?',
                f'{idle.conf}:{lines + 2}: there is no option "smtpd_tls_cert_file"; is "tls_certificate" meant?',
                f'{idle.conf}:{lines + 3}: there is no option "smtpd_banner"\n')


def test_half_written_configuration(idle):
    """Whatever is cut off, the place where it began is named."""
    with changed(idle.conf, 'hostname = "localhost"\ndomains = {"example.org",\nport_base = 10000\n'):
        refused(idle, f"{idle.conf}:2: the brace that opens here is not closed")
    with changed(idle.conf, 'hostname = "localh'):
        refused(idle, f"{idle.conf}:1: the quotation mark that opens here is not closed")
    with changed(idle.conf, "hostname"):
        refused(idle, f"{idle.conf}:1: ")


def test_certificate_of_the_administrator_is_missing(idle):
    """Not one of ours: `valija init` would not help."""
    lines = len(idle.conf.read_text().splitlines())
    with changed(idle.conf, idle.conf.read_text() + 'tls_certificate = "/nonexistent/a.crt"\n'):
        refused(idle, f"{idle.conf}:{lines + 1}: tls_certificate: /nonexistent/a.crt is not there; valija-certificates(7) tells")


def new_pair(directory, name, *dates):
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    (directory / "template").write_text("cn = localhost\ndns_name = localhost\ntls_www_server\nsigning_key\n" + "\n".join(dates))
    valija.run(["certtool", "--generate-privkey", "--key-type", "ecdsa", "--curve", "secp256r1", "--outfile", key])
    valija.run(["certtool", "--generate-self-signed", "--load-privkey", key, "--template", directory / "template",
                "--outfile", certificate])
    key.chmod(0o400)
    return certificate, key


def test_certificate_that_has_expired_or_a_clock_that_is_wrong(idle, tmp_path):
    for dates, said in ((('activation_date = "2020-01-01 UTC"', 'expiration_date = "2021-01-01 UTC"'),
                         "has expired: clients refuse it; valija-certificates(7) tells how to get another"),
                        (('activation_date = "2090-01-01 00:00 UTC"', 'expiration_date = "2091-01-01 UTC"'),
                         "is not valid before 2090-01-01 00:00 UTC, and the clock says 20")):
        certificate, key = new_pair(tmp_path, "pair", *dates)
        with changed(idle.conf, idle.conf.read_text() + f'tls_certificate = "{certificate}"\ntls_key = "{key}"\n'):
            warned(idle, f"{certificate} {said}")
        certificate.unlink()
        key.unlink()


def test_key_of_another_certificate(idle, tmp_path):
    """Start says it too, with both files and the ways out, and no process dies of it."""
    certificate, key = (idle.dir / "state/tls" / name for name in ("server.crt", "server.key"))
    with changed(key, new_pair(tmp_path, "other")[1].read_text()):
        refused(idle, f"{certificate} (key: {key}): the key does not belong to the certificate; `valija cert rollback` puts back")
    log = idle.dir / "log/valija.log"
    assert not log.exists() or "process-died" not in log.read_text()


@needs_root
@pytest.mark.parametrize("table, group", [("passwords/passwd.db", "_auth"), ("users/users.db", "valija")])
def test_table_that_cannot_be_read(idle, table, group):
    """By whom, and the command. It used to start, and say "later" to whoever logged in."""
    path = idle.dir / "state" / table
    was = path.stat()
    os.chown(path, 0, 0)
    refused(idle, f"{path}: {group} cannot read it: chgrp {group} {path} && chmod 0640 {path}")
    os.chown(path, was.st_uid, was.st_gid)
    path.chmod(0o644)
    refused(idle, f"{path}: has mode 0644; others may read or change it: chmod 0640 {path}")
    path.chmod(0o640)
    assert idle.valija("check").returncode == 0


def test_table_that_is_damaged_or_gone(idle):
    path = idle.dir / "state/passwords/passwd.db"
    with changed(path, "no table\n"):
        refused(idle, f"{path}: is damaged; bring it back from a backup")
    away = path.with_name("elsewhere")
    path.rename(away)
    try:
        path.symlink_to(away)  # chmod would go to what it points to
        refused(idle, f"{path}: is not a regular file: move it away; bring it back from a backup")
        path.unlink()
        warned(idle, f"{path} is not there, so that no user can log in: bring it back")
    finally:
        away.rename(path)
    assert "passwd.db" not in idle.valija("check").stdout


def test_passwd_file_with_a_line_that_is_none(idle, tmp_path):
    users = tmp_path / "users"
    users.write_text("# people\nbob@example.org:{PLAIN}x\n\nbob garbage\n")
    with changed(idle.conf, idle.conf.read_text() + f'auth_sources = {{"users", "passwd_file"}}\npasswd_file = "{users}"\n'):
        warned(idle, f"{users}:4: a line needs NAME:PASSWORD; nobody can log in by this one\n")


def test_domain_twice(idle):
    good = idle.conf.read_text().replace(valija.DOMAIN, f'{valija.DOMAIN}", "a.example", "A.example')
    with changed(idle.conf, good + 'alias_domains = "a.example"\n'):
        warned(idle, "A.example stands in domains twice", "a.example is in domains and in alias_domains: it has users then")


def test_aliases_that_lead_nowhere(idle):
    aliases = idle.dir / "etc/aliases"
    aliases.write_text("a: b\nb: c\nc: a\ngood: ana\ngone: nobody-here\nmany: ana, nobody-here\n"
                       "@virtual.example: ana\nowner-list: nobody-here\n")
    try:
        said = idle.valija("map").stdout
        for stdout in (said, idle.valija("check").stdout):
            for name in "abc":
                assert f"warning: alias {name}: mail for it is refused: 554 5.4.6 " in stdout
            assert "warning: alias gone: mail for it is refused: 550 5.1.1 No such user here\n" in stdout
            assert "warning: alias @virtual.example: mail for it is refused: 550 5.7.1 Relaying denied; its domain is in none of domains and alias_domains\n" in stdout
            assert "owner-" not in stdout
            assert "alias good" not in stdout and "alias many" not in stdout and "alias-loop" not in stdout
        # What the warning says is what a sender hears.
        assert idle.valija("check", "address", f"a@{valija.DOMAIN}", check=False).returncode == 67
    finally:
        aliases.unlink()
        idle.valija("map")


@needs_root
@pytest.mark.parametrize("name", ["state", "spool", "mail", "log"])
def test_read_only_file_system(idle, name):
    path = idle.dir / name
    with mount("--bind", path, path):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        refused(idle, f"{path}: is on a file system that is mounted read-only: mount -o remount,rw ")


@needs_root
def test_full_file_system(idle):
    path = idle.dir / "mail"
    was = path.stat()
    assert "room for" not in idle.valija("check").stdout, "this machine's own disk is nearly full"
    with mount("-t", "tmpfs", "-o", f"size=1m,mode=750,uid={was.st_uid},gid={was.st_gid}", "none", path):
        warned(idle, f"the file system of {path} has room for 1 MiB more: mail is put off when it is full")
        (path / "ballast").write_bytes(b"x" * (1 << 20))
        warned(idle, f"the file system of {path} has room for 0 MiB more: mail is put off when it is full")


def test_few_descriptors(idle):
    """Root raises the limit by itself, if it may; others hear it. Too few for anything are told before the start."""

    def start(most):
        lower = ["setpriv", "--bounding-set=-sys_resource"] if os.getuid() == 0 else []
        return subprocess.run([*lower, *idle.argv("start")], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))

    done = start(64)
    assert done.returncode == 71 and "a process may open 64 files at once (RLIMIT_NOFILE), too few to start: raise it by" in done.stderr
    assert not idle.pids()
    done = start(1000)
    assert done.returncode == 0, done.stderr
    assert "warning: a process may open 1000 files at once (RLIMIT_NOFILE), too few for all connections that may come" in done.stderr
    idle.stop()


def test_no_run_directory(idle):
    """Each start makes it: /run is empty after each boot."""
    shutil.rmtree(idle.dir / "run")
    idle.start()
    idle.stop()


def test_an_instance_of_an_earlier_version(idle):
    """What came later is made by the start, with owner and mode: an upgrade needs no other command."""
    ledger = idle.dir / "state/ledger"
    made = ledger.stat()
    shutil.rmtree(ledger)
    assert idle.valija("check").returncode == 0
    idle.start()
    try:
        now = ledger.stat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (made.st_mode, made.st_uid, made.st_gid)
    finally:
        idle.stop()


def test_state_that_is_not_mounted(idle):
    """Nothing is made in the place where its file system belongs; the certificates are elsewhere."""
    state, away = idle.dir / "state", idle.dir / "away"
    state.rename(away)
    state.mkdir(0o755)
    shutil.copytree(away / "tls", state / "tls")
    try:
        refused(idle, f"{state}/users: No such file or directory; `valija init` makes it")
        assert [path.name for path in state.iterdir()] == ["tls"]
    finally:
        shutil.rmtree(state)
        away.rename(state)


def test_two_at_once(idle):
    idle.start()
    try:
        for words in (["start"], ["start", "--foreground"]):
            done = idle.valija(*words, check=False)
            assert done.returncode == 75 and f"it is running already (pid {idle.master_pid()})" in done.stderr
    finally:
        idle.stop()
