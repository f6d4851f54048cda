"""valija queue: what waits is listed, selected, held, released, tried, given up and removed."""

import json
import os
import secrets

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

