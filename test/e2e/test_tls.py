"""TLS, end to end: resumption across workers; reload; tls-key's death."""

import base64
import contextlib
import imaplib
import os
import pathlib
import random
import re
import signal
import socket
import ssl
import string
import subprocess
import time

import pytest

import mails
import valija

NO_APPLICATION_PROTOCOL = 120


def context_of(suite, version=None, alpn=None):
    context = suite.tls()
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def tls(suite, service, context=None, **more):
    """A TLS connection to a port with TLS from the first byte, greeting read."""
    raw = suite.connect(service)
    wrapped = (context or suite.tls()).wrap_socket(raw, server_hostname="localhost", **more)
    line(wrapped)
    return wrapped


def line(sock):
    """One line; b'' at the end of the connection."""
    got = b""
    while not got.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            return got
        got += byte
    return got


def ask(sock, command):
    """An IMAP command; its tagged answer."""
    sock.sendall(b"t " + command + b"\r\n")
    while True:
        answer = line(sock)
        if answer.startswith(b"t ") or not answer:
            return answer


def rest(sock, seconds=2):
    """What comes within `seconds`, and whether the connection has ended."""
    sock.settimeout(seconds)
    got = b""
    with contextlib.suppress(TimeoutError, socket.timeout):
        while True:
            try:
                piece = sock.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return got, True
            if not piece:
                return got, True
            got += piece
    return got, False


@pytest.mark.parametrize("service", ["smtp", "submission", "imap"])
def test_t1_starttls_injection(suite, service):
    raw = suite.connect(service)
    line(raw)
    if service == "imap":
        raw.sendall(b"a STARTTLS\r\nb NOOP\r\n")
    else:
        raw.sendall(b"EHLO client.example\r\n")
        while line(raw)[3:4] == b"-":
            pass
        raw.sendall(b"STARTTLS\r\nNOOP\r\n")
    answer = line(raw)
    try:
        inside = suite.tls().wrap_socket(raw, server_hostname="localhost")
    except (ssl.SSLError, OSError):
        return  # it closed: as good
    got, _ = rest(inside)
    assert got == b"", (answer, got)


def test_t3_end_of_tls_in_data(suite):
    """close_notify in the middle of a message, then clear bytes: no answer to them, and no mail."""
    user = suite.new_user("t3")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suite.connect("submissions") as raw:
        inside = suite.tls().wrap_bio(incoming, outgoing, server_hostname="localhost")

        def turn(call, *arguments):
            while True:
                try:
                    result = call(*arguments)
                except ssl.SSLWantReadError:
                    raw.sendall(outgoing.read())
                    incoming.write(raw.recv(65536))
                    continue
                raw.sendall(outgoing.read())
                return result

        turn(inside.do_handshake)
        turn(inside.read, 4096)
        login = base64.b64encode(f"\0{user}\0{suite.passwords[user]}".encode())
        for command in [b"EHLO c.example", b"AUTH PLAIN " + login, b"MAIL FROM:<%s>" % user.encode(),
                        b"RCPT TO:<%s>" % user.encode(), b"DATA"]:
            turn(inside.write, command + b"\r\n")
            answer = turn(inside.read, 4096)
        assert answer.startswith(b"354"), answer
        turn(inside.write, b"Subject: half\r\n\r\nhalf")
        with contextlib.suppress(ssl.SSLError):
            inside.unwrap()
        raw.sendall(outgoing.read())
        raw.sendall(b"\r\n.\r\nNOOP\r\nQUIT\r\n")
        got, ended = rest(raw, 10)
        assert ended
        # What came back, if anything, is TLS: alerts or a last answer, nothing in clear.
        assert b"250" not in got and (not got or got[0] in (0x15, 0x17)), got
    assert not suite.delivered(user)


def rss(pid):
    return int(valija.proc_status(pid)["VmRSS"].split()[0])


def hello(suite, name):
    with contextlib.suppress(ssl.SSLError, OSError), suite.connect("imaps") as raw:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(raw, server_hostname=name) as inside:
            line(inside)


