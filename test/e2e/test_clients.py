"""Real clients: a message goes in by each, and comes out by each, with the same bytes."""

import email
import email.policy
import os
import shlex

import pytest

import mails
import valija

SUBMITTERS = {}
READERS = {}


def submitter(function):
    SUBMITTERS[function.__name__] = function
    return function


def reader(function):
    READERS[function.__name__] = function
    return function


# ---- Ways in -------------------------------------------------------------------------------------

def curl_upload(suite, url, sender, recipients, message, tmp):
    path = tmp / "message.eml"
    path.write_bytes(message)
    valija.run(["curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", suite.cafile,
                "--user", f"{sender}:{suite.passwords[sender]}", "--mail-from", sender,
                *[word for r in recipients for word in ("--mail-rcpt", r)], "--upload-file", path, url])


@submitter
def curl_starttls(suite, sender, recipients, message, tmp):
    curl_upload(suite, f"smtp://{suite.host}:{suite.port('submission')}", sender, recipients, message, tmp)


@submitter
def curl_tls(suite, sender, recipients, message, tmp):
    curl_upload(suite, f"smtps://{suite.host}:{suite.port('submissions')}", sender, recipients, message, tmp)


def swaks_send(suite, mechanism, sender, recipients, message, tmp):
    path = tmp / "message.eml"
    path.write_bytes(message)
    valija.run(["swaks", "--server", suite.host, "--port", suite.port("submission"), "--tls", "--tls-verify",
                "--tls-ca-path", suite.cafile, "--auth", mechanism, "--auth-user", sender,
                "--auth-password", suite.passwords[sender], "--from", sender, "--to", ",".join(recipients),
                "--no-data-fixup", "--data", f"@{path}"], cwd=tmp)


@submitter
def swaks_plain(suite, sender, recipients, message, tmp):
    # Without its fix-ups swaks sends the file as it is: dots and the end of data are ours to write.
    swaks_send(suite, "PLAIN", sender, recipients, on_the_wire(message), tmp)


@submitter
def swaks_login(suite, sender, recipients, message, tmp):
    swaks_send(suite, "LOGIN", sender, recipients, on_the_wire(message), tmp)


def on_the_wire(message):
    """RFC 5321 4.5.2, and the end of data."""
    stuffed = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in message.split(b"\r\n"))
    return stuffed + b".\r\n"


@submitter
def msmtp(suite, sender, recipients, message, tmp):
    conf = tmp / "msmtprc"
    conf.write_text(
        f"account default\nhost {suite.host}\nport {suite.port('submission')}\nfrom {sender}\nauth on\n"
        f"user {sender}\npassword {suite.passwords[sender]}\ntls on\ntls_starttls on\n"
        f"tls_trust_file {suite.cafile}\nset_date_header off\nset_msgid_header off\n")
    conf.chmod(0o600)
    valija.run(["msmtp", "-C", conf, "--", *recipients], stdin=message.replace(b"\r\n", b"\n"))


@submitter
def smtplib_starttls(suite, sender, recipients, message, tmp):
    with suite.smtp(sender) as smtp:
        smtp.sendmail(sender, recipients, message)


@submitter
def smtplib_tls(suite, sender, recipients, message, tmp):
    with suite.smtp(sender, service="submissions") as smtp:
        smtp.sendmail(sender, recipients, message)


# ---- Ways out: each returns the bytes of the newest message, and whether it keeps CRLF -----------

@reader
def curl_imaps(suite, user, tmp):
    done = valija.run(["curl", "--silent", "--show-error", "--cacert", suite.cafile,
                       "--user", f"{user}:{suite.passwords[user]}",
                       f"imaps://{suite.host}:{suite.port('imaps')}/INBOX;MAILINDEX=1"])
    return done.stdout, True


@reader
def curl_imap_starttls(suite, user, tmp):
    done = valija.run(["curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", suite.cafile,
                       "--user", f"{user}:{suite.passwords[user]}",
                       f"imap://{suite.host}:{suite.port('imap')}/INBOX;UID=1"])
    return done.stdout, True


