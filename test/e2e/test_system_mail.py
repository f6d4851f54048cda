"""Mail for the system's users: into their homes, under their own uid, whatever they plant there; and
what their .forward files say."""

import os
import pathlib
import secrets
import smtplib
import stat

import pytest

import mails
import valija
from test_pam import PASSWORD, LocalUser

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root: makes local users")
DOMAIN = "sys.example.org"


@pytest.fixture(scope="module")
def post():
    with valija.Instance(settings={"alias_commands": "yes", "alias_files": "yes", "system_users": "yes", "system_domains": f'{{"{DOMAIN}"}}',
                                   "system_homes": '{"/tmp"}', "domains": '{"example.org"}'}) as suite:
        suite.user_add("ana")
        yield suite


@pytest.fixture
def people():
    """Makes users who are removed at the end."""
    made = []

    def make():
        made.append(LocalUser())
        return made[-1]
    yield make
    for user in made:
        user.close()


def send(suite, *to, word=None):
    word = word or secrets.token_hex(6)
    suite.receive("a@far.example", list(to), mails.plain("a@far.example", "you", word))
    return word


def address(user):
    return f"{user.name}@{DOMAIN}"


def found(home, word):
    return [p for p in (pathlib.Path(home) / "Maildir").glob("new/*") if word.encode() in p.read_bytes()]


def put(path, text, user, mode=0o644):
    path.write_text(text)
    os.chown(path, user.uid, user.gid)
    os.chmod(path, mode)


def test_mail_is_placed_as_the_user(post, people):
    one, two = people(), people()
    word = send(post, address(one))
    (path,) = found(one.home, word)
    assert path.read_bytes().startswith(b"Return-Path: <a@far.example>\r\n")
    for made in [path, *(one.home / "Maildir").rglob("*"), one.home / "Maildir"]:
        assert (made.stat().st_uid, made.stat().st_gid) == (one.uid, one.gid) and not made.stat().st_mode & 0o077
    # Two owners: two files; and a virtual user beside them.
    word = send(post, address(one), address(two), "ana@example.org")
    valija.wait_until(lambda: found(one.home, word) and found(two.home, word), 10, "mail for both")
    assert found(two.home, word)[0].stat().st_uid == two.uid and found(one.home, word)[0].stat().st_nlink == 1
    valija.wait_until(lambda: any(word.encode() in p.read_bytes() for p in post.delivered("ana@example.org")), 10,
                      "mail for ana")
    assert not list((one.home / "Maildir/tmp").iterdir())
    assert "550" in str(refusal(post, f"no-{one.name}@{DOMAIN}"))


def refusal(post, to):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as e:
        send(post, to)
    return e.value


def test_root_gets_no_mailbox(post):
    """His mail goes to postmaster, until an alias says otherwise."""
    word = send(post, f"root@{DOMAIN}")
    assert any(word.encode() in p.read_bytes() for p in post.delivered("ana@example.org"))
    (post.conf.parent / "aliases").write_text("root: ana\n")
    post.valija("map", "aliases")
    word = send(post, f"root@{DOMAIN}")
    assert any(word.encode() in p.read_bytes() for p in post.delivered("ana@example.org"))


def test_the_process_is_confined(post):
    (process,) = post.processes("local-home")
    kernel = valija.proc_status(process["pid"])
    assert int(kernel["CapEff"], 16) == (1 << 6 | 1 << 7) == int(kernel["CapBnd"], 16)
    assert kernel["Seccomp"].strip() == "2" and kernel["NoNewPrivs"].strip() == "1" and kernel["Groups"].strip() == ""
    assert "0" not in kernel["Uid"].split()
    (plain, *_) = post.processes("local")
    assert int(valija.proc_status(plain["pid"])["CapEff"], 16) == 0


def test_forward(post, people):
    one, two = people(), people()
    put(one.home / ".forward", f"# mine, too\n\\{one.name}, ana@example.org, {two.name}\n", one)
    word = send(post, address(one))
    valija.wait_until(lambda: found(one.home, word) and found(two.home, word), 10, "forwarded mail")
    valija.wait_until(lambda: any(word.encode() in p.read_bytes() for p in post.delivered("ana@example.org")), 10,
                      "mail for ana")
    # Two who forward to each other keep it.
    one, two = people(), people()
    put(one.home / ".forward", f"{two.name}\n", one)
    put(two.home / ".forward", f"{one.name}\n", two)
    word = send(post, address(one))
    valija.wait_until(lambda: found(one.home, word), 10, "the message that went in a circle")
    assert len(found(one.home, word)) == 1 and not found(two.home, word)


