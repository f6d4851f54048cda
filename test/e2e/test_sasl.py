"""SASL with real clients: every mechanism, and what must not work with any of them."""

import base64
import hashlib
import hmac
import imaplib
import re
import secrets
import ssl
import subprocess
import time

import pytest

import valija

SCRAM = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"]


@pytest.fixture(scope="module")
def suite():
    """Failures cost no time here: they are what is tested, not their price."""
    instance = valija.Instance(settings={"auth_delay_seconds": 0})
    yield instance
    assert not instance.close()


def gsasl(suite, user, password, mechanism):
    """GNU SASL's own client, by IMAP (by SMTP it says STARTTLS before EHLO); True when it was let in."""
    argv = ["gsasl", "--client", "--imap", f"--connect=127.0.0.1:{suite.port('imap')}",
            "--starttls", f"--x509-ca-file={suite.cafile}", f"--hostname={suite.host}", "--service=imap",
            "--quality-of-protection=qop-auth", f"--mechanism={mechanism}", f"--authentication-id={user}",
            f"--password={password}", "--quiet"]
    if not mechanism.endswith("-PLUS"):
        argv.append("--no-cb")  # else it says that it could bind, and is told that we could too
    done = subprocess.run(argv, input=b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=40, check=False)
    said = done.stdout.decode("utf-8", "replace")
    return done.returncode == 0, said


@pytest.mark.parametrize("mechanism", SCRAM + ["PLAIN", "LOGIN"])
def test_gsasl_client(suite, mechanism):
    user = suite.new_user("sasl")
    before = len(suite.log())
    ok, said = gsasl(suite, user, suite.passwords[user], mechanism)
    assert ok, said
    assert re.search(rf"auth-ok session=\w+ .*mech={mechanism} user={re.escape(user)}", suite.log()[before:])


def test_gsasl_wrong_password(suite):
    for mechanism in SCRAM:
        user = suite.new_user("sasl")
        ok, said = gsasl(suite, user, "wrong", mechanism)
        assert not ok and "AUTHENTICATIONFAILED" in said, said


def test_scram_by_smtp(suite):
    """smtplib carries what our own client says."""
    user = suite.new_user("smtp")
    for service in ("submission", "submissions"):
        with suite.smtp(service=service) as smtp:
            smtp.ehlo()
            assert "SCRAM-SHA-256" in smtp.esmtp_features["auth"].split()
            client = Dialogue("SCRAM-SHA-256", user, suite.passwords[user])
            code, said = smtp.docmd("AUTH SCRAM-SHA-256 " + base64.b64encode(client(b"")).decode())
            while code == 334:
                code, said = smtp.docmd(base64.b64encode(client(base64.b64decode(said))).decode())
            assert code == 235, said
            client.check()
            smtp.sendmail(user, [user], f"From: {user}\r\nSubject: by SCRAM\r\n\r\n")