@reader
def mbsync(suite, user, tmp):
    box = mbsync_inbox(suite, user, tmp)
    files = [p for part in ("new", "cur") for p in (box / part).glob("*")]
    assert len(files) == 1, files
    return without_tuid(files[0].read_bytes(), b"\n"), False


def without_tuid(message, newline):
    """mbsync writes one line of its own, X-TUID, at the end of the header of each copy that it makes."""
    head, _, body = message.partition(newline * 2)
    lines = head.split(newline)
    if lines[-1].startswith(b"X-TUID: "):
        lines.pop()
    return newline.join(lines) + newline * 2 + body


def mbsync_inbox(suite, user, tmp, sync="Pull"):
    """Synchronises INBOX by IMAPS into a Maildir, whose path is returned."""
    box = tmp / "mbsync"
    box.mkdir(exist_ok=True)
    conf = tmp / "mbsyncrc"
    conf.write_text(
        f"IMAPAccount valija\nHost {suite.host}\nPort {suite.port('imaps')}\nUser {user}\n"
        f"Pass {suite.passwords[user]}\nSSLType IMAPS\nCertificateFile {suite.cafile}\n"
        f"SystemCertificates no\n\nIMAPStore far\nAccount valija\n\n"
        f"MaildirStore near\nPath {box}/\nInbox {box}/INBOX\nSubFolders Verbatim\n\n"
        f"Channel valija\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync {sync}\n"
        f"SyncState *\n")
    conf.chmod(0o600)
    valija.run(["mbsync", "-c", conf, "valija"], env=dict(os.environ, HOME=str(tmp)))
    return box / "INBOX"


@reader
def imaplib_tls(suite, user, tmp):
    return fetch_newest(suite.imap(user)), True


@reader
def imaplib_starttls(suite, user, tmp):
    return fetch_newest(suite.imap(user, service="imap")), True


def fetch_newest(imap):
    with imap:
        kind, (count,) = imap.select("INBOX", readonly=True)
        assert kind == "OK"
        kind, data = imap.fetch(count, "(RFC822.SIZE BODY.PEEK[])")
        assert kind == "OK"
        size = int(data[0][0].split(b"RFC822.SIZE ")[1].split()[0])
        assert size == len(data[0][1])
        return data[0][1]


@reader
def mutt(suite, user, tmp):
    """mutt has no batch mode for reading: it gets a terminal, and keys to press."""
    copy = tmp / "copy"
    conf = tmp / "muttrc"
    conf.write_text(
        f'set folder="{tmp}"\nset spoolfile="imaps://{suite.host}:{suite.port("imaps")}/INBOX"\n'
        f'set imap_user="{user}"\nset imap_pass="{suite.passwords[user]}"\n'
        f'set certificate_file="{tmp}/certificates"\nset ssl_ca_certificates_file="{suite.cafile}"\n'
        f'set ssl_usesystemcerts=no\nset ssl_force_tls=yes\nset mbox_type=Maildir\nset confirmappend=no\n'
        f'set confirmcreate=no\nset quit=yes\nset delete=no\nset move=no\nset copy_decode_weed=no\n'
        f'set wait_key=no\nset pipe_decode=no\nset net_inc=0\nset read_inc=0\n'
        f'push "<first-entry><copy-message>{copy}<enter><quit>"\n')
    command = f"mutt -F {shlex.quote(str(conf))}"
    valija.run(["script", "-qec", command, "/dev/null"], seconds=40,
               env=dict(os.environ, HOME=str(tmp), TERM="xterm", COLUMNS="100", LINES="30", LC_ALL="C.UTF-8"))
    files = [p for part in ("new", "cur") for p in (copy / part).glob("*")]
    assert len(files) == 1, files
    return without_added_fields(files[0].read_bytes()), False


