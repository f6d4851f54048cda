"""Tokens whose issuer is asked (RFC 7662): a web server plays the issuer, an honest one and hostile ones."""

import base64
import contextlib
import imaplib
import json
import os
import pathlib
import pwd
import shutil
import signal
import tempfile
import threading
import time
import urllib.parse

import pytest

import valija
import web
from test_tokens import bearer, login


class Issuer:
    """Tokens are what .answers has for them: bytes to answer with, or None for silence."""

    def __init__(self):
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="valija-issuer-"))
        self.authority = web.Authority()
        self.answers, self.asked = {}, []
        self.server = web.Web(self.say, self.authority.context("localhost"))
        self.credentials = self.place / "credentials"
        self.credentials.write_text("valija:se:cret %\n")
        self.instance = valija.Instance(settings={
            "auth_delay_seconds": 0, "auth_block_failures": 0, "tls_trust": f'"{self.authority.file}"',
            "oauth_introspection": f'"https://localhost:{self.server.port}/introspect?x=1"', "oauth_seconds": 2,
            "oauth_credentials": f'"{self.credentials}"', "oauth_scope": '"mail"', "token_processes": 2})

    def say(self, request):
        head, _, body = request.partition(b"\r\n\r\n")
        form = urllib.parse.parse_qs(body.decode(), strict_parsing=True)
        token = form["token"][0]
        self.asked.append((head.decode(), form))
        said = self.answers.get(token, {"active": False})
        if callable(said):
            said = said()
        if isinstance(said, dict):
            said = web.answer(json.dumps(said).encode(), kind="application/json")
        return said

    def good(self, token, user, **more):
        self.answers[token] = {"active": True, "scope": "openid mail", "email": user, **more}
        return token

    def close(self):
        left = self.instance.close()
        self.server.close()
        self.authority.close()
        shutil.rmtree(self.place)
        assert not left


@pytest.fixture(scope="module")
def issuer():
    made = Issuer()
    yield made
    made.close()


