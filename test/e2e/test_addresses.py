"""Where addresses lead: aliases, domains behind us, details, catch-all, transports, senders; and the
commands that compile and explain: valija map, alias, domain, check address."""

import json
import os
import re
import secrets
import shutil
import smtplib
import subprocess

import pytest

import mails
import valija


@pytest.fixture(scope="module")
def post():
    """An instance with every kind of domain."""
    with valija.Instance(settings={
            "domains": '{"example.org", "second.example"}', "alias_domains": '{"virtual.example"}',
            "relay_domains": '{"backup.example"}'}) as suite:
        for name in ["ana", "ben", "zoe"]:
            suite.user_add(name)
        yield suite


def source(suite, table, text):
    path = suite.conf.parent / table
    path.write_text(text)
    return path


def compiled(suite, table, text):
    source(suite, table, text)
    return suite.valija("map", table).stdout


def send(suite, to, sender="a@far.example", word=None):
    word = word or secrets.token_hex(6)
    suite.receive(sender, [to] if isinstance(to, str) else to, mails.plain(sender, "list", word))
    return word


def has(suite, user, word, folder=""):
    box = suite.maildir(f"{user}@{valija.DOMAIN}") / folder
    return sum(word.encode() in p.read_bytes() for part in ("new", "cur") for p in (box / part).glob("*"))


def refused(suite, to, sender="a@far.example"):
    with pytest.raises(smtplib.SMTPRecipientsRefused) as e:
        send(suite, to, sender)
    (code, text), = e.value.recipients.values()
    return code, text.decode()


ALIASES = """# Everybody
team: ana, ben,
    "zoe"
Everyone: team, ana
loop: loop-too
loop-too: loop
nobody-there: missing-user
list: ana
owner-list: zoe
second@virtual.example: ben
@virtual.example: zoe
ben: zoe
"""


def test_aliases(post):
    said = compiled(post, "aliases", ALIASES)
    assert said.startswith("aliases: 10 keys\n") and re.findall("alias (\\S+): mail for it is refused", said) == [
        "loop", "loop-too", "nobody-there"], said
    word = send(post, "team@example.org")
    assert [has(post, u, word) for u in ("ana", "ben", "zoe")] == [1, 1, 1]
    word = send(post, ["everyone@second.example", "ana@example.org"])
    assert [has(post, u, word) for u in ("ana", "ben", "zoe")] == [1, 1, 1]
    # An exact user goes before an alias; an address before its domain.
    word = send(post, ["ben@example.org", "second@virtual.example"])
    assert [has(post, u, word) for u in ("ana", "ben", "zoe")] == [0, 1, 0]
    word = send(post, "whoever@virtual.example")
    assert [has(post, u, word) for u in ("ana", "ben", "zoe")] == [0, 0, 1]
    # The list's failures are its owner's.
    word = send(post, "list@example.org")
    valija.wait_until(lambda: has(post, "ana", word), 10, "mail by the list")
    (text,) = [p.read_bytes() for p in post.delivered("ana@example.org") if word.encode() in p.read_bytes()]
    assert text.startswith(b"Return-Path: <owner-list@example.org>\r\nDelivered-To: ana@example.org\r\n")


def test_r2_bad_aliases_are_refused_in_the_session(post):
    """R2, F5: what leads nowhere is the sender's to know at once; nothing comes into the queue."""
    compiled(post, "aliases", ALIASES)
    code, text = refused(post, "loop@example.org")
    assert code == 554 and text.startswith("5.4.6")
    assert refused(post, "nobody-there@example.org")[0] == 550
    assert refused(post, "missing@example.org")[1].startswith("5.1.1")
    assert refused(post, "x@elsewhere.example")[1].startswith("5.7.1")
    assert json.loads(post.valija("queue", "list", "--json").stdout) == []


def test_f5_loops(post):
    """An alias of itself, a circle of two, a circle with a way out: found at RCPT, at once."""
    compiled(post, "aliases", "self: self\nla: lb\nlb: la\nwide: ana, la\nnull: /dev/null\n")
    for name in ("la", "lb", "wide"):
        code, text = refused(post, f"{name}@example.org")
        assert code == 554 and text.startswith("5.4.6"), (name, text)
    assert refused(post, "self@example.org")[0] in (550, 554)
    word = send(post, "null@example.org")
    assert not any(has(post, user, word) for user in ("ana", "ben", "zoe"))


def test_f5_a_chain_of_a_thousand(post):
    compiled(post, "aliases", "".join(f"c{i}: c{i + 1}\n" for i in range(1000)) + "self: self\n")
    assert refused(post, "c0@example.org")[1].startswith("5.4.6")
    assert refused(post, "self@example.org")[0] == 550