def without_added_fields(message):
    """mutt puts Status, Content-Length and Lines below the header of each copy."""
    head, _, body = message.partition(b"\n\n")
    lines = [line for line in head.split(b"\n")
             if not line.startswith((b"Content-Length: ", b"Lines: ", b"Status: ", b"X-Status: "))]
    return b"\n".join(lines) + b"\n\n" + body


# ---- Tests ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", SUBMITTERS)
def test_submit(either, way, tmp_path):
    """What a client submits stands in the Maildir of each recipient, byte for byte."""
    sender, other = either.new_user("sender"), either.new_user("other")
    message = mails.with_attachment(sender, other)
    SUBMITTERS[way](either, sender, [other, sender], message, tmp_path)
    for user in (sender, other):
        files = either.delivered(user)
        assert len(files) == 1
        mails.assert_same(files[0].read_bytes(), message)


@pytest.mark.parametrize("way", READERS)
def test_read(either, way, tmp_path):
    """What was delivered is read by a client, byte for byte."""
    user = either.new_user("reader")
    message = mails.with_attachment("somebody@elsewhere.example", user)
    either.receive("somebody@elsewhere.example", [user], message)
    received, crlf = READERS[way](either, user, tmp_path)
    if not crlf:
        message = message.replace(b"\r\n", b"\n")
    mails.assert_same(received, message)


def test_the_main_job(either, tmp_path):
    """Submitted by curl on 587 with STARTTLS and AUTH, fetched over IMAPS by mbsync: the same bytes,
    the same Subject."""
    sender, recipient = either.new_user("ana"), either.new_user("ben")
    message = mails.with_attachment(sender, recipient, size=700000)
    curl_starttls(either, sender, [recipient], message, tmp_path)
    received, _ = mbsync(either, recipient, tmp_path)
    mails.assert_same(received, message.replace(b"\r\n", b"\n"))
    parsed = email.message_from_bytes(received, policy=email.policy.default)
    assert parsed["Subject"] == "Valija – grüße日本語" or parsed["Subject"] == "Valija – grüße 日本語"
    assert parsed["Return-Path"] == f"<{sender}>"


