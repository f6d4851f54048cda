"""valija queue: what waits is listed, selected, held, released, tried, given up and removed."""

import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import time

import pytest

import mails
import peer
import valija


NOWHERE = "one.example smtp:[127.0.0.1]:1\ntwo.example smtp:[127.0.0.1]:1\nfar.example discard:\n"


@pytest.fixture(scope="module")
def post():
    """An instance with mail for places that nobody serves."""
    with valija.Instance() as suite:
        user = suite.user_add("ana")
        (suite.conf.parent / "transport").write_text(
            NOWHERE)
        suite.valija("map", "transport")
        suite.user = user
        yield suite


def submit(suite, to, word=None):
    word = word or secrets.token_hex(6)
    before = {m["message"] for m in listed(suite)}
    with suite.smtp(suite.user) as smtp:
        smtp.sendmail(suite.user, to, mails.plain(suite.user, "list", word))
    new = valija.wait_until(lambda: [m for m in listed(suite) if m["message"] not in before and
                                     m["state"] != "active"], 10, "the message in the queue")
    return new[0]["message"]


def listed(suite, *options):
    return json.loads(suite.valija("queue", "list", "--json", *options).stdout)


def ids(suite, *options):
    return {m["message"] for m in listed(suite, *options)}


def test_selections(post):
    one = submit(post, ["a@one.example"])
    two = submit(post, ["b@two.example", "c@one.example"])
    assert ids(post, "--recipient", "A@one.example") == {one}
    assert ids(post, "--destination", "two.*") == {two}
    assert ids(post, "--destination", "one.example") == {one, two}
    assert ids(post, "--sender", post.user) == {one, two} and ids(post, "--sender", "<>") == set()
    assert ids(post, "--younger", "1h") == {one, two} and ids(post, "--older", "1h") == set()
    assert ids(post, "--state", "held") == set()
    assert ids(post, "--reason", "no such reason") == set()
    # Only the recipients that fit are shown.
    (entry,) = listed(post, "--destination", "two.example")
    assert [r["address"] for r in entry["recipients"]] == ["b@two.example"]
    assert post.valija("queue", "list", "--older", "soon", check=False).returncode == 64
    top = json.loads(post.valija("queue", "top", "--json").stdout)
    assert [(t["destination"], t["messages"]) for t in top] == [("one.example", 2), ("two.example", 1)]
    top = json.loads(post.valija("queue", "top", "--by", "sender", "--json").stdout)
    assert [(t["sender"], t["messages"], t["under_hour"]) for t in top] == [(post.user, 2, 2)]
    post.valija("queue", "delete", "--all")
    assert ids(post) == set()


def test_hold_and_release(post):
    message = submit(post, ["a@one.example"])
    said = post.valija("queue", "hold", message, "--because", "look at\nthis first").stdout
    assert said == f"{message} held\n"
    (entry,) = listed(post, "--state", "held")
    assert entry["recipients"][0]["reason"].startswith("held: look at")
    assert post.valija("queue", "retry", message, check=False).returncode == 75
    # Held is held, whatever dies.
    post.stop()
    post.start()
    valija.wait_until(lambda: ids(post, "--state", "held") == {message}, 10, "the held message")
    post.valija("queue", "release", "--state", "held")
    valija.wait_until(lambda: ids(post, "--state", "deferred") == {message}, 10, "its release")
    post.valija("queue", "delete", message)
    assert not [n for n in os.listdir(post.dir / "spool/queue") if n.startswith(message)]


def test_show_tells_everything(post):
    word = secrets.token_hex(6)
    message = submit(post, ["a@one.example"], word)
    shown = post.valija("queue", "show", message, "--message").stdout
    assert f"login: {post.user}" in shown and "recipient: a@one.example" in shown and word in shown
    (entry,) = json.loads(post.valija("queue", "show", message, "--json").stdout)
    assert {"name": "login", "value": post.user} in entry["details"]
    post.valija("queue", "delete", message)


def test_orders_need_a_choice(post):
    message = submit(post, ["a@one.example"])
    for order in ["retry", "hold", "release", "delete", "bounce", "show"]:
        assert post.valija("queue", order, check=False).returncode == 64
    assert post.valija("queue", "delete", "no-id", check=False).returncode == 65
    assert post.valija("queue", "delete", "0000000000000", check=False).returncode == 65
    assert post.valija("queue", "delete", "0000000000001", check=False).returncode == 66
    assert post.valija("queue", "explode", check=False).returncode == 64
    post.valija("queue", "flush")
    assert ids(post) == {message}
    post.valija("queue", "delete", "--sender", "*@example.org")
    assert ids(post) == set()