def test_a_good_token(issuer):
    """By both mechanisms, for IMAP and mail; the question is the RFC's, with our credentials; the answer is remembered."""
    user = issuer.instance.new_user("asked")
    token = issuer.good("opaque+/=&token", user, exp=int(time.time()) + 300)
    before = len(issuer.asked)
    assert login(issuer.instance, "OAUTHBEARER", bearer(token, user)) is None
    head, form = issuer.asked[-1]
    assert head.startswith("POST /introspect?x=1 HTTP/1.1") and form == {"token": [token], "token_type_hint": ["access_token"]}
    assert "content-type: application/x-www-form-urlencoded" in head.lower()
    sent = [line for line in head.split("\r\n") if line.lower().startswith("authorization:")]
    assert base64.b64decode(sent[0].split()[2]).decode() == "valija:se%3Acret%20%25"
    assert login(issuer.instance, "XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode()) is None
    with issuer.instance.smtp() as smtp:
        smtp.ehlo()
        assert smtp.docmd("AUTH OAUTHBEARER " + base64.b64encode(bearer(token, user)).decode())[0] == 235
    assert len(issuer.asked) == before + 1
    log = issuer.instance.log()
    assert token not in log and "se:cret" not in log and sent[0].split()[2] not in log


def test_it_is_asked_again_when_it_expires(issuer):
    user = issuer.instance.new_user("expires")
    token = issuer.good("short-lived", user, exp=int(time.time()) + 2)
    assert login(issuer.instance, "OAUTHBEARER", bearer(token)) is None
    issuer.answers[token] = {"active": False}
    valija.wait_until(lambda: login(issuer.instance, "OAUTHBEARER", bearer(token)) is not None, pause=0.3, what="its end")


def test_tokens_that_are_not_good(issuer):
    """What the issuer says no to, or says something else of; each with its reason in the log, and no word of it in ours."""
    user, other, now = issuer.instance.new_user("bad"), issuer.instance.new_user("other"), int(time.time())
    for n, (change, reason) in enumerate([
            ({"active": False}, "token-inactive"), ({"scope": "openid"}, "token-scope"), ({"scope": None}, "token-scope"),
            ({"exp": now - 100}, "token-expired"), ({"exp": "tomorrow"}, "token-expired"), ({"nbf": now + 1000}, "token-not-yet"),
            ({"email": None}, "token-user"), ({"email": ""}, "token-user"), ({"email": ["x"]}, "token-user"),
            ({"email_verified": False}, "token-email-unverified"), ({"email": "nobody@example.org"}, "authzid"),
            ({"email": other}, "authzid")]):
        token = issuer.good(f"bad{n}", user, **change)
        before = len(issuer.instance.log())
        said = login(issuer.instance, "OAUTHBEARER", bearer(token, user))
        assert said and "AUTHENTICATIONFAILED" in said, change
        valija.wait_until(lambda: f"reason={reason}" in issuer.instance.log()[before:], what=f"{reason} for {change}")


def test_junk_tokens_wait_before_the_issuer_is_asked(issuer):
    """What failures cost is paid first: a guesser who hangs up does not hammer the issuer through us."""
    user, other = issuer.instance.new_user("junked"), issuer.instance.new_user("calm")

    def ask_and_hang_up(token, user):
        imap, before = issuer.instance.imap(), len(issuer.asked)
        imap.send(b"x AUTHENTICATE OAUTHBEARER " + base64.b64encode(bearer(token, user)) + b"\r\n")
        valija.wait_until(lambda: len(issuer.asked) > before, 20, "the question")
        imap.shutdown()

    log = len(issuer.instance.log())
    issuer.instance.configure(auth_delay_seconds=3, auth_delay_most_seconds=3)
    issuer.instance.valija("reload")
    try:
        ask_and_hang_up("junk", user)
        valija.wait_until(lambda: "reason=token-inactive" in issuer.instance.log()[log:], what="the first failure")
        failed = time.monotonic()
        ask_and_hang_up("junk", user)
        assert time.monotonic() - failed > 1.5, "the second was asked about during the penalty of the first"
        # Blocked, he is not asked about at all; another user at the same address is.
        issuer.instance.configure(auth_delay_seconds=0, auth_block_failures=2)
        issuer.instance.valija("reload")
        login(issuer.instance, "XOAUTH2", f"user={user}\x01auth=Bearer junk\x01\x01".encode())
        before = len(issuer.asked)
        assert login(issuer.instance, "OAUTHBEARER", bearer("junk", user)) is not None
        assert login(issuer.instance, "OAUTHBEARER", bearer("junk", user.upper())) is not None
        assert len(issuer.asked) == before
        assert "auth-blocked" in issuer.instance.log()[log:]
        assert login(issuer.instance, "OAUTHBEARER", bearer(issuer.good("calm", other), other)) is None
        assert len(issuer.asked) == before + 1
    finally:
        issuer.instance.configure(auth_delay_seconds=0, auth_block_failures=0)
        issuer.instance.valija("reload")
        issuer.instance.valija("auth", "forgive", "all")


def test_hostile_and_broken_issuers(issuer):
    """Nothing is known then: try later, and nobody is let in."""
    user = issuer.instance.new_user("hostile")
    good = json.dumps({"active": True, "scope": "mail", "email": user}).encode()
    for n, said in enumerate([
            web.answer(good, "401 Unauthorized"), web.answer(good, "500 Oops"), web.answer(good, "204 No Content"),
            web.answer(b"", "302 Found", "text/plain", "Location: https://localhost/"), b"garbage\r\n\r\n" + good,
            web.answer(b"x" * 70000), lambda: None, lambda: time.sleep(4)]):
        issuer.answers[f"hostile{n}"] = said
        heard = login(issuer.instance, "OAUTHBEARER", bearer(f"hostile{n}"))
        assert heard and "UNAVAILABLE" in heard, (n, said, heard)
    for n, body in enumerate([b"", b"[]", b"{", b'{"active": "true"}', b'{"active": 1}', b"null", good + good, b"[" * 50000,
                              b'{"active": false, "active": true, "scope": "mail", "email": "%s"}' % user.encode(),
                              b'{"active": true, "scope": "mail", "email": "a\\u0000%s"}' % user.encode()]):
        issuer.answers[f"form{n}"] = web.answer(body, kind="application/json")
        heard = login(issuer.instance, "OAUTHBEARER", bearer(f"form{n}"))
        assert heard and "AUTHENTICATIONFAILED" in heard, (body[:50], heard)
    token = issuer.good("after all that", user)
    assert login(issuer.instance, "OAUTHBEARER", bearer(token)) is None


def test_a_wrong_certificate_is_asked_nothing(issuer):
    """The token does not go to whom no authority vouches for."""
    user = issuer.instance.new_user("mitm")
    token = issuer.good("secret-token", user)
    for context in (issuer.authority.context("localhost", foreign=True), issuer.authority.context("elsewhere.example")):
        with web.Web(issuer.say, context) as server:
            issuer.instance.configure(oauth_introspection=f'"https://localhost:{server.port}/"')
            issuer.instance.valija("reload")
            before = len(issuer.asked)
            assert "UNAVAILABLE" in login(issuer.instance, "OAUTHBEARER", bearer(token))
            assert len(issuer.asked) == before
    issuer.instance.configure(oauth_introspection='"http://localhost/"')
    assert "URL of https" in issuer.instance.valija("check", check=False).stderr
    issuer.instance.configure(oauth_introspection=f'"https://localhost:{issuer.server.port}/introspect?x=1"')
    issuer.instance.valija("reload")
    assert login(issuer.instance, "OAUTHBEARER", bearer(token)) is None


def test_a_slow_issuer_delays_only_tokens(issuer):
    user = issuer.instance.new_user("quick")
    issuer.answers["slow"] = lambda: time.sleep(3)
    said = []

    def one():
        imap = issuer.instance.imap()
        try:
            imap.authenticate("OAUTHBEARER", lambda _: bearer("slow"))
        except imap.error as error:
            said.append(str(error))
        imap.shutdown()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for t in threads:
        t.start()
    time.sleep(0.2)
    issuer.instance.imap(user).logout()
    assert all(t.is_alive() for t in threads)
    for t in threads:
        t.join()
    assert len(said) == 2 and all("UNAVAILABLE" in s for s in said)


def test_an_auth_that_comes_anew_finds_no_worker_busy_for_the_old_one(issuer):
    """A worker that waited for the issuer on behalf of an auth that died answers the next one."""
    good = issuer.good("anew", issuer.instance.new_user("anew"))
    issuer.answers["slow"] = lambda: time.sleep(3)

    def one():
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            login(issuer.instance, "OAUTHBEARER", bearer("slow"))

    before = len(issuer.asked)
    threads = [threading.Thread(target=one) for _ in range(2)]
    for t in threads:
        t.start()
    valija.wait_until(lambda: len(issuer.asked) > before, 5, "the question")
    time.sleep(0.3)  # the other one's; the server answers one at a time
    old = issuer.instance.processes("auth")[0]["pid"]
    os.kill(old, signal.SIGKILL)
    valija.wait_until(lambda: [p for p in issuer.instance.processes("auth") if p["pid"] != old], 5, "another auth")
    assert login(issuer.instance, "OAUTHBEARER", bearer(good)) is None
    for t in threads:
        t.join()


def test_auth_fetch_is_what_the_table_says(issuer):
    """_auth, an empty root, no capability, a filter, memory locked; only where an issuer is asked; it speaks with nobody else."""
    (process,) = issuer.instance.processes("auth-fetch")
    kernel = valija.proc_status(process["pid"])
    assert int(kernel["CapEff"], 16) == 0 and kernel["Seccomp"].strip() == "2" and kernel["NoNewPrivs"].strip() == "1"
    assert len(issuer.instance.processes("auth-token")) == 2 and len(issuer.instance.processes("fetch")) == 1
    if os.getuid() == 0:
        assert set(kernel["Uid"].split()) == {str(pwd.getpwnam("_auth").pw_uid)}
        assert os.readlink(f"/proc/{process['pid']}/root") == str(issuer.instance.dir / "run/empty")