def test_f1_what_is_planted_in_a_home_is_not_followed(post, people):
    """F1: links, pipes, files of others and writable files as .forward do not count, and are not hung at."""
    secret = pathlib.Path("/tmp") / f"valija-secret-{secrets.token_hex(4)}"
    secret.write_text("ana@example.org\n")
    secret.chmod(0o600)

    def link(user):
        (user.home / ".forward").symlink_to(secret)

    def hard_link(user):
        (user.home / ".forward").hardlink_to(secret)

    def pipe(user):
        os.mkfifo(user.home / ".forward")

    def writable(user):
        put(user.home / ".forward", "ana@example.org\n", user, 0o666)

    def home_writable(user):
        put(user.home / ".forward", "ana@example.org\n", user)
        user.home.chmod(0o777)

    def second_name(user):
        put(user.home / ".forward", "ana@example.org\n", user)
        (user.home / "other").hardlink_to(user.home / ".forward")

    def of_another(user):
        put(user.home / ".forward", "ana@example.org\n", people())

    def nonsense(user):
        put(user.home / ".forward", "\"|/bin/sh\n:include:/etc/passwd\n", user)

    def commands(user):
        put(user.home / ".forward", "|/usr/bin/touch /tmp/valija-was-here\n", user)

    try:
        for plant in [link, hard_link, pipe, writable, home_writable, second_name, of_another, nonsense, commands]:
            user = people()
            plant(user)
            word = send(post, address(user))
            valija.wait_until(lambda: found(user.home, word), 5, f"mail of whom a {plant.__name__} was planted at")
            assert not any(word.encode() in p.read_bytes() for p in post.delivered("ana@example.org"))
        assert secret.read_text() == "ana@example.org\n" and post.log().count("forward-ignored") >= 8
        # Maildirs that lead elsewhere: deferred, at once, and nothing is touched.
        for name, make in [("new", lambda p: p.symlink_to("/etc")), ("tmp", os.mkfifo), (".", None)]:
            user = people()
            box = user.home / "Maildir"
            if make:
                for part in {"new", "cur", "tmp"} - {name}:
                    (box / part).mkdir(parents=True)
                make(box / name)
                for path in [box, *box.iterdir()]:
                    os.lchown(path, user.uid, user.gid)
            else:
                box.symlink_to("/root")
            with post.smtp(service="smtp") as smtp:
                with pytest.raises(smtplib.SMTPDataError) as e:
                    smtp.sendmail("a@far.example", [address(user)], mails.plain("a", "b", "c"))
            assert e.value.smtp_code == 451
        assert not stat.S_ISREG(os.lstat(box).st_mode)
    finally:
        secret.unlink()


def test_aliases_for_system_users(post, people):
    one = people()
    (post.conf.parent / "aliases").write_text(f"help: {one.name}@{DOMAIN}\n{one.name}-list: {one.name}\n")
    post.valija("map", "aliases")
    word = send(post, "help@example.org")
    valija.wait_until(lambda: found(one.home, word), 10, "mail by an alias")
    said = post.valija("check", "address", address(one)).stdout
    assert f"mailbox {one.home}/Maildir of uid {one.uid}" in said and ".forward" in said


def test_ten_at_once(post, people):
    """More users of the system in one message than are copied to together."""
    many = [people() for _ in range(10)]
    word = send(post, *[address(u) for u in many])
    valija.wait_until(lambda: all(found(u.home, word) for u in many), 15, "mail for all ten")
    assert all(len(found(u.home, word)) == 1 and found(u.home, word)[0].stat().st_uid == u.uid for u in many)


def test_sends_as_his_alias_at_once(post, people):
    """Nobody knows yet whose the alias is: he waits a moment for the answer, and is not refused. Where his mail is
    sent on to does not matter."""
    user = people()
    name = "as-" + secrets.token_hex(3)
    post.valija("alias", "add", f"{name}@{DOMAIN}", address(user))
    put(user.home / ".forward", "elsewhere@far.example\n", user)
    post.passwords[address(user)] = PASSWORD
    with post.smtp(address(user)) as smtp:
        assert smtp.mail(f"{name}@{DOMAIN}")[0] == 250
        smtp.rset()
        code, text = smtp.mail("ana@example.org")
        assert (code, text[:5]) == (553, b"5.7.1")