def test_bounce_gives_up(post):
    message = submit(post, ["a@one.example"])
    post.valija("queue", "bounce", message)
    valija.wait_until(lambda: "Returned by the administrator" in post.log(), 10, "the end of it")


def test_requeue_reads_the_aliases_again(post):
    """What a mistake in an alias sent astray goes where the alias leads now; who has it already gets no second one."""
    ben = post.user_add(f"ben-{secrets.token_hex(3)}")
    (post.conf.parent / "aliases").write_text(f"team: {post.user}, x@one.example\n")
    post.valija("map", "aliases")
    word = secrets.token_hex(6)
    before = ids(post)
    post.receive("s@far.example", ["team@example.org"], mails.plain("s@far.example", "team", word))
    message, = valija.wait_until(lambda: [m for m in ids(post) - before], 10, "the message in the queue")
    copies = lambda user: [p for p in post.delivered(user) if word.encode() in p.read_bytes()]
    valija.wait_until(lambda: copies(post.user) and ids(post, "--state", "deferred") >= {message}, 10, "its first try")
    arrived = listed(post, "--recipient", "x@one.example")[0]["arrived"]
    (post.conf.parent / "aliases").write_text(f"team: {post.user}, {ben}, y@two.example\n")
    post.valija("map", "aliases")
    assert post.valija("queue", "requeue", message).stdout == f"{message} requeued\n"
    valija.wait_until(lambda: copies(ben), 10, "the copy of who is new in the list")
    assert len(copies(post.user)) == 1
    valija.wait_until(lambda: ids(post, "--recipient", "y@two.example") == {message}, 10, "the new address")
    assert not ids(post, "--recipient", "x@one.example")
    assert listed(post, "--recipient", "y@two.example")[0]["arrived"] == arrived
    # And so it stays, over a restart.
    post.stop()
    post.start()
    valija.wait_until(lambda: ids(post, "--recipient", "y@two.example") == {message}, 10, "the new address")
    assert not [n for n in os.listdir(post.dir / "spool/queue") if n.endswith(".new")]
    post.valija("queue", "delete", message)


def test_not_before_its_time(post):
    """FUTURERELEASE (RFC 4865): what is to be sent later lies in the queue until then, over a restart, and comes then."""
    seconds = 4
    with post.smtp(post.user) as smtp:
        smtp.ehlo()
        begun = time.time()
        assert smtp.mail(post.user, [f"HOLDFOR={seconds}"])[0] == 250 and smtp.rcpt(post.user)[0] == 250
        assert smtp.data(mails.plain(post.user, post.user, "not-before"))[0] == 250
    came = lambda: [p for p in post.delivered(post.user) if b"Subject: not-before" in p.read_bytes()]
    (waiting,) = ids(post)
    assert re.search(r"hold-until: \d+", post.valija("queue", "show", waiting).stdout)
    post.stop()
    post.start()
    valija.wait_until(lambda: ids(post) == {waiting}, 2, "the message after the restart")
    assert not came()
    valija.wait_until(came, seconds + 10, "the message")
    assert time.time() >= begun + seconds - 1          # its time is in whole seconds
    valija.wait_until(lambda: not ids(post), 5, "an empty queue")


def test_deliver_by(post):
    """RFC 2852: R is returned at its time, not when the next try would have been; N warns then."""
    def send(by):
        with post.smtp(post.user) as smtp:
            smtp.ehlo()
            assert smtp.mail(post.user, ["BY=" + by])[0] == 250
            assert smtp.rcpt("a@one.example")[0] == 250
            word = secrets.token_hex(6)
            assert smtp.data(mails.plain(post.user, "a", word))[0] == 250
            return word

    def reports(word, action):
        return [p for p in post.delivered(post.user) if word.encode() in p.read_bytes()
                and b"Action: " + action in p.read_bytes()]

    returned, warned = send("2;R"), send("2;N")
    valija.wait_until(lambda: reports(returned, b"failed"), 10, "the report of what was to be returned")
    assert b"Status: 5.4.7" in reports(returned, b"failed")[0].read_bytes()
    valija.wait_until(lambda: reports(warned, b"delayed"), 10, "the warning")
    assert not reports(warned, b"failed")
    # It is given once, whatever is started again.
    post.stop()
    post.start()
    post.valija("queue", "flush")
    valija.wait_until(lambda: [m for m in listed(post) if m["state"] == "deferred"], 10, "the next try")
    assert len(reports(warned, b"delayed")) == 1
    post.valija("queue", "delete", "--all")


