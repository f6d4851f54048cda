"""`valija user`, whole: barred, expired, taken over from elsewhere, application passwords; and sessions end."""

import base64
import crypt
import hashlib
import imaplib
import json
import os
import secrets
import smtplib
import time

import pytest

import valija
from test_sasl import Scram


@pytest.fixture(scope="module")
def suite():
    instance = valija.Instance(settings={"auth_delay_seconds": 0})
    yield instance
    assert not instance.close()


def log_in(suite, user, password, service="imap"):
    """None, or what was said against it."""
    try:
        if service == "imap":
            with imaplib.IMAP4_SSL(suite.host, suite.port("imaps"), ssl_context=suite.tls(), timeout=30) as imap:
                imap.login(user, password)
        else:
            with suite.smtp() as smtp:
                smtp.login(user, password)
        return None
    except (imaplib.IMAP4.error, smtplib.SMTPAuthenticationError) as error:
        return str(error)


def session_ends(imap):
    """Does the server say BYE within five seconds?"""
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        try:
            imap.noop()
        except (imaplib.IMAP4.abort, OSError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("change", ["passwd", "disable", "del", "expire", "kick"])
def test_open_sessions_end(suite, change):
    """Of him who was changed, by IMAP and by SMTP; not those of others."""
    user, other = suite.new_user("ends"), suite.new_user("stays")
    imap, bystander, smtp = suite.imap(user), suite.imap(other), suite.smtp(user)
    assert imap.select("INBOX")[0] == "OK"
    more = {"passwd": ["--stdin"], "expire": ["2020-01-01"]}.get(change, [])
    suite.valija("user", change, user, *more, stdin="another password\n")
    assert session_ends(imap)
    with pytest.raises(smtplib.SMTPServerDisconnected):
        for _ in range(50):
            smtp.noop()
            time.sleep(0.05)
    assert bystander.noop()[0] == "OK"
    bystander.logout()
    assert (log_in(suite, user, suite.passwords[user]) is None) == (change == "kick")


def test_disable_enable_expire(suite):
    user = suite.new_user("barred")
    password = suite.passwords[user]
    assert log_in(suite, user, password) is None
    suite.valija("user", "disable", user)
    assert "AUTHENTICATIONFAILED" in log_in(suite, user, password) and "535" in log_in(suite, user, password, "smtp")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        suite.receive("a@example.net", [user], "Subject: refused\r\n\r\n")
    suite.valija("user", "enable", user)
    assert log_in(suite, user, password) is None
    suite.valija("user", "expire", user, "2020-01-01")
    assert "AUTHENTICATIONFAILED" in log_in(suite, user, password)
    assert "reason=expired" in suite.log()
    suite.valija("user", "expire", user, "2199-12-31")
    assert log_in(suite, user, password) is None
    assert suite.valija("user", "expire", user, "soon", check=False).returncode == 64
    shown = json.loads(suite.valija("user", "show", user, "--json").stdout)
    assert shown["expires"] > time.time()
    suite.valija("user", "quota", user, "2G", "--messages", "1000")
    shown = json.loads(suite.valija("user", "show", user, "--json").stdout)
    assert shown["quota_bytes"] == 2 << 30 and shown["quota_messages"] == 1000
    assert suite.valija("user", "quota", user, "lots", check=False).returncode == 64


def test_app_passwords(suite):
    """Shown once, kept as a digest; for their services only; by PLAIN and by SCRAM; revoked one by one."""
    user = suite.new_user("app")
    phone = suite.valija("user", "app-password", user, "phone", "--services", "imap").stdout.strip()
    printer = suite.valija("user", "app-password", user, "printer", "--services", "smtp").stdout.strip()
    both = suite.valija("user", "app-password", user, "laptop").stdout.strip()
    assert len({phone, printer, both}) == 3 and all(len(p) == 24 for p in (phone, printer, both))
    for password, imap, smtp in ((phone, True, False), (printer, False, True), (both, True, True), (suite.passwords[user], True, True)):
        assert (log_in(suite, user, password) is None) == imap
        assert (log_in(suite, user, password, "smtp") is None) == smtp
        client = Scram(suite)
        assert (client.login(user, password) is None) == imap
        client.close()
    listed = json.loads(suite.valija("user", "app-password", user, "--json").stdout)
    assert [(a["name"], a["services"]) for a in listed] == [("phone", ["imap"]), ("printer", ["smtp"]), ("laptop", ["imap", "smtp"])]
    assert not any(p in text for p in (phone, printer, both) for text in (suite.log(), json.dumps(listed)))
    session = suite.imap(user)
    suite.valija("user", "app-password", user, "phone", "--delete")
    assert session_ends(session)
    assert log_in(suite, user, phone) is not None and log_in(suite, user, both) is None
    # A new password leaves the others as they are.
    suite.valija("user", "passwd", user, "--stdin", stdin="a new password\n")
    assert log_in(suite, user, both) is None and log_in(suite, user, "a new password") is None
    assert suite.valija("user", "app-password", user, "laptop", check=False).returncode == 65
    assert suite.valija("user", "app-password", user, "nothing", "--delete", check=False).returncode == 65
    assert suite.valija("user", "app-password", user, "x", "--services", "pop", check=False).returncode == 64


def salted(kind, password):
    salt = os.urandom(8)
    return base64.b64encode(hashlib.new(kind, password.encode() + salt).digest() + salt).decode()


def test_import_of_a_dovecot_passwd_file(suite, tmp_path):
    """Every scheme, quota rules, names with and without a domain; who is there stays as he is."""
    salt, iterations = os.urandom(16), 4096
    scrammed = hashlib.pbkdf2_hmac("sha256", b"word-scram", salt, iterations)
    stored = hashlib.sha256(__import__("hmac").digest(scrammed, b"Client Key", "sha256")).digest()
    server = __import__("hmac").digest(scrammed, b"Server Key", "sha256")
    b64 = lambda data: base64.b64encode(data).decode()
    fields = {
        "plain": "{PLAIN}word-plain",
        "sha512crypt": "{SHA512-CRYPT}" + crypt.crypt("word-sha512crypt", crypt.mksalt(crypt.METHOD_SHA512, rounds=1000)),
        "bare": crypt.crypt("word-bare", crypt.mksalt(crypt.METHOD_SHA256, rounds=1000)),
        "blf": "{BLF-CRYPT}" + crypt.crypt("word-blf", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)),
        "md5": "{MD5-CRYPT}" + crypt.crypt("word-md5", crypt.mksalt(crypt.METHOD_MD5)),
        "ssha": "{SSHA}" + salted("sha1", "word-ssha"),
        "ssha256": "{SSHA256}" + salted("sha256", "word-ssha256"),
        "ssha512": "{SSHA512}" + salted("sha512", "word-ssha512"),
        "sha256": "{SHA256}" + b64(hashlib.sha256(b"word-sha256").digest()),
        "sha1hex": "{SHA.HEX}" + hashlib.sha1(b"word-sha1hex").hexdigest(),
        "plainmd5": "{PLAIN-MD5}" + hashlib.md5(b"word-plainmd5").hexdigest(),
        "scram": f"{{SCRAM-SHA-256}}{iterations},{b64(salt)},{b64(stored)},{b64(server)}",
    }
    if "#define HAVE_ARGON2 1" in (valija.TOP / "config.h").read_text():
        # With as many lanes as Python's argon2-cffi makes: a worker may start no threads for them.
        fields["argon2id"] = "{ARGON2ID}$argon2id$v=19$m=1024,t=2,p=4$c2FsdHNhbHQxMjM0NTY3OA$UEzoMuogqN1GnicbcZm/OJ0WHoF0+92Ra3lrxzQV38E"
        fields["argon2i"] = "{ARGON2I}$argon2i$v=19$m=1024,t=3,p=1$c2FsdHNhbHQxMjM0NTY3OA$B8aXlX1ZWz+3EYzmq7hh/PeEezJPgkaWvbeELLxBsm4"
    there = suite.user_add("imp-there@example.org", "own password")
    lines = [f"imp-{name}{'@example.org' if i % 2 else ''}:{field}:5000:5000::/var/mail/{name}::userdb_quota_rule=*:storage=2G userdb_mail=x"
             for i, (name, field) in enumerate(fields.items())]
    lines += ["# a comment", "", f"{there}:{{PLAIN}}other::::::", "imp-nopassword:!:5000:5000::::"]
    file = tmp_path / "passwd"
    file.write_text("\n".join(lines) + "\n")
    said = suite.valija("user", "import", file).stdout
    assert f"{len(fields) + 1} added, 1 were there" in said and "1 have no password" in said, said
    for name in fields:
        user = f"imp-{name}@example.org"
        assert log_in(suite, user, f"word-{name}") is None, name
        assert log_in(suite, user, f"word-{name}x") is not None, name
        assert json.loads(suite.valija("user", "show", user, "--json").stdout)["quota_bytes"] == 2 << 30
    assert log_in(suite, there, "own password") is None
    assert log_in(suite, "imp-nopassword@example.org", "!") is not None


