"""Runs inside a guest whose kernel makes TLS records (test_kernel_tls.py): prints a line for each thing that works."""

import base64
import imaplib
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import time
import traceback

import mails
import valija

failed = 0


def check(name):
    def run(test):
        global failed
        try:
            test()
            print(f"GUEST ok {name}", flush=True)
        except BaseException:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print(f"GUEST failed {name}", flush=True)
        return test
    return run


def context(version=None):
    made = ssl.create_default_context(cafile=suite.cafile)
    made.check_hostname = False
    if version:
        made.minimum_version = made.maximum_version = version
    return made


def imap(version=None, user=None):
    made = imaplib.IMAP4_SSL("127.0.0.1", suite.port("imaps"), ssl_context=context(version), timeout=120)
    made.login(user, suite.passwords[user])
    return made


with valija.Instance() as suite:
    user = suite.new_user("guest")
    print("GUEST", suite.valija("status").stdout.splitlines()[-2], flush=True)

    @check("status says kernel")
    def _():
        assert "TLS records by kernel" in suite.valija("status").stdout

    for name, version in [("1.2", ssl.TLSVersion.TLSv1_2), ("1.3", ssl.TLSVersion.TLSv1_3)]:
        @check(f"large mail both ways, TLS {name}")
        def _(version=version):
            message = mails.plain(user, user, f"bulk {version}", size=3_000_000)
            message = message if isinstance(message, bytes) else message.encode()
            box = imap(version, user)
            assert box.append("INBOX", None, None, message)[0] == "OK"
            box.select("INBOX")
            _, found = box.search(None, "ALL")
            _, data = box.fetch(found[0].split()[-1], "(BODY.PEEK[])")
            assert data[0][1].replace(b"\r\n", b"\n") == message.replace(b"\r\n", b"\n")
            assert box.logout()[0] == "BYE"
            assert "records=kernel" in suite.log()

        @check(f"submission, TLS {name}")
        def _(version=version):
            raw = socket.create_connection(("127.0.0.1", suite.port("submissions")), 60)
            with context(version).wrap_socket(raw) as inside:
                stream = inside.makefile("rwb")

                def say(line):
                    stream.write(line + b"\r\n")
                    stream.flush()
                    while True:
                        answer = stream.readline()
                        if answer[3:4] != b"-":
                            return answer

                assert stream.readline().startswith(b"220")
                say(b"EHLO c.example")
                token = base64.b64encode(f"\0{user}\0{suite.passwords[user]}".encode())
                assert say(b"AUTH PLAIN " + token).startswith(b"235")
                assert say(b"MAIL FROM:<%s>" % user.encode()).startswith(b"250")
                assert say(b"RCPT TO:<%s>" % user.encode()).startswith(b"250")
                assert say(b"DATA").startswith(b"354")
                assert say(b"Subject: kernel\r\n\r\nx\r\n.").startswith(b"250")
                assert say(b"QUIT").startswith(b"221")
                # close_notify, not a truncated stream: Python would raise.
                assert stream.readline() == b""

        @check(f"close_notify ends the session, TLS {name}")
        def _(version=version):
            raw = socket.create_connection(("127.0.0.1", suite.port("imaps")), 60)
            inside = context(version).wrap_socket(raw)
            assert inside.recv(500).startswith(b"* OK")
            inside.sendall(b"a NOOP\r\n")
            assert b"a OK" in inside.recv(500)
            raw = inside.unwrap()           # sends ours, and waits for the other side's
            raw.sendall(b"b NOOP\r\n")      # T3: in clear, behind the end
            raw.settimeout(30)
            try:
                assert raw.recv(500) == b""
            except ConnectionResetError:
                pass

    @check("STARTTLS")
    def _():
        box = imaplib.IMAP4("127.0.0.1", suite.port("imap"), timeout=60)
        box.starttls(context())
        box.login(user, suite.passwords[user])
        assert box.select("INBOX")[0] == "OK"
        box.logout()

    @check("an update of the key ends the connection cleanly")
    def _():
        done = subprocess.Popen(["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect",
                                 f"127.0.0.1:{suite.port('imaps')}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        time.sleep(3)
        done.stdin.write(b"K\n")
        done.stdin.flush()
        done.communicate(timeout=60)
        imap(None, user).logout()           # the process is well

    @check("a cipher that the kernel is not given goes by the worker")
    def _():
        made = context(ssl.TLSVersion.TLSv1_2)
        made.set_ciphers("ECDHE+CHACHA20")
        with made.wrap_socket(socket.create_connection(("127.0.0.1", suite.port("imaps")), 60)) as inside:
            assert inside.recv(500).startswith(b"* OK")
        assert re.search("CHACHA20.*records=worker", suite.log())

    @check("by option the workers make the records")
    def _():
        suite.configure(tls_kernel="no")
        suite.valija("reload")
        with context().wrap_socket(socket.create_connection(("127.0.0.1", suite.port("imaps")), 60)) as inside:
            assert inside.recv(500).startswith(b"* OK")
        assert "records=worker" in suite.log().splitlines()[-1] + suite.log()[-600:]
        assert "TLS records by workers" in suite.valija("status").stdout

    if failed:
        print(suite.log()[-6000:])
    died = [p for p in suite.status() if p["restarts"]]
    print("GUEST", "failed" if died else "ok", "nobody died", died, flush=True)
print("GUEST end", flush=True)