def table(suite, name, text):
    (suite.conf.parent / name).write_text(text)
    suite.valija("map", name)


def test_r3_forwarding_in_circles(post):
    """What an alias sends on says so; when it comes back to that alias, it goes no further."""
    with peer.Peer() as far:
        table(post, "transport", NOWHERE + f"circle.example smtp:[127.0.0.1]:{far.port}\n")
        table(post, "aliases", "round: x@circle.example\n")
        word = secrets.token_hex(6)
        post.receive("s@far.example", ["round@example.org"], mails.plain("s@far.example", "round", word))
        valija.wait_until(lambda: far.messages, 10, "what was sent on")
        content = far.messages[0]["body"]
        assert content.startswith(b"Delivered-To: round@example.org\r\n")
        post.receive("s@far.example", ["round@example.org"], content)
        valija.wait_until(lambda: "dsn=5.4.6" in post.log(), 10, "the end of the circle")
        # A line of somebody else stops nothing, nor does one in the body.
        post.receive("s@far.example", ["round@example.org"], b"Delivered-To: square@example.org\r\n" +
                     mails.plain("s@far.example", "round", word) + b"\r\nDelivered-To: round@example.org\r\n")
        valija.wait_until(lambda: len(far.messages) == 2 and not ids(post), 10, "the other message")


def test_reports_about_many(post):
    """More recipients than one report has room for; and several reports, to different senders, of one try."""
    with peer.Peer(answers={"rcpt": "550 5.1.1 nobody of that name"}) as far:
        table(post, "transport", NOWHERE + f"many.example smtp:[127.0.0.1]:{far.port}\n")
        owner = post.user_add(f"owner-{secrets.token_hex(3)}")
        table(post, "aliases", f"lot: z1@many.example, z2@many.example\nowner-lot: {owner}\n")
        word = secrets.token_hex(6)
        to = [f"u{n}@many.example" for n in range(130)]
        with post.smtp(post.user) as smtp:
            smtp.sendmail(post.user, to + ["lot@example.org"], mails.plain(post.user, "many", word))

        def reports(user):
            found = [p.read_bytes() for p in post.delivered(user)]
            return [c for c in found if word.encode() in c and b"report-type=delivery-status" in c]
        valija.wait_until(lambda: sum(c.count(b"Final-Recipient:") for c in reports(post.user)) == 130, 15, "all reports")
        assert len(reports(post.user)) == 2
        named = b"".join(reports(post.user))
        assert all(b"Final-Recipient: rfc822; " + a.encode() + b"\r\n" in named for a in to)
        valija.wait_until(lambda: reports(owner), 10, "the report to the owner of the list")
        assert len(reports(owner)) == 1 and reports(owner)[0].count(b"Final-Recipient:") == 2
        valija.wait_until(lambda: not ids(post, "--sender", post.user), 10, "the end of it")


def test_i3_keys_with_controls(post):
    """A name with a line break, a tab or a NUL is no key of any table, and one line in the log."""
    for local in [b"a\tb", b"a\x00b", b"a\x0bb", b'"a\x01b"', b'"a\x00b"', b"\x7f", b'"\x1b[2J"']:
        lines = len(post.log().splitlines())
        with post.connect("smtp") as client:
            file = client.makefile("rb")
            file.readline()
            for line in [b"HELO x", b"MAIL FROM:<s@far.example>", b"RCPT TO:<" + local + b"@example.org>"]:
                client.sendall(line + b"\r\n")
                answer = file.readline()
        assert answer.startswith(b"5"), (local, answer)
        new = post.log().splitlines()[lines:]
        assert not any(c in line for line in new for c in "\x00\x01\x0b\x1b\t\x7f"), (local, new)
        done = post.valija("check", "address", local.replace(b"\x00", b"").decode("latin1") + "@example.org", check=False)
        assert done.returncode != 0 or local == b"\x00"


# ---- mailq, for scripts that know Postfix's ----------------------------------------------------------

MAILQ_HEADING = "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------"
MAILQ_MESSAGE = re.compile(r"(?=.{17} )([0-9A-Za-z]+)([*! ]) * +(?=.{8} )?([0-9]+) ([A-Z][a-z]{2} [A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8}) (\S+)")