class Dialogue:
    """The client's side of SCRAM (RFC 5802), which can lie: called with each challenge."""

    def __init__(self, mechanism, user, password, flag="n", binding=b"", final=None, authzid=""):
        self.hash = "sha1" if "SHA-1" in mechanism else "sha256"
        self.header = f"{flag},{authzid},"
        self.nonce = base64.b64encode(secrets.token_bytes(18)).decode()
        self.bare, self.password = f"n={user},r={self.nonce}", password
        self.binding, self.lie = binding, final
        self.replies, self.server, self.final = [], None, None

    def __call__(self, challenge):
        self.replies.append(challenge.decode())
        if len(self.replies) == 1:
            return f"{self.header}{self.bare}".encode()
        if len(self.replies) > 2:
            return b""
        first = challenge.decode()
        parts = dict(p.split("=", 1) for p in first.split(","))
        salted = hashlib.pbkdf2_hmac(self.hash, self.password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        client = hmac.digest(salted, b"Client Key", self.hash)
        without = "c=" + base64.b64encode(self.header.encode() + self.binding).decode() + ",r=" + parts["r"]
        message = f"{self.bare},{first},{without}".encode()
        stored = hashlib.new(self.hash, client).digest()
        proof = bytes(a ^ b for a, b in zip(client, hmac.digest(stored, message, self.hash)))
        self.server = hmac.digest(hmac.digest(salted, b"Server Key", self.hash), message, self.hash)
        self.final = f"{without},p={base64.b64encode(proof).decode()}"
        return (self.lie or self.final).encode()

    def check(self):
        """The server has proved itself too."""
        assert self.replies[2] == "v=" + base64.b64encode(self.server).decode()


class Scram:
    """A login of our own by IMAP."""

    def __init__(self, suite, mechanism="SCRAM-SHA-256", context=None):
        self.imap = imaplib.IMAP4_SSL(suite.host, suite.port("imaps"), ssl_context=context or suite.tls(), timeout=20)
        self.mechanism, self.final = mechanism, None

    def login(self, user, password, flag="n", binding=b"", final=None, authzid=""):
        """Returns None, or what the server said against it. `final`: a last message to be used as it is."""
        dialogue = Dialogue(self.mechanism, user, password, flag, binding, final, authzid)
        try:
            self.imap.authenticate(self.mechanism, dialogue)
        except imaplib.IMAP4.error as error:
            return str(error)
        self.final = dialogue.final
        dialogue.check()
        return None

    def close(self):
        self.imap.shutdown()


def test_scram_by_hand(suite):
    user = suite.new_user("hand")
    for mechanism in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
        client = Scram(suite, mechanism)
        assert f"AUTH={mechanism}" in client.imap.capabilities
        assert client.login(user, suite.passwords[user]) is None
        assert client.imap.select("INBOX")[0] == "OK"
        client.close()


def test_a7_scram_replay(suite):
    """What one dialogue proved is refused in another, of the same connection or of a new one."""
    user = suite.new_user("replay")
    client = Scram(suite)
    assert client.login(user, suite.passwords[user]) is None
    client.close()
    again = Scram(suite)
    assert "AUTHENTICATIONFAILED" in again.login(user, "does not matter", final=client.final)
    again.close()


def test_wrong_channel_binding(suite):
    """A proof made over another TLS connection, none at all, or the claim that we cannot bind."""
    user = suite.new_user("bind")
    for flag, binding in (("p=tls-exporter", secrets.token_bytes(32)), ("p=tls-exporter", b""), ("n", b""),
                          ("p=tls-unique", secrets.token_bytes(12)), ("p=unknown", b"x"), ("p=unknown", b""), ("y", b"")):
        client = Scram(suite, "SCRAM-SHA-256-PLUS")
        assert "AUTHENTICATIONFAILED" in client.login(user, suite.passwords[user], flag, binding), flag
        client.close()
    for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1"):
        # "You cannot bind, as I see": the offer was taken away by somebody on the way.
        client = Scram(suite, mechanism)
        assert "AUTHENTICATIONFAILED" in client.login(user, suite.passwords[user], "y")
        client.close()


OP_NO_EXTENDED_MASTER_SECRET = 1  # OpenSSL 3: SSL_OP_BIT(0)


def tls_context(suite, version, options=0):
    context = suite.tls()
    context.minimum_version = context.maximum_version = version
    context.options |= options
    return context


def bindings_of(client):
    """What the client itself sees of its connection (RFC 5929)."""
    tls = client.imap.socket()
    return {"tls-unique": tls.get_channel_binding("tls-unique"),
            "tls-server-end-point": hashlib.sha256(tls.getpeercert(binary_form=True)).digest()}


@pytest.mark.parametrize("version,options,kinds", [
    (ssl.TLSVersion.TLSv1_3, 0, {"tls-server-end-point"}),
    (ssl.TLSVersion.TLSv1_2, 0, {"tls-server-end-point", "tls-unique"}),
    (ssl.TLSVersion.TLSv1_2, OP_NO_EXTENDED_MASTER_SECRET, {"tls-server-end-point"}),
], ids=["1.3", "1.2", "1.2 without extended master secret"])
def test_channel_bindings(suite, version, options, kinds):
    """Each kind where the RFCs allow it: by its right value, and by no other; who says that we cannot bind is refused."""
    user = suite.new_user("bind")
    password = suite.passwords[user]
    context = tls_context(suite, version, options)
    for mechanism in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
        for kind in ("tls-server-end-point", "tls-unique"):
            client = Scram(suite, mechanism, context)
            assert f"AUTH={mechanism}" in client.imap.capabilities
            right = bindings_of(client)[kind]
            wrong = bytes([right[0] ^ 1]) + right[1:]
            for binding in (wrong, right[:-1], right + b"x", b""):
                assert "AUTHENTICATIONFAILED" in client.login(user, password, f"p={kind}", binding), kind
            said = client.login(user, password, f"p={kind}", right)
            assert said is None if kind in kinds else "AUTHENTICATIONFAILED" in said, (kind, said)
            client.close()
        client = Scram(suite, mechanism.removesuffix("-PLUS"), context)
        assert "AUTHENTICATIONFAILED" in client.login(user, password, "y")
        assert "AUTHENTICATIONFAILED" in client.login(user, password, "p=tls-server-end-point",
                                                      bindings_of(client)["tls-server-end-point"])
        client.close()


def test_end_point_binding_with_app_passwords_and_replay(suite):
    """Bound to the certificate: any of the user's passwords is good, and no proof twice."""
    user = suite.new_user("bind")
    password = suite.valija("user", "app-password", user, "phone").stdout.strip()
    client = Scram(suite, "SCRAM-SHA-256-PLUS")
    right = bindings_of(client)["tls-server-end-point"]
    assert "AUTHENTICATIONFAILED" in client.login(user, "wrong", "p=tls-server-end-point", right)
    assert client.login(user, password, "p=tls-server-end-point", right) is None
    again = Scram(suite, "SCRAM-SHA-256-PLUS")
    assert "AUTHENTICATIONFAILED" in again.login(user, "x", "p=tls-server-end-point", right, final=client.final)
    client.close()
    again.close()


def test_a2_scram_identity(suite):
    """An authzid of somebody else, names that are none, users that are not: one answer."""
    user, other = suite.new_user("ident"), suite.new_user("other")
    for name, authzid in ((user, f"a={other}"), ("%s%n", ""), ("a@b@c", ""), (f"nobody-{secrets.token_hex(3)}", "")):
        client = Scram(suite)
        said = client.login(name, suite.passwords[user], authzid=authzid)
        assert "AUTHENTICATIONFAILED" in said, (name, said)
        client.close()
    client = Scram(suite)
    assert client.login(user, suite.passwords[user], authzid=f"a={user}") is None
    client.close()


def test_scram_does_not_tell_who_exists(suite):
    """Who does not exist has a salt, the same each time, and as many iterations as others."""
    name, seen = f"nobody-{secrets.token_hex(4)}@example.org", []
    for _ in range(2):
        client = Scram(suite)
        firsts = []

        def answer(challenge):
            firsts.append(challenge.decode())
            return f"n,,n={name},r=abcdefgh".encode() if len(firsts) == 1 else None

        with pytest.raises(imaplib.IMAP4.error):
            client.imap.authenticate("SCRAM-SHA-256", answer)
        seen.append(re.sub("^r=[^,]*", "", firsts[1]))
        client.close()
        if len(seen) == 1:
            suite.stop()  # and the same after a restart
            suite.start()
    assert seen[0] == seen[1] and ",i=20000" in seen[0] and ",s=" in seen[0]


def test_a5_anonymous_external_and_plaintext(suite):
    """A5: ANONYMOUS never; EXTERNAL not without a certificate; nothing before TLS, nothing with an empty password."""
    user = suite.new_user("a5")
    with suite.smtp() as smtp:
        smtp.ehlo()
        offered = smtp.esmtp_features["auth"].split()
        assert not {"ANONYMOUS", "EXTERNAL"} & set(offered) and "SCRAM-SHA-256-PLUS" in offered
        for line in ("AUTH ANONYMOUS", "AUTH ANONYMOUS YQ==", "AUTH EXTERNAL =", "AUTH CRAM-MD5", "AUTH NTLM"):
            assert smtp.docmd(line)[0] == 504, line
        empty = base64.b64encode(f"\0{user}\0".encode()).decode()
        assert smtp.docmd("AUTH PLAIN " + empty)[0] == 535
    with suite.smtp(service="smtp") as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features
        assert smtp.docmd("AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,,n=a,r=b").decode())[0] == 538
    with imaplib.IMAP4(suite.host, suite.port("imap"), timeout=20) as imap:
        assert "LOGINDISABLED" in imap.capabilities and not [c for c in imap.capabilities if c.startswith("AUTH=")]


