"""Messages to send, and how to compare what arrived."""

import base64
import re
import secrets

# Lines that look like the end of data, like commands, like mbox separators; long and empty ones.
TRICKY = b"".join(line + b"\r\n" for line in [
    b".", b"..", b".hidden", b"From the beginning", b"QUIT", b"RCPT TO:<x@example.org>", b"",
    b"\tindented, with trailing blanks  ", b"x" * 900, b". ", b"...", b""])


def with_attachment(sender, recipient, size=30000):
    """A message with a non-ASCII subject, names in three scripts, and an attachment of every byte
    value: CRLF, as it goes on the wire."""
    boundary = secrets.token_hex(12)
    data = bytes(range(256)) * (size // 256 + 1)
    attachment = base64.encodebytes(data[:size]).replace(b"\n", b"\r\n")
    head = (
        f"Date: Mon, 05 Jan 2026 10:11:12 +0100\r\n"
        f"From: =?UTF-8?Q?Jos=C3=A9_Mu=C3=B1oz?= <{sender}>\r\n"
        f"To: =?UTF-8?B?0JDQvdC90LA=?= <{recipient}>\r\n"
        f"Message-ID: <{secrets.token_hex(16)}@client.example>\r\n"
        f"Subject: =?UTF-8?Q?Valija_=E2=80=93_gr=C3=BC=C3=9Fe?=\r\n"
        f"\t=?UTF-8?B?5pel5pys6Kqe?=\r\n"
        f"MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n'
        f"\r\nThis is a message in several parts.\r\n"
        f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: 8bit\r\n\r\nGrüße aus Málaga, 日本語.\r\n").encode()
    tail = (
        f"--{boundary}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Disposition: attachment; filename*=UTF-8''%C3%A1%C3%B1o.bin\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n").encode()
    return head + TRICKY + tail + attachment + f"--{boundary}--\r\n".encode()


def plain(sender, recipient, word=None, size=0):
    """A short message; `word` can be found in its Subject."""
    word = word or secrets.token_hex(8)
    body = b"".join(b"%08d and some text to fill the line up\r\n" % i for i in range(size // 46 + 1))
    return (f"Date: Mon, 05 Jan 2026 10:11:12 +0100\r\nFrom: <{sender}>\r\nTo: <{recipient}>\r\n"
            f"Message-ID: <{word}@client.example>\r\nSubject: {word}\r\n\r\n").encode() + body


def assert_same(received, sent):
    """received must be the sent bytes below trace lines, and nothing but trace lines."""
    received, sent = bytes(received), bytes(sent)
    assert received.endswith(sent), difference(received, sent)
    trace = received[:len(received) - len(sent)]
    fields = re.findall(rb"^([A-Za-z-]+):(?:[^\r\n]*)\r?\n(?:[ \t][^\r\n]*\r?\n)*", trace, re.M)
    assert b"".join(re.findall(rb"(?:^[A-Za-z-]+:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*)", trace, re.M)) == trace
    assert fields and fields[0] == b"Return-Path" and set(fields) <= {b"Return-Path", b"Delivered-To", b"Received"}, fields


def difference(received, sent):
    """Where the two first differ, seen from their ends."""
    n = 0
    while n < min(len(received), len(sent)) and received[-1 - n] == sent[-1 - n]:
        n += 1
    return (f"{len(received)} bytes received, {len(sent)} sent; the last {n} are the same; before them "
            f"{received[max(0, len(received) - n - 60):len(received) - n]!r} was received, "
            f"{sent[max(0, len(sent) - n - 60):len(sent) - n]!r} sent")