def read_mailq(text):
    """By the formats of Postfix's postqueue(1): "%-17s %8ld %19.19s %s", "%*s(%s)" right-aligned to column 78, a blank line
    between messages, the sum. Whatever is otherwise by one byte fails. [(id, mark, size, sender, [(reason, [recipients])])]"""
    if text == "Mail queue is empty\n":
        return []
    heading, *paragraphs, total = re.split(r"\n\n|(?<=Recipient------)\n", text)
    assert heading == MAILQ_HEADING
    messages = []
    for first, *rest in (p.split("\n") for p in paragraphs):
        id_, mark, size, when, sender = MAILQ_MESSAGE.fullmatch(first).groups()
        time.strptime(when, "%a %b %d %H:%M:%S")
        assert first == "%-17s %8s %-19s %s" % (id_ + mark, size, when, sender)
        groups = [("", [])]
        for line in rest:
            if line.strip().startswith("("):
                reason = re.fullmatch(r" *\((.*)\)", line)[1]
                assert line == "%*s(%s)" % (max(0, 76 - len(reason.encode())), "", reason)
                groups.append((reason, []))
            else:
                assert re.fullmatch(r" {47}\S+", line), line
                groups[-1][1].append(line[47:])
        messages.append((id_, mark, int(size), sender, [g for g in groups if g[1]]))
    kbytes = sum(m[2] for m in messages) // 1024
    assert total == f"-- {kbytes} Kbytes in {len(messages)} Request{'' if len(messages) == 1 else 's'}.\n", total
    return messages


# As Debian's postfix 3.7 said it.
POSTFIX_SAID = """\
----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
4jcJvh0kw1z1cY5r*     3300 Sat Nov 28 18:38:40 MAILER-DAEMON
                       (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)
                                               c@two.example

4jcJvh0XSqz1cY5q!      248 Sat Nov  8 18:38:40 ana@pf.example
                       (connect to 127.0.0.1[127.0.0.1]:1: Connection refused)
                                               a@one.example
                                               b@one.example

-- 3 Kbytes in 2 Requests.
"""


def test_mailq_is_like_postfix(post):
    assert [m[:4] for m in read_mailq(POSTFIX_SAID)] == [("4jcJvh0kw1z1cY5r", "*", 3300, "MAILER-DAEMON"),
                                                        ("4jcJvh0XSqz1cY5q", "!", 248, "ana@pf.example")]
    for spoilt in (POSTFIX_SAID.replace("----Queue", "---Queue"), POSTFIX_SAID.replace("      248", "     248"),
                   POSTFIX_SAID.replace(" (conn", "(conn"), POSTFIX_SAID.replace("3 Kb", "4 Kb"), POSTFIX_SAID.replace(" a@", "a@"),
                   POSTFIX_SAID.replace("example\n\n4", "example\n4"), POSTFIX_SAID + "\n"):
        with pytest.raises((AssertionError, AttributeError, TypeError, ValueError)):
            read_mailq(spoilt)
    post.valija("queue", "delete", "--all")
    mailq = lambda: post.valija("mailq").stdout
    assert mailq() == "Mail queue is empty\n"
    over = threading.Event()
    with peer.Peer(answers={"greeting": lambda line: over.wait(30) and "421 4.3.2 another time"}) as mute:
        table(post, "transport", NOWHERE + f"mute.example smtp:[127.0.0.1]:{mute.port}\n")
        tried = submit(post, ["a@one.example", "b@one.example", "c@two.example"])
        valija.wait_until(lambda: len(read_mailq(mailq())[0][4][0][1]) == 3, 10, "three reasons")
        (listing,) = read_mailq(mailq())
        assert listing[:2] == (tried, " ") and listing[3] == post.user
        assert [sorted(r) for _, r in listing[4]] == [["a@one.example", "b@one.example", "c@two.example"]], "one reason, told once"
        assert "refused" in listing[4][0][0] and mailq().endswith(" Kbytes in 1 Request.\n")
        post.valija("queue", "hold", tried)
        with post.smtp(post.user) as smtp:
            smtp.sendmail(post.user, ["m@mute.example"], mails.plain(post.user, "m", size=3000))
        valija.wait_until(lambda: mute.connections, 10, "the connection")
        marks = {m[0]: m[1] for m in read_mailq(mailq())}
        assert marks.pop(tried) == "!" and list(marks.values()) == ["*"]
        # What scripts do with it: the example of postsuper(1), grep's lines, and monitoring's last line.
        for script, wanted in [("tail -n +2 | grep -v '^ *(' | awk 'BEGIN { RS = \"\" } { if ($8 == \"m@mute.example\" && $9 == \"\") "
                                "print $1 }' | tr -d '*!'", list(marks)[0]),
                               ("grep -c '^[A-Z0-9]'", "2"), ("sed -n 's/^-- .* Kbytes in \\(.*\\) Requests.$/\\1/p'", "2")]:
            said = subprocess.run(["sh", "-c", script], input=mailq(), capture_output=True, text=True, check=True).stdout
            assert said.strip() == wanted, script
        over.set()
    post.valija("queue", "release", tried)
    valija.wait_until(lambda: post.valija("queue", "delete", "--all", check=False) and not listed(post), 20, "an empty queue")


