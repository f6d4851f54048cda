"""valija queue: what waits is listed, selected, held, released, tried, given up and removed."""

import json
import os
import secrets
import subprocess
import time

import pytest

import mails
import valija


@pytest.fixture(scope="module")
def post():
    """An instance with mail for places that nobody serves."""
    with valija.Instance() as suite:
        user = suite.user_add("ana")
        (suite.conf.parent / "transport").write_text(
            "one.example smtp:[127.0.0.1]:1\ntwo.example smtp:[127.0.0.1]:1\n")
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


@pytest.mark.long
def test_a_million_messages():
    """They are known within seconds while mail already flows, cost at most 200 bytes each, and are listed at once."""
    count = 1_000_000
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
        assert f"messages={count} " in suite.log()[before:]
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