def test_import_is_all_or_nothing(suite, tmp_path):
    file = tmp_path / "bad"
    file.write_text("bad-one:{PLAIN}x::::::\nnot a row\nbad-two:{NTLM}abc::::::\n\"a b:{PLAIN}x::::::\nbad-three@elsewhere.example:{PLAIN}x\nbad-four:{SSHA512}garbage::::::\nbad-five:{BLF-CRYPT}no hash at all::::::\n")
    done = suite.valija("user", "import", file, check=False)
    assert done.returncode == 65 and "6 mistakes" in done.stderr
    for line, words in ((2, "not of the form"), (3, "form that valija does not know"), (4, "not one of an address"), (5, "not in a domain"), (6, "not whole"),
                        (7, "not whole")):
        assert f"{file}:{line}: " in done.stderr and words in done.stderr, done.stderr
    assert "bad-one" not in suite.valija("user", "list").stdout
    file.write_bytes(b"a:\0:")
    assert suite.valija("user", "import", file, check=False).returncode == 66
    assert suite.valija("user", "import", tmp_path / "none", check=False).returncode == 66
    assert suite.valija("user", "import", file, "--format", "xml", check=False).returncode == 64


def test_import_of_passwd_and_csv(suite, tmp_path):
    (tmp_path / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\npwd-ana:x:1001:1001:Ana:/home/ana:/bin/sh\npwd-locked:x:1002:1002::/home/l:/bin/sh\n")
    (tmp_path / "shadow").write_text("root:!:1::::::\npwd-ana:" + crypt.crypt("ana's word", crypt.mksalt(crypt.METHOD_SHA512, rounds=1000)) + ":1::::::\npwd-locked:!$6$x$y:1::::::\n")
    said = suite.valija("user", "import", tmp_path / "passwd", "--format", "passwd", "--shadow", tmp_path / "shadow").stdout
    assert "2 added" in said and "root" not in suite.valija("user", "list").stdout
    assert log_in(suite, "pwd-ana@example.org", "ana's word") is None
    assert log_in(suite, "pwd-locked@example.org", "!$6$x$y") is not None
    (tmp_path / "csv").write_text('address,password,quota\r\ncsv-one@example.org,"a ""quoted"", word",500M\r\ncsv-two,plain word,\r\n')
    assert "2 added" in suite.valija("user", "import", tmp_path / "csv", "--format", "csv").stdout
    assert log_in(suite, "csv-one@example.org", 'a "quoted", word') is None
    client = Scram(suite)  # clear text came: SCRAM keys were made
    assert client.login("csv-two@example.org", "plain word") is None
    client.close()


def test_password_quality():
    instance = valija.Instance(settings={"password_quality": "yes"}, start=False)
    try:
        done = instance.valija("user", "add", "weak@example.org", "--stdin", stdin="abcabc\n", check=False)
        assert done.returncode == 66 and "weak" in done.stderr
        instance.valija("user", "add", "strong@example.org", "--stdin", stdin="Nine-lazy-foxes-jump-42\n")
    finally:
        assert not instance.close()


def test_master_users():
    """Who is named in master_users acts as another with his own password; nobody else does; both stand in the log."""
    instance = valija.Instance(settings={"auth_delay_seconds": 0, "master_users": '{"boss@example.org"}'})
    try:
        boss, user, other = instance.user_add("boss@example.org"), instance.new_user("user"), instance.new_user("other")

        def act(as_whom, who, password, scram=False):
            if scram:
                client = Scram(instance)
                said = client.login(who, password, authzid=f"a={as_whom}")
                if said is None:
                    client.imap.select("INBOX")
                client.close()
                return said
            with imaplib.IMAP4_SSL(instance.host, instance.port("imaps"), ssl_context=instance.tls(), timeout=30) as imap:
                try:
                    imap.authenticate("PLAIN", lambda _: f"{as_whom}\0{who}\0{password}".encode())
                    imap.append("INBOX", None, None, b"Subject: by the master\r\n\r\n")
                    return None
                except imaplib.IMAP4.error as error:
                    return str(error)

        right = instance.passwords[boss]
        for scram in (False, True):
            assert act(user, boss, right, scram) is None
            assert act(boss, boss, right, scram) is None
            for as_whom, who, password in ((user, boss, instance.passwords[user]), (other, user, instance.passwords[user]),
                                           (boss, user, instance.passwords[user]), ("nobody@example.org", boss, right)):
                assert "AUTHENTICATIONFAILED" in act(as_whom, who, password, scram), (as_whom, who)
        assert len(instance.delivered(user)) == 1 and len(instance.delivered(boss)) == 1 and not instance.delivered(other)
        assert f"auth-acts-as session=" in instance.log() and f"user={user} master={boss}" in instance.log()
        instance.valija("user", "disable", user)
        assert "AUTHENTICATIONFAILED" in act(user, boss, right)
    finally:
        assert not instance.close()


def test_a_passwd_file_as_source(tmp_path):
    """The first source that knows the user decides; a reload reads the file anew; a file that is gone refuses the reload."""
    file = tmp_path / "passwd"
    file.write_text("from-file:{SSHA256}" + salted("sha256", "file word") + "::::::\nboth@example.org:{PLAIN}file word::::::\n# x\nclosed:!::::::\n")
    instance = valija.Instance(start=False, settings={"auth_delay_seconds": 0, "auth_sources": '{"users", "passwd_file"}',
                                                      "passwd_file": f'"{file}"'})
    try:
        for name in ("from-file", "closed"):
            instance.valija("user", "add", f"{name}@example.org", "--no-password")
        both = instance.user_add("both@example.org", "own word")
        instance.start()
        assert log_in(instance, "from-file@example.org", "file word") is None
        assert log_in(instance, "from-file", "file word") is None
        assert log_in(instance, "from-file@example.org", "other") is not None
        assert log_in(instance, "closed@example.org", "!") is not None
        assert log_in(instance, both, "own word") is None and log_in(instance, both, "file word") is not None
        file.write_text("from-file:{PLAIN}new word::::::\n")
        assert log_in(instance, "from-file@example.org", "file word") is None
        instance.valija("reload")
        assert log_in(instance, "from-file@example.org", "file word") is not None
        assert log_in(instance, "from-file@example.org", "new word") is None
        file.rename(tmp_path / "elsewhere")
        assert instance.valija("reload", check=False).returncode != 0
        assert log_in(instance, "from-file@example.org", "new word") is None
    finally:
        assert not instance.close()


def test_aliases_of_a_user(suite):
    """Made, used, listed and removed from the user's side; for nobody who is none, and no name that is none."""
    user, other = suite.new_user("many-names"), suite.new_user("other")
    names = [f"info-{secrets.token_hex(4)}@{valija.DOMAIN}", f"sales-{secrets.token_hex(4)}@{valija.DOMAIN}"]
    suite.valija("user", "alias", user, *names)
    assert sorted(suite.valija("user", "alias", user).stdout.split()) == sorted(names)
    assert suite.valija("user", "alias", other).stdout == ""
    suite.receive("stranger@far.example", [names[0]], "Subject: x\r\n\r\nx\r\n")
    assert len(suite.delivered(user)) == 1
    again = suite.valija("user", "alias", other, names[0], check=False)
    assert again.returncode != 0 and "is an alias already" in again.stderr
    suite.valija("user", "alias", user, names[0], "--delete")
    assert suite.valija("user", "alias", user).stdout.split() == [names[1]]
    assert suite.valija("user", "alias", f"nobody-here@{valija.DOMAIN}", "x@example.org", check=False).returncode == 67
    assert suite.valija("user", "alias", user, "two\nlines", check=False).returncode == 65
    suite.valija("user", "alias", user, names[1], "--delete")