def test_details_choose_folders(post):
    with post.imap("ana@example.org") as imap:
        assert imap.create("Bills")[0] == "OK"
    word = send(post, "ana+bills@example.org")
    assert has(post, "ana", word, ".Bills") == 1 and has(post, "ana", word) == 0
    word = send(post, "ana+else@example.org")
    assert has(post, "ana", word) == 1


def test_transports(post):
    compiled(post, "transport", "gone.example error:5.1.10 Moved to the country\n"
             "drop@second.example discard:\nbackup.example smtp:[127.0.0.1]:1\n")
    with post.smtp("ana@example.org") as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as e:
            smtp.sendmail("ana@example.org", ["x@gone.example"], mails.plain("ana@example.org", "x", "x"))
    assert b"5.1.10 Moved to the country" in e.value.recipients["x@gone.example"][1]
    before = len(post.log())
    send(post, "drop@second.example")
    assert "discarded" in post.log()[before:]
    # Anybody may send to what lies behind us, and to nothing else.
    with post.smtp(service="smtp") as smtp:
        smtp.ehlo()
        smtp.mail("a@far.example")
        assert smtp.rcpt("whoever@backup.example")[0] == 250
        assert smtp.rcpt("x@other.example")[0] == 550
    os.unlink(post.conf.parent / "transport")
    assert "removed" in post.valija("map", "transport").stdout


def test_a_sender_belongs_to_the_login(post):
    compiled(post, "aliases", "sales: ana, zoe\nclosed: ben\n")
    compiled(post, "senders", "ana@example.org  boss@example.org, @granted.example\n")
    body = mails.plain("x", "y", "z")
    with post.smtp("ana@example.org") as smtp:
        for sender in ["ana@example.org", "ANA+x@example.org", "sales@example.org", "boss@example.org",
                       "any@granted.example", ""]:
            smtp.sendmail(sender, ["ben@example.org"], body)
        for sender in ["ben@example.org", "closed@example.org", "x@other.example", "missing@example.org"]:
            with pytest.raises(smtplib.SMTPSenderRefused) as e:
                smtp.sendmail(sender, ["ben@example.org"], body)
            assert e.value.smtp_code == 553 and e.value.smtp_error.startswith(b"5.7.1")
            smtp.rset()


def test_senders_and_recipients_are_rewritten(post):
    compiled(post, "canonical", "old-ben@example.org ben@example.org\n@renamed.example @example.org\n")
    word = send(post, "old-ben@example.org")
    assert has(post, "ben", word) == 1
    compiled(post, "senders", "ana@example.org ana@renamed.example\n")
    word = secrets.token_hex(6)
    with post.smtp("ana@example.org") as smtp:
        smtp.sendmail("ana@renamed.example", ["ben@example.org"], mails.plain("a", "b", word))
    valija.wait_until(lambda: has(post, "ben", word), 10, "the message")
    (text,) = [p.read_bytes() for p in post.delivered("ben@example.org") if word.encode() in p.read_bytes()]
    assert text.startswith(b"Return-Path: <ana@example.org>\r\n")


def test_senders_are_masqueraded(post):
    """Where the administrator wants it: a host's name is not seen outside."""
    compiled(post, "senders", "ana@example.org ana@host.example.org\n")
    for domains, sender in [('{"example.org"}', b"ana@example.org"), ("{}", b"ana@host.example.org")]:
        post.configure(masquerade_domains=domains)
        post.valija("reload")
        word = secrets.token_hex(6)
        with post.smtp("ana@example.org") as smtp:
            smtp.sendmail("ana@host.example.org", ["ben@example.org"], mails.plain("a", "b", word))
        valija.wait_until(lambda: has(post, "ben", word), 10, "the message")
        (text,) = [p.read_bytes() for p in post.delivered("ben@example.org") if word.encode() in p.read_bytes()]
        assert text.startswith(b"Return-Path: <" + sender + b">\r\n")


def test_a_mistake_changes_nothing(post, tmp_path):
    """Each mistake with its file and line; the table in force stays."""
    compiled(post, "aliases", "good: ana\n")
    members = tmp_path / "members"
    members.write_text(f"ana\n# nobody\nben, :include:{members}\n")
    path = source(post, "aliases", f"good: ben\nbad one\n\nworse: \"zoe\n  , ana\nx: |id\n"
                                   f"inc: :include:{members}\nnone: :include:/nonexistent\n")
    done = post.valija("map", "aliases", check=False)
    assert done.returncode == 65
    for line in [f"{path}:2: a line needs", f"{path}:4: ", f"{path}:6: |id: a command needs",
                 f"{members}:3: ", f"{path}:8: "]:
        assert line in done.stderr, done.stderr
    assert post.valija("map", "aliases", "-q", "good").stdout == "ana\n"
    members.write_text("ana\n# nobody\nben, zoe\n")
    compiled(post, "aliases", f"inc: :include:{members}\nq: \"a b\"@far.example, \\ana\n")
    assert post.valija("map", "aliases", "-q", "INC").stdout == "ana, ben, zoe\n"
    assert post.valija("map", "aliases", "-s").stdout == 'inc: ana, ben, zoe\nq: "a b"@far.example, \\ana\n'
    assert post.valija("map", "aliases", "-q", "good", check=False).returncode == 1
    for table, text in [("transport", "a.example telnet:x\n"), ("canonical", "ana bob\n"),
                        ("senders", "ana@example.org x\n"), ("relay_recipients", "nodomain\n")]:
        path = source(post, table, "# one\n" + text)
        done = post.valija("map", table, check=False)
        assert done.returncode == 65 and f"{path}:2: " in done.stderr
        path.unlink()


