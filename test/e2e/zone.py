"""A name server of our own (Knot DNS) with a signed root zone, below which tests put what they need; and a
name server that answers whatever a test wants.

    with Zone("good.example. MX 10 mx.good.example.\\n") as zone:
        with valija.Instance(settings=zone.settings()) as suite: ...

`signed` names zones with keys of their own whose parent vouches for them wrongly: everything in them is bogus.
`plain` names zones without DNSSEC.
"""

import contextlib
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

import pytest

HEAD = """$TTL {ttl}
{origin} SOA ns.{dot} admin.{dot} {serial} 3600 900 86400 2
{origin} NS ns.{dot}
ns.{dot} A {host}
"""


def available():
    return shutil.which("knotd", path="/usr/sbin:/usr/bin") is not None


needs_knot = pytest.mark.skipif(not available(), reason="needs knotd (Debian: knot, knot-dnsutils)")


class Zone:
    def __init__(self, records="", plain=None, bogus=None, host="127.0.0.1", port=None, netns=None, ttl=2):
        """records: lines of the root zone. plain, bogus: {zone: lines} of zones below it."""
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="valija-zone-"))
        self.host, self.netns, self.ttl, self.serial = host, netns, ttl, 1
        self.records, self.plain, self.bogus = records, plain or {}, bogus or {}
        self.process = None
        try:
            for _ in range(3):
                self.port = port or random.randrange(20000, 32000)
                if self._start():
                    return
            raise RuntimeError("knotd did not start: " + (self.dir / "log").read_text())
        except BaseException:
            self.close()
            raise

    def _argv(self, *argv):
        return ([*"ip netns exec".split(), self.netns] if self.netns else []) + [str(a) for a in argv]

    def _write(self):
        def head(origin):
            return HEAD.format(ttl=self.ttl, origin=origin, dot="" if origin == "." else origin, host=self.host,
                               serial=self.serial)
        root = head(".") + self.records
        for name in [*self.plain, *self.bogus]:
            root += f"\n{name} NS ns.\n"
        for name in self.bogus:
            root += f"{name} DS 12345 13 2 {'AB' * 32}\n"
        (self.dir / "root.zone").write_text(root + "\n")
        for name, lines in {**self.plain, **self.bogus}.items():
            (self.dir / f"{name}zone").write_text(head(name) + lines + "\n")

    def _start(self):
        (self.dir / "db").mkdir(exist_ok=True)
        self._write()
        zones = "".join(f"  - domain: {name}\n    file: {name}zone\n    dnssec-signing: {signing}\n"
                        for names, signing in ((self.plain, "off"), (self.bogus, "on")) for name in names)
        (self.dir / "knot.conf").write_text(f"""server:
    listen: {self.host}@{self.port}
    rundir: {self.dir}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: {self.dir}/db
    journal-db-max-size: 16M
    kasp-db-max-size: 16M
policy:
  - id: own
    algorithm: ecdsap256sha256
    single-type-signing: on
    nsec3: off
template:
  - id: default
    storage: {self.dir}
    zonefile-sync: -1
    zonefile-load: difference-no-serial
    journal-content: all
    dnssec-policy: own
zone:
  - domain: .
    file: root.zone
    dnssec-signing: on
{zones}""")
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(self._argv("knotd", "-c", self.dir / "knot.conf"), stdout=log, stderr=log)
        limit = time.monotonic() + 10
        while time.monotonic() < limit and self.process.poll() is None:
            key = self.dig(".", "DNSKEY")
            if key:
                (self.dir / "trust").write_text("".join(f". IN DNSKEY {line}\n" for line in key.splitlines()))
                self.dir.chmod(0o755)
                return True
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        return False

    def dig(self, name, kind, *more):
        done = subprocess.run(self._argv("kdig", f"@{self.host}", "-p", self.port, "+short", "+time=1", "+retry=0",
                                         *more, name, kind),
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
        return done.stdout.decode() if done.returncode == 0 and b";;" not in done.stdout else ""

    def change(self, records):
        """Other records in the root zone, served when this returns."""
        self.serial += 1
        self.records = f'{records}\nserial. TXT "{self.serial}"\n'
        self._write()
        subprocess.run(["knotc", "-c", str(self.dir / "knot.conf"), "-b", "zone-reload", "."], check=True, timeout=20,
                       stdout=subprocess.DEVNULL)
        limit = time.monotonic() + 10
        while f'"{self.serial}"' not in self.dig("serial.", "TXT") and time.monotonic() < limit:
            time.sleep(0.02)

    def settings(self, dnssec="required"):
        return {"dns_servers": f'{{"{self.host}:{self.port}"}}', "dns_trust_anchor": f'"{self.dir}/trust"',
                "dnssec": f'"{dnssec}"'}

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def wire_name(name):
    return b"".join(bytes([len(label)]) + label for label in name.encode("latin-1").split(b".") if label) + b"\0"


class Liar:
    """A name server on UDP and TCP that answers with what answer(name, type) returns: a list of (type, data), or whole bytes
    to send behind the id."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []
        for _ in range(50):
            self.tcp = socket.create_server(("127.0.0.1", 0))
            self.port = self.tcp.getsockname()[1]
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.udp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.tcp.close()
        self.over = False
        for work in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=work, daemon=True).start()

    def _reply(self, question):
        end = question.index(b"\0", 12) + 5
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode("latin-1").lower())
            at += 1 + question[at]
        name, kind = ".".join(labels), struct.unpack(">H", question[end - 4:end - 2])[0]
        self.asked.append((name, kind))
        said = self.answer(name, kind)
        if isinstance(said, bytes):
            return question[:2] + said
        reply = question[:2] + b"\x81\x80" + struct.pack(">HHHH", 1, len(said), 0, 0) + question[12:end]
        for what, data in said:
            reply += b"\xc0\x0c" + struct.pack(">HHIH", what, 1, 60, len(data)) + data
        return reply

    def _serve_udp(self):
        while not self.over:
            with contextlib.suppress(OSError, ValueError, IndexError):
                question, peer = self.udp.recvfrom(4096)
                reply = self._reply(question)
                if len(reply) > 1232:
                    end = question.index(b"\0", 12) + 5
                    reply = question[:2] + b"\x83\x80" + struct.pack(">HHHH", 1, 0, 0, 0) + question[12:end]
                self.udp.sendto(reply, peer)

    def _serve_tcp(self):
        while not self.over:
            with contextlib.suppress(OSError, ValueError, IndexError, struct.error):
                client, _ = self.tcp.accept()
                with client:
                    client.settimeout(5)
                    (length,) = struct.unpack(">H", client.recv(2, socket.MSG_WAITALL))
                    reply = self._reply(client.recv(length, socket.MSG_WAITALL))
                    client.sendall(struct.pack(">H", len(reply)) + reply)

    def close(self):
        self.over = True
        for s in (self.udp, self.tcp):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