@pytest.mark.parametrize("names", [600, pytest.param(10000, marks=pytest.mark.long)])
def test_t5_random_names_leave_memory_flat(suite, names):
    def some(count):
        for _ in range(count):
            word = "".join(random.choices(string.ascii_lowercase, k=40))
            hello(suite, f"{word}.example.org")

    some(200)
    pids = [p["pid"] for p in suite.processes("tls")]
    before = {pid: rss(pid) for pid in pids}
    some(names)
    for pid in pids:
        assert rss(pid) - before[pid] < 1024, "KiB grown"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_t6_wrong_alpn(suite, version):
    for service, alpn, good in [("imaps", "http/1.1", False), ("imaps", "smtp", False), ("imaps", "imap", True),
                                ("imaps", None, True), ("submissions", "imap", False), ("submissions", "smtp", True)]:
        try:
            tls(suite, service, context_of(suite, version, alpn)).close()
            assert good, (service, alpn)
        except ssl.SSLError as error:
            assert not good, (service, alpn, error)
            assert "NO_APPLICATION_PROTOCOL" in str(error).upper().replace(" ", "_"), error


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_t6_tickets_resume_at_every_worker_but_not_elsewhere(suite, version):
    context = context_of(suite, version)
    first = tls(suite, "imaps", context)
    ask(first, b"NOOP")
    session = first.session
    first.close()
    for _ in range(6):  # more than there are workers, which take turns, but in quick succession
        time.sleep(0.03)
        again = tls(suite, "imaps", context, session=session)
        assert again.session_reused
        ask(again, b"NOOP")
        if version == ssl.TLSVersion.TLSv1_3:
            session = again.session  # RFC 8446 C.4: a ticket is used once
        again.close()
    other = tls(suite, "submissions", context, session=session)
    assert not other.session_reused
    other.close()


def test_early_data_is_off(suite, tmp_path):
    """RFC 8446 8: what a client says before the handshake could be said again by somebody else. No ticket invites it."""
    (tmp_path / "early").write_bytes(b"a NOOP\r\n")
    client = ["openssl", "s_client", "-connect", f"127.0.0.1:{suite.port('imaps')}", "-tls1_3", "-CAfile",
              suite.dir / "state/tls/ca.crt"]

    def run(*more):
        return subprocess.run([*client, *more], input=b"a LOGOUT\r\n", capture_output=True, timeout=20).stdout.decode(
            errors="replace")

    assert "Max Early Data: 0" in run("-sess_out", tmp_path / "session", "-ign_eof")
    said = run("-sess_in", tmp_path / "session", "-early_data", tmp_path / "early", "-ign_eof")
    assert "Reused, TLSv1.3" in said and "Early data was not sent" in said and "a OK NOOP" not in said, said


@pytest.mark.parametrize("priorities,fault", [("NONSENSE", "does not understand"), ("NORMAL", "only TLS 1.2 and 1.3"),
                                              ("NONE:+VERS-TLS1.2:+AES-128-GCM:+AEAD:+RSA:+SIGN-ALL:+GROUP-ALL", "tls_priorities")])
def test_weak_priorities_are_refused_by_check(own_suite, priorities, fault):
    own_suite.configure(tls_priorities=f'"{priorities}"')
    for words in [["check"], ["reload"]]:
        done = own_suite.valija(*words, check=False)
        assert done.returncode == 78 and fault in done.stderr, done
    tls(own_suite, "imaps").close()