def test_a4_aborted_dialogues(suite):
    """A4: a dialogue that is aborted at each of its steps leaves nothing behind, and another may follow."""
    user = suite.new_user("a4")
    auth = suite.processes("auth")[0]["pid"]
    good = base64.b64encode(f"\0{user}\0{suite.passwords[user]}".encode()).decode()
    first = base64.b64encode(f"n,,n={user},r=abcdef".encode()).decode()
    with suite.smtp() as smtp:
        smtp.ehlo()
        for _ in range(4):
            assert smtp.docmd("AUTH SCRAM-SHA-256")[0] == 334
            assert smtp.docmd("*")[0] == 501
            assert smtp.docmd("AUTH SCRAM-SHA-1-PLUS " + base64.b64encode(f"p=tls-exporter,,n={user},r=abcdef".encode()).decode())[0] == 334
            assert smtp.docmd("*")[0] == 501
            smtp.docmd("RSET")
        # What the client disliked can be seen (mutt of Debian 12 chooses -PLUS, and cannot bind).
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"):
            valija.wait_until(lambda: f"auth-cancelled" in (log := suite.log()) and f"mech={mechanism}\n" in log, what=f"a line about {mechanism}")
        assert smtp.docmd("AUTH SCRAM-SHA-256 " + first)[0] == 334
        assert smtp.docmd("*")[0] == 501
        assert smtp.docmd("AUTH PLAIN " + good)[0] == 235
        assert smtp.docmd("AUTH PLAIN " + good)[0] == 503

    def grown(times):
        for _ in range(times):
            with suite.smtp() as smtp:
                smtp.ehlo()
                for _ in range(8):
                    assert smtp.docmd("AUTH SCRAM-SHA-256 " + first)[0] == 334
                    smtp.docmd("*")
        return int(valija.proc_status(auth)["VmRSS"].split()[0])

    before = grown(6)
    assert grown(12) - before < 256, "aborted dialogues leave memory behind"


