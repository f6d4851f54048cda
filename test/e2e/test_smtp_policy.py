"""What smtpd thinks of strangers, and how much those who log in may send."""

import smtplib
import time

import pytest

import mails
import valija

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
            "policy_exempt": '{"192.0.2.1"}', "greylist": "yes", "greylist_delay_seconds": 1, "greylist_allow_after": 2,
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
    import os
    import signal
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
    assert b"Received: from localhost (a client that logged in)\r\n\tby localhost with ESMTPSA" in head
    assert b"secret-name" not in head and b"127.0.0.1" not in head