def test_old_versions_are_refused(suite):
    for version in ["-tls1", "-tls1_1"]:
        done = subprocess.run(["openssl", "s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect",
                               f"127.0.0.1:{suite.port('imaps')}"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=20)
        assert b"Cipher is (NONE)" in done.stdout, done.stdout


def test_t7_unfinished_handshakes():
    with valija.Instance(settings={"tls_handshake_seconds": 3}) as suite:
        user = suite.new_user("t7")
        stalled = [suite.connect("imaps") for _ in range(40)]
        for sock in stalled:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        begun = time.monotonic()
        suite.imap(user).logout()
        assert time.monotonic() - begun < 1.0
        for sock in stalled:
            _, ended = rest(sock, 8)
            assert ended
            sock.close()
        assert time.monotonic() - begun < 10


def memory_holds(pid, needles):
    """Does the writable memory of this process hold one of these byte strings?"""
    try:
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines()
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for entry in maps:
                begin, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", entry).groups()
                if "w" not in rights or "[v" in entry:
                    continue
                with contextlib.suppress(OSError, ValueError, OverflowError):
                    memory.seek(int(begin, 16))
                    content = memory.read(int(end, 16) - int(begin, 16))
                    if any(needle in content for needle in needles):
                        return True
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended
    return False


@pytest.mark.skipif(os.getuid() != 0, reason="reads the memory of other processes")
def test_t8_the_key_is_in_one_process_only(suite):
    user = suite.new_user("t8")
    for _ in range(30):
        suite.imap(user).logout()
    pem = (suite.dir / "state/tls/server.key").read_text()
    body = "".join(row for row in pem.splitlines() if "-" not in row)
    der = base64.b64decode(body)
    number = der.index(b"\x02\x01\x01\x04") + 4  # RFC 5915: version 1, then the key with its length
    secret = der[number + 1:][:der[number]].lstrip(b"\0")
    needles = [secret, secret[::-1], body.encode()[40:80]]
    keepers = {p["pid"] for p in suite.processes("tls-key")}
    seen = [pid for pid in suite.pids() if memory_holds(pid, needles)]
    assert set(seen) == keepers, "who has the key; tls-key must be found, or this test sees nothing"
    assert body[:40] not in suite.log()
    for program in ["tls-key", "tls"]:
        for process in suite.processes(program):
            pid = process["pid"]
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            assert re.search(r"Max core file size\s+0\s", limits)
            assert os.stat(f"/proc/{pid}/mem").st_uid == 0  # not dumpable: root's, whoever it runs as
            smtpd = valija.proc_status(suite.processes("smtpd")[0]["pid"])["Uid"].split()[0]
            done = subprocess.run(["setpriv", f"--reuid={smtpd}", "--clear-groups", "head", "-c1",
                                   f"/proc/{pid}/mem"], capture_output=True)
            assert b"Permission denied" in done.stderr, done.stderr


def secrets_of(key):
    """The numbers of a private key that nobody else may have: an exponent or seed, and primes with what follows from them."""
    said = openssl("pkey", "-in", key, "-noout", "-text").decode()
    parts = re.findall(r"^(\w+):\s*\n((?:    [0-9a-f:]+\n)+)", said, re.M)
    known = {"priv", "privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"}
    return [bytes.fromhex("".join(number.split()).replace(":", "")).lstrip(b"\0") for name, number in parts if name in known]


@pytest.mark.parametrize("kind,count", [("ed25519", 1), pytest.param("ec:P-384", 1, marks=pytest.mark.long),
                                        pytest.param("ec:P-521", 1, marks=pytest.mark.long),
                                        ("rsa:2048", 6)])
@pytest.mark.skipif(os.getuid() != 0, reason="reads the memory of other processes")
def test_t8_numbers_of_every_kind_of_key_are_in_one_process_only(own_suite, kind, count):
    """As above for each kind of key, while handshakes go on: no exponent, seed or prime, in either order of bytes; nor
    does what a crash leaves."""
    suite = own_suite
    crt, key = suite.tmp / "kind.crt", suite.tmp / "kind.key"
    new = ["ec", "-pkeyopt", f"ec_paramgen_curve:{kind[3:]}"] if kind.startswith("ec") else [kind]
    openssl("req", "-x509", "-newkey", *new, "-nodes", "-keyout", key, "-out", crt, "-subj", "/CN=localhost",
            "-days", "9", "-addext", "keyUsage=digitalSignature")
    key.chmod(0o400)
    suite.configure(tls_certificate=f'"{crt}"', tls_key=f'"{key}"')
    suite.valija("reload")
    secrets = secrets_of(key)
    assert len(secrets) == count and all(len(n) >= 31 for n in secrets)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = [context.wrap_socket(suite.connect("imaps")) for _ in range(50)]
    needles = [n[:31] for n in secrets] + [n[::-1][:31] for n in secrets]
    seen = {pid for pid in suite.pids() if memory_holds(pid, needles)}
    keeper = {p["pid"] for p in suite.processes("tls-key")}
    assert seen == keeper
    for sock in held:
        sock.close()
    # A crash leaves no file: neither the limit nor the kernel's flag (PR_SET_DUMPABLE) lets it.
    pid = keeper.pop()
    assert re.search(r"Max core file size\s+0\s+0\s", pathlib.Path(f"/proc/{pid}/limits").read_text())
    os.kill(pid, signal.SIGSEGV)
    valija.wait_until(lambda: suite.processes("tls-key") and suite.processes("tls-key")[0]["pid"] != pid, 10, "another")
    line_of_death = [row for row in suite.log().splitlines() if "process-died" in row and f"pid={pid}" in row]
    assert len(line_of_death) == 1 and "core=1" not in line_of_death[0], line_of_death
    pattern = pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if not pattern.startswith("|"):
        places = [suite.dir, suite.dir / "run/empty", pathlib.Path("/")]
        assert not [p for place in places for p in place.glob("core*") if p.is_file() and p.stat().st_mtime > time.time() - 60]


def openssl(*arguments, stdin=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=stdin, capture_output=True, check=True).stdout


def make_certificate(suite, days=100, key=None, serial="0x7a11", name="localhost", begin=None, end=None):
    """A certificate for the instance's key (or another), signed by its own authority, with the chain."""
    where = suite.dir / "state/tls"
    config = suite.tmp / "names"
    config.write_text(f"[x]\nsubjectAltName=DNS:{name},IP:127.0.0.1\nkeyUsage=digitalSignature\n")
    request = openssl("req", "-new", "-key", key or where / "server.key", "-subj", f"/CN={name}")
    if begin is None:
        made = openssl("x509", "-req", "-CA", where / "ca.crt", "-CAkey", where / "ca.key", "-days", days,
                       "-set_serial", serial, "-extfile", config, "-extensions", "x", stdin=request)
    else:  # other times than from now on are an authority's matter
        (suite.tmp / "index").write_text("")
        (suite.tmp / "serial").write_text("7A12\n")
        (suite.tmp / "request").write_bytes(request)
        conf = suite.tmp / "ca.conf"
        conf.write_text(f"""[ca]\ndefault_ca=d\n[d]\ndatabase={suite.tmp}/index\nserial={suite.tmp}/serial\nnew_certs_dir={suite.tmp}
default_md=sha256\npolicy=p\nx509_extensions=x\nunique_subject=no\n[p]\ncommonName=supplied\n""" + config.read_text())
        made = openssl("ca", "-batch", "-config", conf, "-cert", where / "ca.crt", "-keyfile", where / "ca.key",
                       "-in", suite.tmp / "request", "-startdate", begin, "-enddate", end, "-notext")
    return made + (where / "ca.crt").read_bytes()


def put(path, content, like):
    """Puts a file in place at once, as a good tool does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    owner = like.stat()
    os.chown(new, owner.st_uid, owner.st_gid)
    os.chmod(new, owner.st_mode & 0o777)
    os.rename(new, path)


def new_certificate(suite, **more):
    crt = suite.dir / "state/tls/server.crt"
    put(crt, make_certificate(suite, **more), crt)


def serial(sock):
    return sock.getpeercert()["serialNumber"]


@pytest.mark.parametrize("count", [40, pytest.param(500, marks=pytest.mark.long)])
def test_reload_changes_new_connections_and_drops_none(count):
    with valija.Instance(settings={"connections_per_address": 1000}) as suite:
        reload_under(suite, count)


def reload_under(suite, count):
    users = [suite.new_user("live") for _ in range(count // 25 + 4)]
    live = [suite.imap(users[n % len(users)], seconds=60) for n in range(count)]
    old = serial(live[0].sock)
    new_certificate(suite)
    suite.valija("reload")
    fresh = tls(suite, "imaps")
    assert serial(fresh) == "7A11" != old
    for imap in live:
        assert imap.noop()[0] == "OK"
        assert serial(imap.sock) == old
    for imap in live:
        imap.logout()
    fresh.close()


def test_a_reload_with_wrong_files_is_refused(own_suite):
    """Broken, expired, mismatched, future-dated, wrong chain, encrypted, missing: each has its own message,
    and the running one stays."""
    suite = own_suite
    where = suite.dir / "state/tls"
    crt, key = where / "server.crt", where / "server.key"
    live = tls(suite, "imaps")
    good, good_key = crt.read_bytes(), key.read_bytes()
    other = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    locked = openssl("pkcs8", "-topk8", "-passout", "pass:secret", stdin=good_key)
    ca = (where / "ca.crt").read_bytes()
    own = good[:good.index(b"-----END CERTIFICATE-----") + 26]
    stranger = openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                       suite.tmp / "stranger.key", "-subj", "/CN=stranger", "-days", "9")
    small = openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", suite.tmp / "small.key", "-subj",
                    "/CN=localhost", "-days", "9")
    rows = [
        (b"nonsense\n", None, "no readable PEM certificate"),
        (b"", None, "is empty"),
        (good[:400], None, "no readable PEM certificate"),
        (ca, None, "does not belong to the certificate"),
        (good, other, "does not belong to the certificate"),
        (good, locked, "the key is encrypted"),
        (good, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "the key cannot be read"),
        (own + stranger, None, "was not issued by certificate 2"),
        (small, (suite.tmp / "small.key").read_bytes(), "1024 bits, at least 2048 are needed"),
        (make_certificate(suite, begin="20200101000000Z", end="20210101000000Z"), None, "has expired on 2021-01-01"),
        (make_certificate(suite, begin="20480101000000Z", end="20490101000000Z"), None, "is not valid before 2048-01-01"),
        ("a directory", None, "is not a regular file"),
        (None, None, "is not there"),
    ]
    for content, its_key, reason in rows:
        before = len(suite.log())
        if content in (None, "a directory"):
            crt.unlink()
            if content:
                crt.mkdir()
        else:
            crt.write_bytes(content)
        key.chmod(0o600)
        key.write_bytes(its_key or good_key)
        done = suite.valija("reload", check=False)
        assert done.returncode != 0, reason
        assert reason in done.stdout + done.stderr + suite.log()[before:], done
        tls(suite, "imaps").close()
        if content == "a directory":
            crt.rmdir()
            crt.touch()
    crt.write_bytes(good)
    key.write_bytes(good_key)
    suite.valija("reload")
    assert ask(live, b"NOOP").startswith(b"t OK")
    tls(suite, "imaps").close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take a file away from somebody")
def test_a_file_that_may_not_be_read_is_refused():
    with valija.Instance(as_user=valija.UNPRIVILEGED) as suite:
        for name in ["server.crt", "server.key"]:
            path = suite.dir / "state/tls" / name
            owner = path.stat()
            os.chown(path, 0, 0)
            path.chmod(0o600)
            for command in ["reload", "check"]:
                done = suite.valija(command, check=False)
                assert done.returncode and name in done.stdout + done.stderr, done
                assert re.search("Permission denied|cannot be read", done.stdout + done.stderr), done
            tls(suite, "imaps").close()
            os.chown(path, owner.st_uid, owner.st_gid)
            path.chmod(owner.st_mode & 0o777)
        suite.valija("reload")


def test_a_certificate_that_changes_on_disk_is_taken_by_itself(own_suite):
    """Put there by whatever tool, without a reload; one that does not fit is kept out, and so is half of a pair."""
    suite = own_suite
    where = suite.dir / "state/tls"
    crt, key = where / "server.crt", where / "server.key"
    live = tls(suite, "imaps")

    def shows(number):
        with contextlib.suppress(OSError, ssl.SSLError), tls(suite, "imaps") as fresh:
            return serial(fresh) == number
        return False

    new_certificate(suite, serial="0x7a21")
    valija.wait_until(lambda: shows("7A21"), 30, "the new certificate")
    # A new pair, written one after the other, in place: until both are there, the old one serves.
    new_key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    (suite.tmp / "k").write_bytes(new_key)
    crt.write_bytes(make_certificate(suite, key=suite.tmp / "k", serial="0x7a22"))
    valija.wait_until(lambda: "does not belong to the certificate" in suite.log(), 30, "a line in the log")
    assert shows("7A21")
    assert ask(live, b"NOOP").startswith(b"t OK")
    live.close()
    # Processes that are started meanwhile get what the others have.
    pid = suite.processes("tls")[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    valija.wait_until(lambda: pid not in [p["pid"] for p in suite.processes("tls")], 10, "another worker")
    valija.wait_until(lambda: shows("7A21"), 10, "the old certificate")
    key.write_bytes(new_key)
    valija.wait_until(lambda: shows("7A22"), 30, "the new pair")


def test_tls_key_dies(own_suite):
    suite = own_suite
    user = suite.new_user("killed")
    live = suite.imap(user)
    for _ in range(3):
        pid = suite.processes("tls-key")[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        # Held back, or turned away at the door: but within two seconds it must work again.
        while True:
            try:
                tls(suite, "imaps").close()
                break
            except (OSError, ssl.SSLError):
                assert time.monotonic() - begun < 2.0
                time.sleep(0.02)
        assert time.monotonic() - begun < 2.0
        assert live.noop()[0] == "OK"
        # master waits a little longer after each death
        valija.wait_until(lambda: suite.processes("tls-key"), 5, "tls-key")
    live.logout()


def login(suite, user):
    with contextlib.suppress(imaplib.IMAP4.abort):
        return suite.imap(user)
    return None


def test_t4_backend_dies_in_upload(own_suite):
    """The imap process is killed in the middle of an APPEND; the others stay, descriptors return."""
    suite = own_suite
    idle = [suite.imap(suite.new_user("idle")) for _ in range(4)]
    workers = [p["pid"] for p in suite.processes("tls")]

    def descriptors():
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in workers]

    user = suite.new_user("upload")
    before = descriptors()
    for _ in range(5):
        # A login that meets the killed process before master has heard of its death ends: try again.
        imap = valija.wait_until(lambda: login(suite, user), 5, "a login")
        imap.send(b"t APPEND INBOX {8000000+}\r\n")
        with contextlib.suppress(OSError, ssl.SSLError):
            for piece in range(100):
                imap.send(b"x" * 65536)
                if piece == 20:
                    for process in suite.processes("imap"):
                        if user in str(process.get("user", "")):
                            os.kill(process["pid"], signal.SIGKILL)
        with contextlib.suppress(OSError, ssl.SSLError):
            imap.shutdown()
    for imap in idle:
        assert imap.noop()[0] == "OK"
    assert workers == [p["pid"] for p in suite.processes("tls")]
    valija.wait_until(lambda: descriptors() <= before, 10, "as few descriptors as before")
    for imap in idle:
        imap.logout()


def test_bytes_survive_the_pump(suite):
    """A large message up through TLS and down again."""
    user = suite.new_user("bulk")
    message = mails.plain(user, user, "bulk", size=6_000_000)
    with suite.smtp(user, "submissions", seconds=60) as smtp:
        smtp.sendmail(user, [user], message)
    imap = suite.imap(user, seconds=60)
    imap.select("INBOX")
    _, data = imap.fetch("1", "(BODY.PEEK[])")
    want = message if isinstance(message, bytes) else message.encode()
    assert data[0][1].replace(b"\r\n", b"\n").endswith(want.replace(b"\r\n", b"\n")[-5_000_000:])
    imap.logout()


def records(data):
    """The records in `data`, which end with it."""
    while data:
        length = 5 + int.from_bytes(data[3:5], "big")
        yield data[:length]
        data = data[length:]


@pytest.mark.parametrize("cut", [1, 5, 6, 7, 13, None])
def test_a_last_flight_in_pieces(suite, cut):
    """The worker does not let itself be woken by the ChangeCipherSpec alone (SO_RCVLOWAT): however the client's last
    flight is cut, and with its first command behind it, the handshake ends and nothing waits."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suite.connect("imaps") as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = suite.tls().wrap_bio(incoming, outgoing, server_hostname="localhost")
        flights = []
        while True:
            try:
                peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                if said := outgoing.read():
                    if flights or said[0] != 22:
                        flights.append(said)
                    else:
                        raw.sendall(said)
                        flights.append(b"")
                incoming.write(raw.recv(65536))
        last = b"".join(flights) + outgoing.read()
        assert [r[0] for r in records(last)] == [20, 23] and len(next(records(last))) == 6
        peer.write(b"a NOOP\r\n")
        for piece in [last[i:i + 1] for i in range(len(last))] if cut is None else [last[:cut], last[cut:]]:
            raw.sendall(piece)
            time.sleep(0.002 if cut is None else 0.05)
        raw.sendall(outgoing.read())
        got = b""
        while b"a OK" not in got:
            incoming.write(raw.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                while True:
                    got += peer.read(4096)
        assert got.startswith(b"* OK")


@pytest.mark.parametrize("wait", [0, 0.2])
def test_who_talks_behind_the_end_still_reads_it(suite, wait):
    """What the server said last arrives, and then the end, whether the client says more at once or later: no reset eats
    it while its bytes lie unread at the worker, watched or not."""
    sock = tls(suite, "imaps")
    sock.sendall(b"a LOGOUT\r\n")
    time.sleep(wait)
    for _ in range(20):
        sock.sendall(b"b NOOP\r\n")
    assert ask_end(sock) == [b"* BYE", b"a OK "]


def ask_end(sock):
    """The beginnings of all lines until the end."""
    got = []
    while said := line(sock):
        got.append(said[:5])
    return got