def test_mechanism_lists():
    """Per service; what is not listed is neither offered nor taken."""
    instance = valija.Instance(settings={"smtp_mechanisms": '{"PLAIN"}', "imap_mechanisms": '{"SCRAM-SHA-256-PLUS", "scram-sha-256"}'})
    try:
        user = instance.new_user("lists")
        with instance.smtp() as smtp:
            smtp.ehlo()
            assert smtp.esmtp_features["auth"].split() == ["PLAIN"]
            assert smtp.docmd("AUTH LOGIN")[0] == 504
            assert smtp.docmd("AUTH SCRAM-SHA-256")[0] == 504
            smtp.login(user, instance.passwords[user])
        client = Scram(instance)
        assert [c for c in client.imap.capabilities if c.startswith("AUTH=")] == ["AUTH=SCRAM-SHA-256-PLUS", "AUTH=SCRAM-SHA-256"]
        with pytest.raises(imaplib.IMAP4.error):
            client.imap.login(user, instance.passwords[user])  # is PLAIN in other words
        assert client.login(user, instance.passwords[user]) is None
        client.close()
    finally:
        assert not instance.close()


def test_i2_words_that_would_cross_a_line_format(suite):
    """I2: TAB, LF, CR, NUL and 0x01 in name, password and authzid: one refusal, one line in the log, nobody logged in."""
    user, other = suite.new_user("i2"), suite.new_user("victim")
    password = suite.passwords[user]
    before = len(suite.log())
    tries = []
    for byte in "\t\n\r\x01\x7f":
        tries += [f"\0{user}{byte}user={other}\0{password}", f"\0{user}\0{password}{byte}skip_password_check=yes",
                  f"{user}{byte}\0{user}\0{password}", f"\0{user}\0wrong{byte}{password}"]
    tries += [f"\0{user}\0{password}\0", f"\0{user}\0\0{password}"]
    for at in range(0, len(tries), 8):  # before smtp_errors closes the session
        with suite.smtp() as smtp:
            smtp.ehlo()
            for message in tries[at:at + 8]:
                code, said = smtp.docmd("AUTH PLAIN " + base64.b64encode(message.encode()).decode())
                assert code == 535, (message, code, said)
                assert smtp.docmd("NOOP")[0] == 250
    limit = time.monotonic() + 5
    while suite.log()[before:].count(": auth-failed session=") < len(tries) and time.monotonic() < limit:
        time.sleep(0.02)
    lines = [line for line in suite.log()[before:].splitlines() if " auth[" in line]
    assert len(lines) == len(tries) and all("auth-failed" in line and line.isprintable() for line in lines), lines


def lines_of(instance, session, wanted):
    """The words of the lines of one session, and the lines; waits for the last of them."""
    found = valija.wait_until(lambda: re.search(rf"^.*\]: {wanted} session={session} .*$", instance.log(), re.M) and
                              re.findall(rf"^.*\]: (\S+) session={session}( .*)?$", instance.log(), re.M), what=wanted)
    return [word for word, _ in found], dict(found)


@pytest.mark.parametrize("service, words", [
    ("imaps", ["tls", "auth-ok", "imap-opened", "logout"]),
    ("imap", ["connect", "tls", "auth-ok", "imap-opened", "logout"]),
    ("submissions", ["connect", "tls", "auth-ok", "disconnect"])])
def test_one_line_tells_all_about_a_login(suite, service, words):
    """Who, by what, from where, to what, under which TLS; another one how it ended. What greps and counters rely on."""
    user, before = suite.new_user("line"), len(suite.log())
    if service == "submissions":
        with suite.smtp(user, service=service):
            pass
    else:
        suite.imap(user, service=service).logout()
    facts = rf" ip=127\.0\.0\.1 service={service} tls=TLS1\.\d cipher=[A-Z0-9_-]+ mech=[A-Z0-9-]+ user={re.escape(user)}"
    login = valija.wait_until(lambda: re.search(rf"auth\[\d+\]: auth-ok session=(\w+){facts}$", suite.log()[before:], re.M), what="the login")
    told, line = lines_of(suite, login[1], words[-1])
    assert told == words
    if words[-1] == "logout":
        assert re.search(rf" ip=127\.0\.0\.1 user={re.escape(user)} why=.* in=\d+ out=\d+ commands=\d+", line["logout"]), line["logout"]
    else:
        assert re.search(rf" ip=127\.0\.0\.1 .*messages=0 .*login={re.escape(user)}", line["disconnect"]), line["disconnect"]