POSTFIX_MAIN = """compatibility_level = 3.6
queue_directory = {dir}/spool
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
data_directory = {dir}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.postfix.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
alias_maps =
enable_long_queue_ids = yes
default_transport = smtp:[127.0.0.1]:1
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}/log
"""


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/usr/sbin/postqueue") or os.getuid() != 0, reason="needs root and postfix")
def test_postfix_says_the_same(tmp_path):
    """The parser above reads what the Postfix of this machine says."""
    for parent in (tmp_path, *list(tmp_path.parents)[:3]):
        parent.chmod(0o755)
    for part in ("etc", "spool", "data", "log"):
        (tmp_path / part).mkdir()
    shutil.chown(tmp_path / "data", "postfix")
    (tmp_path / "etc/main.cf").write_text(POSTFIX_MAIN.format(dir=tmp_path))
    lines = [line for line in open("/usr/share/postfix/master.cf.dist", encoding="utf-8") if not re.match(r"smtp\s+inet", line)]
    (tmp_path / "etc/master.cf").write_text("".join(lines))
    say = lambda *argv, **more: valija.run([argv[0], "-c" if argv[0] != "/usr/sbin/sendmail" else "-C", tmp_path / "etc", *argv[1:]], **more)
    say("/usr/sbin/postfix", "start")
    try:
        assert read_mailq(say("/usr/sbin/postqueue", "-p").stdout.decode()) == []
        say("/usr/sbin/sendmail", "-f", "ana@pf.example", "a@one.example", "b@one.example", stdin=b"Subject: x\n\nbody\n")
        say("/usr/sbin/sendmail", "-f", "", "c@two.example", stdin=b"Subject: y\n\n" + b"body\n" * 700)
        listing = lambda: read_mailq(say("/usr/sbin/postqueue", "-p").stdout.decode())
        valija.wait_until(lambda: [m for m in listing() if m[4][0][0]][1:], 20, "two that were tried")
        say("/usr/sbin/postsuper", "-h", "ALL")
        assert sorted((m[1], m[3], len(m[4][0][1])) for m in listing()) == [("!", "MAILER-DAEMON", 1), ("!", "ana@pf.example", 2)]
    finally:
        say("/usr/sbin/postfix", "stop")


@pytest.mark.long
def test_a_million_messages():
    """They are known within seconds while mail already flows, cost at most 200 bytes each, and are listed at once."""
    count = int(os.environ.get("VALIJA_TEST_MESSAGES", 1_000_000))
    valija.run(["make", "-C", valija.TOP, f"BUILD={valija.BUILD.name}", f"{valija.BUILD.name}/test/bench/bench_queue"],
               seconds=300)
    with valija.Instance(start=False) as suite:
        suite.start()
        user = suite.user_add("ana")
        memory = lambda: int(valija.proc_status(suite.processes("queue")[0]["pid"])["RssAnon"].split()[0]) * 1024
        empty = memory()
        suite.stop()
        valija.run([valija.BUILD / "test/bench/bench_queue", suite.dir / "spool", str(count)], seconds=900)
        owner = (suite.dir / "spool/queue").stat()
        for entry in os.scandir(suite.dir / "spool/queue"):
            os.chown(entry.path, owner.st_uid, owner.st_gid)
        before = len(suite.log())
        begun = time.monotonic()
        suite.start()
        suite.receive("a@far.example", [user], mails.plain("a@far.example", user, "meanwhile"))
        assert len(suite.delivered(user)) == 1
        valija.wait_until(lambda: "queue-read" in suite.log()[before:], 120, "the end of the scan", 0.1)
        print(f"known after {time.monotonic() - begun:.1f} s")
        read = re.search(r"queue-read messages=(\d+) unfinished=(\d+) ", suite.log()[before:])
        # Before there are many, some have their turn, and are through: of .invalid it is known that it is nowhere.
        assert int(read[1]) + int(read[2]) >= count * 0.9
        each = (memory() - empty) / count
        print(f"{each:.0f} bytes each")
        assert each <= 200
        listing = subprocess.Popen(suite.argv("queue", "list"), stdout=subprocess.PIPE, cwd=suite.tmp)
        begun = time.monotonic()
        assert listing.stdout.readline()
        print(f"listed after {time.monotonic() - begun:.2f} s")
        listing.kill()
        listing.wait()
        suite.stop()
