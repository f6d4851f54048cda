"""What smtpd thinks of strangers, and how much those who log in may send."""

import contextlib
import json
import os
import re
import signal
import smtplib
import socket
import struct
import time

import pytest

import mails
import valija
import zone

PROXIED = 26  # above the port base
STRANGER = "a@elsewhere.example"


def reply(error):
    """Code and words of an SMTPResponseException or of a refused recipient."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        (code, words), = error.recipients.values()
        return code, words.decode()
    return error.smtp_code, error.smtp_error.decode()


def envelope(smtp, sender, recipient, helo="client.example"):
    """EHLO, MAIL and RCPT; what RCPT heard."""
    assert smtp.ehlo(helo)[0] == 250
    assert smtp.mail(sender)[0] == 250
    code, words = smtp.rcpt(recipient)
    return code, words.decode()


@pytest.fixture(scope="module")
def strict():
    """An instance to which this machine is a stranger."""
    with valija.Instance(settings={
            "policy_exempt": '{"192.0.2.1"}', "sender_domain_check": "no", "reverse_dns": "no", "greylist": "yes", "greylist_delay_seconds": 1, "greylist_allow_after": 2,
            "submission_messages_per_hour": 5, "submission_recipients_per_hour": 12,
            "hide_client_address": "yes"}) as suite:
        yield suite


def test_greylisting(strict):
    user, other = strict.new_user(), strict.new_user()
    message = mails.plain(STRANGER, user)
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        strict.receive(STRANGER, [user], message)
    code, words = reply(refused.value)
    assert code == 451 and words.startswith("4.7.1 greylisted, try again in 1 seconds")
    with strict.smtp(service="smtp") as smtp:
        assert envelope(smtp, STRANGER, other)[0] == 451
        smtp.rset()
        time.sleep(1.1)
        assert envelope(smtp, STRANGER, user)[0] == 250
        assert smtp.data(message)[0] == 250
        smtp.rset()
        # The postmaster hears from everybody (RFC 5321 4.5.1).
        assert envelope(smtp, "new@elsewhere.example", "postmaster")[0] == 250
    # Greylisted and let in are told of in the order of RCPT, in one group.
    with strict.connect("smtp") as s:
        s.recv(1000)
        s.sendall(b"EHLO client.example\r\n")
        s.recv(4000)
        s.sendall(f"MAIL FROM:<{STRANGER}>\r\nRCPT TO:<{user}>\r\nRCPT TO:<{other.upper()}>\r\n"
                  f"RCPT TO:<nobody@example.org>\r\nQUIT\r\n".encode())
        heard = b""
        while more := s.recv(4000):
            heard += more
    assert [line[:3] for line in heard.split(b"\r\n")[:5]] == [b"250", b"250", b"451", b"451", b"221"], heard
    assert len(strict.delivered(user)) == 1
    # Nobody who logs in is greylisted.
    with strict.smtp(user) as smtp:
        smtp.sendmail(user, [user], mails.plain(user, user))
    # Two senders of this network came back: it is known now, and remembered when all was stopped.
    with strict.smtp(service="smtp") as smtp:
        assert envelope(smtp, STRANGER, other)[0] == 250
        smtp.rset()
        assert envelope(smtp, "third@elsewhere.example", user)[0] == 250
    strict.stop()
    strict.start()
    with strict.smtp(service="smtp") as smtp:
        assert envelope(smtp, "fourth@elsewhere.example", user)[0] == 250


def test_allowance_of_a_login(strict):
    user = strict.new_user()
    message = mails.plain(user, user)
    with strict.smtp(user) as smtp:
        for _ in range(4):
            smtp.sendmail(user, [user], message)
        smtp.ehlo()
        assert smtp.mail(user)[0] == 250
        for _ in range(9):
            assert smtp.rcpt(user)[0] == 250
        code, words = smtp.docmd("DATA")
        assert code == 450 and words.startswith(b"4.7.1 too many recipients")
        smtp.sendmail(user, [user], message)
        with pytest.raises(smtplib.SMTPDataError) as refused:
            smtp.sendmail(user, [user], message)
        code, words = reply(refused.value)
        assert code == 450 and words.startswith("4.7.1 too many messages from this login in an hour")
    # Another session, and one after a restart, are no way around.
    strict.stop()
    strict.start()
    with strict.smtp(user) as smtp:
        smtp.ehlo()
        assert smtp.mail(user)[0] == 250 and smtp.rcpt(user)[0] == 250
        smtp.putcmd("BDAT 12 LAST")
        smtp.send(b"Subject: x\r\n")
        assert smtp.getreply()[0] == 450
        assert smtp.rcpt(user)[0] == 503
    assert len(strict.delivered(user)) == 5


def test_policy_may_die(strict):
    """Without policy mail goes on; a new one comes."""
    user = strict.new_user()
    policy, = strict.processes("policy")
    os.kill(policy["pid"], signal.SIGKILL)
    with strict.smtp(user) as smtp:
        smtp.sendmail(user, [user], mails.plain(user, user))
    valija.wait_until(lambda: [p for p in strict.processes("policy") if p["pid"] != policy["pid"]], what="a new policy")


def test_hidden_client(strict):
    user = strict.new_user()
    with strict.smtp(user) as smtp:
        smtp.ehlo("secret-name.example")
        smtp.sendmail(user, [user], mails.plain(user, user))
    mail = valija.wait_until(lambda: strict.delivered(user), what="the message")[0].read_bytes()
    head = mail.split(b"\r\n\r\n")[0]
    # Where the machine has a public address, that stands behind its name.
    assert re.search(rb"Received: from localhost \(a client that logged in\)\r\n\tby localhost(?: \(\[\S+\]\))? with ESMTPSA", head)
    assert b"secret-name" not in head and b"127.0.0.1" not in head


# ---- names, lists and rules ----------------------------------------------------------------------------

def no_such_name(name, kind):
    return b"\x81\x83" + struct.pack(">HHHH", 1, 0, 0, 0) + zone.wire_name(name) + struct.pack(">HH", kind, 1)


def tell(name, kind):
    """The DNS of these tests."""
    wire = zone.wire_name
    known = {
        ("5.216.184.93.in-addr.arpa", 12): [(12, wire("liar.example")), (12, wire("five.example"))],
        ("6.216.184.93.in-addr.arpa", 12): [(12, wire("liar.example"))],
        ("five.example", 1): [(1, bytes([93, 184, 216, 5]))],
        ("liar.example", 1): [(1, bytes([192, 0, 2, 1]))],
        ("7.0.0.127.bl.example", 1): [(1, bytes([127, 0, 0, 2]))],
        ("8.0.0.127.bl.example", 1): [(1, bytes([127, 0, 0, 20]))],
        ("9.0.0.127.bl.example", 1): [(1, bytes([127, 0, 0, 2]))],
        ("9.0.0.127.wl.example", 1): [(1, bytes([127, 0, 5, 1]))],
        ("10.0.0.127.bl.example", 1): [(1, bytes([127, 255, 255, 254]))],
        ("mail.example", 15): [(15, b"\0\x0a" + wire("mx.mail.example"))],
        ("old.example", 1): [(1, bytes([192, 0, 2, 2]))],
        ("six.example", 28): [(28, bytes(16))],
        ("silent.example", 15): [(15, b"\0\0\0")],
        ("trap.example", 15): [(15, b"\0\x0a" + wire("mx.mail.example"))],
        ("look.example", 15): [(15, b"\0\x0a" + wire("mx.mail.example"))],
        ("elsewhere.example", 15): [(15, b"\0\x0amx".replace(b"mx", wire("mx.elsewhere.example")))],
    }
    names = {name for name, _ in known}
    if name == "hang.example":
        raise ValueError("no answer at all")
    if name == "broken.example":
        return b"\x81\x82" + struct.pack(">HHHH", 1, 0, 0, 0) + wire(name) + struct.pack(">HH", kind, 1)
    if (name, kind) in known:
        return known[name, kind]
    return [] if name in names else no_such_name(name, kind)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    rules = tmp_path_factory.mktemp("rules") / "senders"
    rules.write_text("# who we know\n@partner.example  permit\n\nspam@  reject  no, thank you # said to him\n"
                     "@trap.example discard\n@look.example hold  looks odd\n@.slow.example defer\n")
    with zone.Liar(tell) as liar, valija.Instance(start=False, settings={
            "policy_exempt": '{"192.0.2.1"}', "dns_servers": f'{{"127.0.0.1:{liar.port}"}}', "dnssec": '"off"',
            "dns_block_lists": '{"bl.example=127.0.0.2-11"}', "dns_allow_lists": '{"wl.example"}',
            "helo_checks": '{"own", "literal", "known"}', "access_sender": f'{{"{rules}"}}',
            "access_client": '{"127.0.0.77 reject", "five.example warn we know it"}',
            "access_helo": '{".dyn.example reject no dynamic names"}',
            "access_recipient": '{"trap@ discard", "old@example.org redirect ana@example.org"}',
            "greeting_delay_milliseconds": "300", "client_messages_per_minute": "30"}) as suite:
        suite.configure(proxy_listen=f'{{"smtp@127.0.0.1:{suite.ports.base + PROXIED}"}}', proxy_from='{"127.0.0.1"}')
        suite.start()
        suite.user_add("ana")
        suite.user_add("ben")
        yield suite


@contextlib.contextmanager
def stranger(suite, last=5):
    """A connection from 127.0.0.LAST."""
    smtp = smtplib.SMTP(timeout=20, source_address=(f"127.0.0.{last}", 0))
    smtp.connect("127.0.0.1", suite.port("smtp"))
    try:
        yield smtp
    finally:
        smtp.close()


def say(suite, last=5, sender="a@mail.example", recipient="ana@example.org", helo="five.example"):
    with stranger(suite, last) as smtp:
        return envelope(smtp, sender, recipient, helo)


def test_reverse_name_is_confirmed(named):
    """Through a proxy, because a resolver knows the names of 127.0.0.0/8 without asking."""
    for last, expected in ((5, b"(five.example [93.184.216.5])"), (6, b"(unknown [93.184.216.6])")):
        user = named.new_user()
        with socket.create_connection(("127.0.0.1", named.ports.base + PROXIED)) as s:
            s.sendall(b"PROXY TCP4 93.184.216.%d 127.0.0.1 4711 25\r\n" % last)
            for line in ("", "EHLO five.example\r\n", "MAIL FROM:<a@mail.example>\r\n", f"RCPT TO:<{user}>\r\n", "DATA\r\n",
                         "Subject: x\r\n\r\n.\r\n"):
                s.sendall(line.encode())
                assert s.recv(4000)[:1] in b"23"
        assert expected in named.delivered(user)[0].read_bytes()
    assert "access session=" in named.log() and 'text="we know it"' in named.log()


def test_block_lists(named):
    code, words = say(named, 7)
    assert code == 550 and words == "5.7.1 your address 127.0.0.7 is listed by bl.example"
    assert say(named, 7, recipient="postmaster")[0] == 250
    assert say(named, 7, recipient="abuse@example.org")[0] == 250
    assert say(named, 8)[0] == 250      # an answer that the filter does not count
    assert say(named, 9)[0] == 250      # the allow list knows better
    assert say(named, 10)[0] == 250     # the list's word for "you ask too much"
    # Never for those who log in.
    with stranger(named, 7) as smtp:
        smtp.ehlo("phone.example")
        smtp._host = named.host
        smtp.starttls(context=named.tls())
        smtp.login("ana@example.org", named.passwords["ana@example.org"])
        assert envelope(smtp, "ana@example.org", "ben@example.org", "phone.example")[0] == 250


@pytest.mark.parametrize("sender, code", [
    ("a@nowhere.example", "550 5.1.8"), ("a@silent.example", "550 5.7.27"), ("a@old.example", "250 2.1.5"),
    ("a@six.example", "250 2.1.5"), ("a@broken.example", "250 2.1.5"), ("a@[192.0.2.7]", "250 2.1.5"), ("", "250 2.1.5")])
def test_domain_of_the_sender(named, sender, code):
    said, words = say(named, 11, sender=sender)
    assert f"{said} {words}".startswith(code)
    assert say(named, 11, sender=sender, recipient="postmaster")[0] == 250


@pytest.mark.long
def test_names_that_nobody_answers_for(named):
    """What is not known in time is not held against anybody, and nobody waits for ever: neither for name servers that are
    silent, nor for a resolver that is."""
    begun = time.monotonic()
    assert say(named, 18, sender="a@hang.example")[0] == 250
    assert time.monotonic() - begun < 20
    (dns,) = named.processes("dns")
    os.kill(dns["pid"], signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert say(named, 19, sender="a@hang.example")[0] == 250
        assert 4 < time.monotonic() - begun < 20
    finally:
        os.kill(dns["pid"], signal.SIGCONT)
    valija.wait_until(lambda: "names-unknown session=" in named.log(), what="its line")


@pytest.mark.parametrize("helo, code", [
    ("localhost", 550), ("example.org", 550), ("[127.0.0.99]", 550), ("[127.0.0.12]", 250), ("five.example", 250),
    ("nowhere.example", 550), ("a.dyn.example", 550), ("x", 550)])
def test_name_in_helo(named, helo, code):
    assert say(named, 12, helo=helo)[0] == code


def test_message_without_sender_is_for_one(named):
    with stranger(named, 13) as smtp:
        assert envelope(smtp, "", "ana@example.org", "five.example")[0] == 250
        code, words = smtp.rcpt("ben@example.org")
        assert code == 452 and words.startswith(b"4.5.3")


def test_rules(named):
    assert say(named, 77)[0] == 550
    assert say(named, 77, recipient="postmaster")[0] == 250
    assert say(named, 14, sender="spam@any.example") == (550, "5.7.1 no, thank you")
    assert say(named, 14, sender="a@b.slow.example")[0] == 450
    # A permitted sender passes the tests for strangers: its domain does not exist.
    assert say(named, 14, sender="a@partner.example")[0] == 250
    for sender, recipient, arrives in (("a@trap.example", "ana@example.org", 0), ("a@mail.example", "trap@example.org", 0),
                                       ("a@look.example", "ana@example.org", 0), ("a@mail.example", "old@example.org", 1)):
        before = len(named.delivered("ana@example.org"))
        with stranger(named, 14) as smtp:
            smtp.ehlo("five.example")
            smtp.sendmail(sender, [recipient], mails.plain(sender, recipient))
            # The same in chunks.
            assert smtp.mail(sender)[0] == 250 and smtp.rcpt(recipient)[0] == 250
            smtp.putcmd("BDAT 12 LAST")
            smtp.send(b"Subject: x\r\n")
            assert smtp.getreply()[0] == 250
        assert len(named.delivered("ana@example.org")) - before == 2 * arrives, (sender, recipient)
    assert named.log().count("discarded session=") == 4
    held = json.loads(named.valija("queue", "list", "--json").stdout)
    assert str(held).count("looks odd") == 2 or str(held).count("hold") >= 2, held


def test_discarded_and_not(named):
    """Only the recipients that a rule names are thrown away."""
    before = len(named.delivered("ben@example.org"))
    with stranger(named, 15) as smtp:
        smtp.ehlo("five.example")
        smtp.sendmail("a@mail.example", ["trap@example.org", "ben@example.org"], mails.plain("a", "b"))
    assert len(named.delivered("ben@example.org")) == before + 1


def test_rate_of_messages(named):
    codes = []
    with stranger(named, 16) as smtp:
        smtp.ehlo("five.example")
        for _ in range(62):  # the minute may end in between: then it begins anew
            codes.append(smtp.mail("a@mail.example")[0])
            smtp.rset()
    assert codes[:30] == [250] * 30 and 450 in codes


def test_s2_talking_before_the_greeting(named):
    with socket.create_connection(("127.0.0.1", named.port("smtp")), source_address=("127.0.0.17", 0)) as s:
        s.sendall(b"EHLO early.example\r\n")
        s.settimeout(10)
        assert s.recv(1000).startswith(b"554 5.5.0")
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", named.port("smtp")), source_address=("127.0.0.17", 0)) as s:
        assert s.recv(1000).startswith(b"220 ")
        assert time.monotonic() - begun > 0.25


def test_rates_of_connections_and_errors():
    with valija.Instance(settings={"policy_exempt": '{"192.0.2.1"}', "client_connections_per_minute": "20",
                                   "client_errors_per_minute": "5", "smtpd_processes": "1"}) as suite:
        user = suite.user_add("ana")
        heard = []
        for _ in range(42):
            with suite.connect("smtp") as s:
                heard.append(s.recv(1000)[:9])
        assert heard[:20] == [b"220 local"] * 20 and b"421 4.7.0" in heard
        with socket.create_connection(("127.0.0.1", suite.port("smtp")), source_address=("127.0.0.9", 0)) as s:
            s.recv(1000)
            s.sendall(b"X\r\n" * 6 + b"QUIT\r\n")
            while s.recv(1000):
                pass
        with socket.create_connection(("127.0.0.1", suite.port("smtp")), source_address=("127.0.0.9", 0)) as s:
            assert s.recv(1000).startswith(b"421 4.7.0")
        # Another address is another client.
        with socket.create_connection(("127.0.0.1", suite.port("smtp")), source_address=("127.0.0.10", 0)) as s:
            assert s.recv(1000).startswith(b"220 ")
        assert suite.delivered(user) == []
