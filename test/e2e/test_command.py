"""What an administrator types wrongly, and what the command says to it."""

import os
import ssl
import subprocess

import pytest

import valija

COMMANDS = ("init", "start", "stop", "reload", "status", "check", "env", "user add", "user passwd",
            "user del", "user list", "user show", "queue", "trace", "version")


@pytest.fixture
def idle():
    """An instance that does not run."""
    with valija.Instance(start=False) as instance:
        yield instance


def said(done):
    return done.stdout + done.stderr


@pytest.mark.parametrize("words", COMMANDS)
def test_help_is_never_refused(idle, words):
    """Whatever else a command needs."""
    done = idle.valija(*words.split(), "--help", with_dir=False, check=False)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: valija [--dir DIR] {words}")
    assert idle.valija(*words.split(), "-h", with_dir=False, check=False).stdout == done.stdout


def test_an_unknown_command_is_named(idle):
    done = idle.valija("strat", with_dir=False, check=False)
    assert done.returncode == 64 and done.stderr == "valija: there is no command strat; `valija --help` lists all\n"


def test_the_first_word_of_several_commands_lists_these(idle):
    done = idle.valija("cert", with_dir=False, check=False)
    assert done.returncode == 64 and "several commands" in done.stderr
    # What stands further to the right is the help of the line above.
    listed = [line.split()[0] for line in done.stderr.splitlines() if line.startswith("    ") and line[4] != " "]
    assert len(listed) > 5 and set(listed) == {"cert"}
    done = idle.valija("cert", "isue", with_dir=False, check=False)
    assert done.returncode == 64 and "there is no command cert isue" in done.stderr and "    start " not in done.stderr
    assert idle.valija("cert", "--help", with_dir=False).stdout.count("\n    cert ") == len(listed)


def names(instance):
    with instance.dir.joinpath("state/tls/server.crt").open() as file:
        pem = file.read().split("-----END")[0] + "-----END CERTIFICATE-----\n"
    (instance.dir / "one.crt").write_text(pem)
    found = ssl._ssl._test_decode_cert(str(instance.dir / "one.crt"))
    return {value for kind, value in found["subjectAltName"] if kind == "DNS"}


def as_made(instance):
    """The configuration without what the tests add to it."""
    lines = instance.conf.read_text().splitlines()
    instance.conf.write_text("".join(l + "\n" for l in lines if not l.startswith(("listen", "auth_slow_failures"))))


def test_init_takes_the_place_of_a_guess(idle):
    """A package guesses hostname and domain; the administrator's init says them."""
    as_made(idle)
    done = idle.valija("init", "--hostname", "mail.example.com", "--domain", "example.com")
    assert "in place of" in said(done)
    assert 'hostname = "mail.example.com"\ndomains = {"example.com"}' in idle.conf.read_text()
    assert "mail.example.com" in names(idle)
    assert idle.valija("check").stdout == ""


@pytest.mark.parametrize("work", ["a user", "a line"])
def test_init_never_replaces_anybodys_work(idle, work):
    as_made(idle)
    if work == "a user":
        idle.user_add("somebody")
    else:
        idle.conf.write_text(idle.conf.read_text() + "recipients = 500\n")
    before = idle.conf.read_bytes()
    done = idle.valija("init", "--hostname", "mail.example.com", "--domain", "example.com",
                       check=False)
    assert done.returncode == 73 and "is there already, with hostname" in done.stderr
    assert idle.conf.read_bytes() == before


def test_init_makes_a_certificate_for_a_new_name(idle):
    idle.user_add("somebody")
    text = idle.conf.read_text()
    idle.conf.write_text(text.replace('hostname = "localhost"', 'hostname = "new.example.org"'))
    assert "`valija init` makes a new one" in idle.valija("check").stdout
    idle.valija("init")
    assert "new.example.org" in names(idle)
    assert "warning" not in idle.valija("check").stdout


def test_start_says_what_check_says(idle):
    """A directory that a daemon could not use is named; nothing starts and dies."""
    spool = idle.dir / "spool"
    spool.chmod(0o500)
    try:
        for command in ("check", "start"):
            done = idle.valija(command, check=False)
            assert done.returncode == 78 and f"{spool}: has mode 0500" in done.stderr
            assert "chmod 0700" in done.stderr
    finally:
        spool.chmod(0o700)
    idle.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="the group matters to separate users")
def test_a_table_that_its_group_cannot_read_is_told(idle):
    passwords = idle.dir / "state/passwords"
    passwords.chmod(0o700)
    done = idle.valija("start", check=False)
    assert done.returncode == 78 and f"{passwords}: has mode 0700; its group cannot" in done.stderr


def test_postmaster_who_is_nobody_is_told(idle):
    idle.user_add("somebody")
    text = idle.conf.read_text()
    idle.conf.write_text(text + f'postmaster = "nobody@{valija.DOMAIN}"\n')
    assert f"postmaster nobody@{valija.DOMAIN} is not a user" in idle.valija("check").stdout
    idle.conf.write_text(text + f'postmaster = "Somebody@{valija.DOMAIN}"\n')
    assert "postmaster" not in idle.valija("check").stdout


def test_stop_tells_of_a_master_that_cannot_be_asked(idle):
    idle.start()
    (idle.dir / "run/control").rename(idle.dir / "run/away")
    done = idle.valija("stop", check=False)
    (idle.dir / "run/away").rename(idle.dir / "run/control")
    assert done.returncode == 75 and f"pid {idle.master_pid()}" in done.stderr
    idle.stop()
    assert not idle.pids()


@pytest.mark.parametrize("program", ["smtpd", "imap", "tls-key"])
def test_a_daemon_by_hand_says_who_starts_it(idle, program):
    done = valija.run([valija.BUILD / f"libexec/valija-{program}"], check=False)
    assert done.returncode == 64 and b"valija start" in done.stderr


def test_reloads_at_once_all_come_true(idle):
    """None is told that it failed because another was under way."""
    idle.user_add("somebody")
    idle.start()
    asked = [subprocess.Popen(idle.argv("reload"), stderr=subprocess.PIPE) for _ in range(5)]
    assert [(p.communicate()[1], p.returncode) for p in asked] == [(b"", 0)] * 5


def test_config_shows_what_was_understood(idle):
    """What it prints is a configuration that means the same; nothing that the file leaves out is in it without --all."""
    good = idle.conf.read_text()
    try:
        idle.conf.write_text(good + """relayhost = 'a\\\\b"c' # no host\n""")
        assert idle.valija("config", check=False).returncode == 78
        idle.conf.write_text(good + "policy_exempt = '10.0.0.0/8, 192.0.2.1'\nmta_sts = no subaddress_separators = '$\"-'\n")
        said = idle.valija("config").stdout
        for line in ('policy_exempt = {"10.0.0.0/8", "192.0.2.1"}', "mta_sts = no", 'subaddress_separators = "\\$\\"-"'):
            assert f"\n{line}\n" in said
        assert "queue_days" not in said and "queue_days = " in idle.valija("config", "--all").stdout
        everything = idle.valija("config", "--all").stdout
        idle.conf.write_text(said)
        assert idle.valija("config").stdout == said and idle.valija("config", "--all").stdout == everything
        idle.conf.write_text(everything)
        assert idle.valija("config").stdout == everything
    finally:
        idle.conf.write_text(good)