def test_mbsync_both_ways(either, tmp_path):
    """mbsync also pushes: a flag and a new message made on its side arrive on the server."""
    user = either.new_user("sync")
    either.receive("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user, "pulled"))
    box = mbsync_inbox(either, user, tmp_path, sync="All")
    (pulled,) = [p for part in ("new", "cur") for p in (box / part).glob("*")]
    seen = box / "cur" / (pulled.name.split(":")[0] + ":2,FS")
    pulled.rename(seen)
    pushed = mails.plain(user, user, "pushed").replace(b"\r\n", b"\n")
    (box / "cur" / "1700000000.1_1.here:2,S").write_bytes(pushed)
    mbsync_inbox(either, user, tmp_path, sync="All")
    with either.imap(user) as imap:
        assert imap.select("INBOX")[1] == [b"2"]
        assert set(imap.search(None, "FLAGGED", "SEEN", "SUBJECT", "pulled")[1][0].split()) == {b"1"}
        (_, got), _ = imap.fetch("2", "(BODY.PEEK[])")[1]
    assert without_tuid(got, b"\r\n") == pushed.replace(b"\n", b"\r\n")


def test_missing_date_and_message_id_are_added_on_submission(either):
    user = either.new_user("bare")
    with either.smtp(user) as smtp:
        smtp.sendmail(user, [user], f"From: <{user}>\r\nTo: <{user}>\r\nSubject: bare\r\n\r\nhello\r\n")
    parsed = email.message_from_bytes(either.delivered(user)[0].read_bytes())
    assert parsed["Date"] and parsed["Message-ID"]
    assert parsed.get_payload() == "hello\r\n"


def test_unknown_user_and_foreign_domain_are_refused_in_the_dialogue(either):
    user = either.new_user("known")
    with either.smtp(service="smtp") as smtp:
        smtp.ehlo()
        assert smtp.mail("a@elsewhere.example")[0] == 250
        code, said = smtp.rcpt(f"nobody-here@{valija.DOMAIN}")
        assert code == 550 and said.startswith(b"5.1.1 ")
        code, said = smtp.rcpt("x@elsewhere.example")
        assert code in (550, 554) and said.startswith(b"5.7.1 ")
        assert smtp.rcpt(user)[0] == 250


def test_new_users_have_the_usual_folders(either):
    user = either.new_user("folders")
    with either.imap(user) as imap:
        listed = b"\n".join(imap.list('""', '"*"')[1])
    for folder, mark in [("Drafts", "\\Drafts"), ("Sent", "\\Sent"), ("Trash", "\\Trash"),
                         ("Junk", "\\Junk"), ("Archive", "\\Archive")]:
        (line,) = [l for l in listed.split(b"\n") if folder.encode() in l.split(b") ")[-1]]
        assert mark.encode() in line.split(b")")[0]


def test_new_mail_shows_within_a_second(either):
    """In a session that idles: mail that Valija delivers, and a file that another program drops."""
    user = either.new_user("idle")
    with either.imap(user) as imap:
        imap.select("INBOX")
        for count in (1, 2):
            imap.send(b"i%d IDLE\r\n" % count)
            assert imap.readline().startswith(b"+")
            if count == 1:
                either.receive("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user))
            else:
                box = either.maildir(user)
                stat = box.stat()
                drop = box / "tmp/1700000000.M1P1.dropped"
                drop.write_bytes(b"Subject: dropped\n\nby hand\n")
                os.chown(drop, stat.st_uid, stat.st_gid)
                drop.rename(box / "new" / drop.name)
            imap.sock.settimeout(2)
            lines = []
            while b"* %d EXISTS\r\n" % count not in lines:
                lines.append(imap.readline())
            imap.sock.settimeout(20)
            imap.send(b"DONE\r\n")
            while not imap.readline().startswith(b"i%d OK" % count):
                pass
        (_, got), _ = imap.fetch("2", "(BODY.PEEK[])")[1]
        assert got == b"Subject: dropped\r\n\r\nby hand\r\n"


def test_postmaster_reaches_the_first_user(own_suite):
    first = own_suite.user_add("first")
    own_suite.user_add("second")
    for name in ("postmaster", "Abuse"):
        own_suite.receive("a@elsewhere.example", [f"{name}@{valija.DOMAIN}"],
                          mails.plain("a@elsewhere.example", first))
    with own_suite.smtp(service="smtp") as smtp:
        # RFC 5321 4.5.1: <Postmaster> without a domain, too.
        smtp.ehlo()
        smtp.mail("a@elsewhere.example")
        assert smtp.docmd("RCPT", "TO:<Postmaster>")[0] == 250
        assert smtp.data(mails.plain("a@elsewhere.example", first))[0] == 250
    assert len(own_suite.delivered(first)) == 3


def test_mail_for_the_world_is_queued_durably_and_listed(either):
    user = either.new_user("writer")
    with either.smtp(user) as smtp:
        smtp.sendmail(user, ["someone@far.example", user], mails.plain(user, "someone@far.example"))
    listed = either.valija("queue").stdout
    assert "someone@far.example" in listed
    valija.wait_until(lambda: either.delivered(user), what="the local copy")


def test_openssl_and_gnutls_verify_the_certificate(either):
    host, port = either.host, either.port("imaps")
    done = valija.run(["openssl", "s_client", "-connect", f"{host}:{port}", "-CAfile", either.cafile,
                       "-verify_hostname", host, "-verify_return_error", "-quiet"], stdin=b"a LOGOUT\r\n")
    assert b"* OK" in done.stdout
    done = valija.run(["gnutls-cli", "--x509cafile", either.cafile, "--port", port, host], stdin=b"a LOGOUT\r\n")
    assert b"The certificate is trusted" in done.stdout
    for old in ("-tls1", "-tls1_1"):
        done = valija.run(["openssl", "s_client", "-connect", f"{host}:{port}", old, "-cipher", "ALL:@SECLEVEL=0"],
                          check=False)
        assert done.returncode != 0