def test_an_alias_of_a_user_is_warned_of(post):
    """Who has a mailbox gets his mail there, whatever the aliases say: who wrote otherwise is told, not surprised."""
    path = source(post, "aliases", f"# moved\nana: ben\nBen@{valija.DOMAIN}: ana\nnew: ana\n@{valija.DOMAIN}: ana\n")
    done = post.valija("map", "aliases")
    told = [line for line in done.stderr.splitlines() if "is a user" in line]
    assert len(told) == 2 and f"{path}:2: ana@{valija.DOMAIN} is a user" in told[0] and f"{path}:3: ben@" in told[1], done.stderr
    assert "mailbox" in post.valija("check", "address", f"ana@{valija.DOMAIN}").stdout


def test_the_alias_command(post):
    compiled(post, "aliases", "# kept\none: ana\n")
    post.valija("alias", "add", "two", "ana", "ben@example.org")
    assert post.valija("alias", "add", "two", "x", check=False).returncode == 65
    assert post.valija("alias", "add", "three", '"broken', check=False).returncode == 65
    assert (post.conf.parent / "aliases").read_text() == "# kept\none: ana\ntwo: ana, ben@example.org\n"
    assert json.loads(post.valija("alias", "list", "--json").stdout)[1] == {
        "name": "two", "members": "ana, ben@example.org"}
    word = send(post, "two@example.org")
    assert has(post, "ben", word) == 1
    post.valija("alias", "del", "one")
    assert (post.conf.parent / "aliases").read_text() == "# kept\ntwo: ana, ben@example.org\n"
    assert post.valija("alias", "del", "one", check=False).returncode == 67
    domains = {d["domain"]: d for d in json.loads(post.valija("domain", "list", "--json").stdout)}
    assert domains["example.org"]["users"] == 3 and domains["virtual.example"]["kind"] == "alias"


def test_check_address_tells_each_step(post):
    compiled(post, "aliases", "team: ana, x@far.example\nloop: loop-too\nloop-too: loop\n")
    said = post.valija("check", "address", "team+x@example.org").stdout
    assert "alias team" in said and "user ana@example.org: mailbox example.org/ana" in said
    assert "-> x@far.example by the MX of far.example" in said
    done = post.valija("check", "address", "loop@example.org", check=False)
    assert done.returncode == 67 and "-> refused: 554 5.4.6" in done.stdout
    done = post.valija("check", "address", "x@far.example", check=False)
    assert "5.7.1" in done.stdout
    assert "ana@example.org may send as team@example.org" in post.valija(
        "check", "address", "team@example.org", "--login", "ana@example.org").stdout


def test_f6_no_db_config_is_read(post, tmp_path):
    """F6: Berkeley DB's DB_CONFIG, wherever it lies, is not opened; an unsafe directory is refused."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    source(post, "aliases", "one: ana\n")
    tables = post.dir / "state/users"
    for where in [tmp_path, tables]:
        (where / "DB_CONFIG").write_text("set_data_dir /elsewhere\n")
    trace = tmp_path / "trace"
    for words in [["map", "aliases"], ["map", "aliases", "-q", "one"], ["check", "address", "one@example.org"]]:
        subprocess.run(["strace", "-f", "-o", trace, "-e", "trace=file", *post.argv(*words)], cwd=tmp_path,
                       check=True, stdout=subprocess.DEVNULL)
        assert "aliases.db" in trace.read_text() and "DB_CONFIG" not in trace.read_text()
    (tables / "DB_CONFIG").unlink()
    os.chmod(tables, 0o777)
    try:
        done = post.valija("map", "aliases", check=False)
        assert done.returncode == 65 and "writable by nobody else" in done.stderr
    finally:
        os.chmod(tables, 0o750)
    path = source(post, "aliases", "one: ana\n")
    os.chmod(path, 0o666)
    assert "chmod o-w" in post.valija("map", "aliases", check=False).stderr
    os.chmod(path, 0o644)
