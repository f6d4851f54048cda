"""Networks for tests: a server behind a router, and a world outside, all in namespaces of this test.

    with Network() as net:
        net.lan_static("192.168.77.10")
        suite = net.valija()                    # a valija.Instance inside the server's namespace
        net.world.connect("203.0.113.1", 25)    # a socket of the outside

Four spaces, each with a network and a mount namespace of its own, held by a sleeping process:

    world   203.0.113.10 a client, .25 a peer's mail server, .53 DNS
      |
    router  wan 203.0.113.1 - lan 192.168.77.1; DHCP by dnsmasq; NAT and forwarding by nftables
      |
    server  eth0: static, leased, or nothing       office  192.168.77.50

Nothing is made outside of these namespaces, so that two runs at once do not meet, and everything ends
with the holders.
"""

import contextlib
import ctypes
import imaplib
import os
import pathlib
import shutil
import signal
import smtplib
import socket
import subprocess
import tempfile
import threading
import time

import valija

CLONE_NEWNET = 0x40000000
LAN, LAN_PREFIX, WAN = "192.168.77.1", "192.168.77", "203.0.113.1"
CLIENT, PEER, DNS = "203.0.113.10", "203.0.113.25", "203.0.113.53"
OFFICE = "192.168.77.50"
FORWARDED = (25, 465, 587, 993)
_libc = ctypes.CDLL(None, use_errno=True)


def missing(*programs):
    """Why these networks cannot be built here, or None: needs root, namespaces, and the programs."""
    lacking = [p for p in ("ip", "nft", "unshare", "nsenter", *programs) if not shutil.which(p, path=PATH)]
    if os.getuid() != 0:
        return "needs root to make network namespaces"
    if lacking:
        return f"needs {', '.join(lacking)}"
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        return "this machine lets nobody make namespaces"
    return None


PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Space:
    """A network namespace, with a mount namespace in which /etc/resolv.conf is a file of its own."""

    def __init__(self, name, tmp):
        self.name, self.tmp = name, tmp / name
        self.tmp.mkdir()
        self.started = []
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        valija.wait_until(lambda: os.readlink(f"/proc/{self.pid}/ns/net") != own and
                          pathlib.Path(f"/proc/{self.pid}/comm").read_text() == "sleep\n", what=f"space {name}")
        self.resolv_conf = self.tmp / "resolv.conf"
        self.resolv_conf.write_text("")
        self.run("mount", "--bind", self.resolv_conf, os.path.realpath("/etc/resolv.conf"))
        self.ip("link set lo up")

    @property
    def pid(self):
        return self.holder.pid

    def argv(self, *argv):
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "--", *[str(a) for a in argv]]

    def run(self, *argv, stdin=b"", check=True, seconds=30):
        return valija.run(self.argv(*argv), stdin=stdin, check=check, seconds=seconds,
                          env={**os.environ, "PATH": PATH})

    def ip(self, line, check=True):
        return self.run("ip", *line.split(), check=check).stdout.decode()

    def start(self, *argv):
        """A program that runs until the network ends; what it says goes to a file."""
        log = open(self.tmp / f"{pathlib.Path(str(argv[0])).name}.log", "ab")
        process = subprocess.Popen(self.argv(*argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   start_new_session=True, env={**os.environ, "PATH": PATH})
        log.close()
        self.started.append(process)
        return process

    def said(self, program):
        path = self.tmp / f"{program}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @contextlib.contextmanager
    def inside(self):
        """This thread is in the namespace; sockets made meanwhile stay there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        there = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(there, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            yield
        finally:
            _libc.setns(own, CLONE_NEWNET)
            os.close(own)
            os.close(there)

    def connect(self, address, port, seconds=5, source=None):
        with self.inside():
            return socket.create_connection((address, port), timeout=seconds, source_address=source and (source, 0))

    def answers(self, address, port, seconds=1):
        try:
            self.connect(address, port, seconds).close()
            return True
        except OSError:
            return False

    def greeting(self, address, port, seconds=5):
        """The first line that the other side says, or "" when nobody is there."""
        try:
            with self.connect(address, port, seconds) as sock:
                sock.settimeout(seconds)
                return sock.recv(512).decode("latin-1")
        except OSError:
            return ""

    def stop(self, process):
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process in self.started:
            self.started.remove(process)

    def close(self):
        for process in list(self.started):
            self.stop(process)
        self.holder.kill()
        self.holder.wait()


class Smtp(smtplib.SMTP):
    """smtplib from a space, to an address, with a certificate for the server's name."""

    def __init__(self, space, suite, address, port, source=None, seconds=20):
        self.space, self.address, self.source = space, address, source
        super().__init__(suite.host, port, timeout=seconds)
        if port == 587:
            self.starttls(context=suite.tls())

    def _get_socket(self, host, port, timeout):
        return self.space.connect(self.address, port, timeout, self.source)


class Imap(imaplib.IMAP4_SSL):
    """imaplib likewise, on 993."""

    def __init__(self, space, suite, address, source=None, seconds=20):
        self.space, self.address, self.source = space, address, source
        super().__init__(suite.host, 993, ssl_context=suite.tls(), timeout=seconds)

    def _create_socket(self, timeout):
        plain = self.space.connect(self.address, 993, timeout, self.source)
        return self.ssl_context.wrap_socket(plain, server_hostname=self.host)


class Suite(valija.Instance):
    """Valija inside a space, on the real ports."""

    def __init__(self, space, hostname, begin=True, **settings):
        self.space = space
        super().__init__(hostname=hostname, settings={"port_base": "0", "listen": '{"0.0.0.0", "::"}', **settings},
                         start=False)
        self.ports.base = 0
        if begin:
            self.start()

    def argv(self, *arguments, with_dir=True):
        return self.space.argv(*super().argv(*arguments, with_dir=with_dir))

    @property
    def host(self):
        return self.env["HOST"]


class Sink:
    """A mail server that takes everything: who came, and what was said."""

    def __init__(self, space, address, port=25):
        self.mails, self.peers = [], []
        with space.inside():
            self.listening = socket.create_server((address, port))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, peer = self.listening.accept()
                self.peers.append(peer[0])
                threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock):
        with contextlib.suppress(OSError), sock, sock.makefile("rwb") as file:
            def say(line):
                file.write(line + b"\r\n")
                file.flush()
            say(b"220 peer.example.net ESMTP sink")
            mail = helo = None
            for line in file:
                word = line[:4].upper()
                if word in (b"EHLO", b"HELO"):
                    helo = line[5:].strip().decode("latin-1")
                    say(b"250-peer.example.net")
                    say(b"250 8BITMIME")
                elif word == b"MAIL":
                    mail = {"helo": helo, "from": line, "to": [], "data": b""}
                    say(b"250 2.1.0 ok")
                elif word == b"RCPT":
                    mail["to"].append(line)
                    say(b"250 2.1.5 ok")
                elif word == b"DATA":
                    say(b"354 go on")
                    for text in file:
                        if text == b".\r\n":
                            break
                        mail["data"] += text
                    self.mails.append(mail)
                    say(b"250 2.0.0 taken")
                elif word == b"QUIT":
                    say(b"221 2.0.0 bye")
                    return
                else:
                    say(b"250 2.0.0 ok")

    def close(self):
        self.listening.close()


DHCLIENT_SCRIPT = """#!/bin/sh
# What the distribution's dhclient-script does, without touching files of this machine.
bits() { echo "$1" | awk -F. '{ n = 0; for (i = 1; i <= 4; i++) { b = $i; while (b > 0) { n += b % 2; b = int(b / 2) } } print n }'; }
case $reason in
PREINIT) ip link set "$interface" up ;;
BOUND|RENEW|REBIND|REBOOT)
	if [ -n "$old_ip_address" ] && [ "$old_ip_address" != "$new_ip_address" ]; then
		ip -4 addr flush dev "$interface"
	fi
	ip -4 addr replace "$new_ip_address/$(bits "$new_subnet_mask")" dev "$interface" $LIFETIME
	for r in $new_routers; do ip -4 route replace default via "$r" dev "$interface"; done
	for d in $new_domain_name_servers; do echo "nameserver $d"; done >/etc/resolv.conf ;;
EXPIRE|FAIL|RELEASE|STOP) ip -4 addr flush dev "$interface" ;;
esac
exit 0
"""


class Network:
    """The four spaces, joined. forward: ports that the router forwards to the server; hairpin: also for those
    inside; translated: everything that comes in by forwarding seems to come from the router."""

    def __init__(self):
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="valija-net-"))
        os.chmod(self.tmp, 0o755)
        self.suites, self.spaces, self.sinks = [], [], []
        try:
            for name in ("world", "router", "server", "office"):
                space = Space(name, self.tmp)
                self.spaces.append(space)
                setattr(self, name, space)
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self):
        world, router, server, office = self.spaces
        world.ip(f"link add eth0 type veth peer name wan0 netns {router.pid}")
        server.ip(f"link add eth0 type veth peer name port1 netns {router.pid}")
        office.ip(f"link add eth0 type veth peer name port2 netns {router.pid}")
        for address in (CLIENT, PEER, DNS):
            world.ip(f"addr add {address}/24 dev eth0")
        world.ip("link set eth0 up")
        router.ip("link add lan0 type bridge")
        for port in ("port1", "port2"):
            router.ip(f"link set {port} master lan0")
            router.ip(f"link set {port} up")
        router.ip(f"addr add {WAN}/24 dev wan0")
        router.ip(f"addr add {LAN}/24 dev lan0")
        for link in ("wan0", "lan0"):
            router.ip(f"link set {link} up")
        router.ip(f"route add default via {CLIENT}")
        router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        # A bridge that hands its frames to the rules by itself (br_netfilter) is no home router: what comes back to
        # the port that it came from would be lost.
        router.run("sh", "-c", "f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 >$f")
        office.ip(f"addr add {OFFICE}/24 dev eth0")
        office.ip("link set eth0 up")
        office.ip(f"route add default via {LAN}")
        server.ip("link set eth0 up")

    # ---- the router ------------------------------------------------------------------------------

    def forward(self, server, ports=FORWARDED, hairpin=False, translated=False):
        """NAT for those inside, and forwarding for the outside."""
        inside = f'iifname "lan0" ip daddr {WAN} ' if hairpin else None
        ports = ", ".join(str(p) for p in ports)
        rules = [f'iifname "wan0" tcp dport {{ {ports} }} dnat to {server}'] if ports else []
        back = ['oifname "wan0" masquerade']
        if hairpin:
            rules.append(f'{inside} tcp dport {{ {ports} }} dnat to {server}')
            back.append(f'ip saddr {LAN_PREFIX}.0/24 ip daddr {server} ct status dnat masquerade')
        if translated:
            back.append(f'ip daddr {server} ct status dnat masquerade')
        self.nft("table ip nat {\n"
                 "chain pre { type nat hook prerouting priority dstnat\n" + "\n".join(rules) + "\n}\n"
                 "chain post { type nat hook postrouting priority srcnat\n" + "\n".join(back) + "\n}\n}\n"
                 "table ip filter {\n"
                 "chain across { type filter hook forward priority filter; policy drop;\n"
                 'ct state established,related accept\niifname "lan0" accept\nct status dnat accept\n}\n}\n')

    def nft(self, ruleset, add=False):
        if not add:
            self.router.run("nft", "flush", "ruleset")
        self.router.run("nft", "-f", "-", stdin=ruleset.encode())

    def dhcp(self, address, seconds=3600):
        """A DHCP server that has one address to give."""
        if getattr(self, "dnsmasq", None):
            self.router.stop(self.dnsmasq)
        leases = self.router.tmp / "leases"
        leases.unlink(missing_ok=True)
        self.dnsmasq = self.router.start(
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=lan0",
            "--bind-interfaces", f"--dhcp-range={address},{address},255.255.255.0,{seconds}", "--no-ping",
            "--dhcp-authoritative", f"--dhcp-leasefile={leases}", f"--dhcp-option=option:router,{LAN}",
            f"--dhcp-option=option:dns-server,{DNS}", "--user=root", "--log-facility=-")

    # ---- the server's address --------------------------------------------------------------------

    def lan_static(self, address):
        self.server.ip(f"addr add {address}/24 dev eth0")
        self.server.ip(f"route replace default via {LAN}")

    def lan_lease(self, lifetime=True):
        """Asks for a lease (again), and waits for it."""
        script, conf = self.server.tmp / "dhclient-script", self.server.tmp / "dhclient.conf"
        if not script.exists():
            script.write_text(DHCLIENT_SCRIPT.replace(
                "$LIFETIME", 'valid_lft "$new_dhcp_lease_time" preferred_lft "$new_dhcp_lease_time"'
                if lifetime else ""))
            script.chmod(0o755)
            conf.write_text("initial-interval 1; backoff-cutoff 1; initial-delay 0; timeout 10; retry 1;\n"
                            "request subnet-mask, routers, domain-name-servers;\n")
        if getattr(self, "dhclient", None):
            self.server.stop(self.dhclient)
        self.dhclient = self.server.start(
            "dhclient", "-4", "-d", "-q", "-sf", script, "-cf", conf, "-lf", self.server.tmp / "dhclient.leases",
            "-pf", self.server.tmp / "dhclient.pid", "eth0")

    def wait_for_address(self, address, seconds=15):
        valija.wait_until(lambda: f"inet {address}/" in self.server.ip("-4 addr show dev eth0"), seconds,
                          f"address {address}")

    # ---- who serves ------------------------------------------------------------------------------

    def any_name(self):
        """A resolver in which every name but the server's is the peer, at once: for tests that are not about names."""
        if not self.server.resolv_conf.read_text():
            self.server.resolv_conf.write_text("nameserver 127.0.0.1\n")
            self.server.start("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                              "--listen-address=127.0.0.1", "--bind-interfaces", f"--address=/#/{PEER}",
                              f"--address=/mail.example.org/{WAN}", "--user=root")

    @staticmethod
    def unix_greeting(path, seconds=5):
        """The first line at a UNIX socket, or ""."""
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(seconds)
                sock.connect(str(path))
                return sock.recv(512).decode("latin-1")
        except OSError:
            return ""

    def valija(self, hostname="mail.example.org", **settings):
        self.any_name()
        suite = Suite(self.server, hostname, **settings)
        self.suites.append(suite)
        return suite

    def sink(self, address=PEER, port=25):
        sink = Sink(self.world, address, port)
        self.sinks.append(sink)
        return sink

    def knot(self, zones):
        """A name server in the world at DNS: zones is {name: text}. Returns the key file that may update.
        Again: with other zones."""
        if getattr(self, "knotd", None):
            self.world.stop(self.knotd)
            shutil.rmtree(self.world.tmp / "knot")
        self.server.resolv_conf.write_text(f"nameserver {DNS}\n")
        home = self.world.tmp / "knot"
        home.mkdir(exist_ok=True)
        os.chmod(home, 0o755)
        secret = "c2VjcmV0IG9mIGEgdGVzdCwgbm90IG9mIGEgc2VydmVy"
        lines = ["server:", f'  rundir: "{home}"', f'  listen: [ "{DNS}@53" ]', "log:", "- target: stderr",
                 "  any: info", "key:", "- id: hook", "  algorithm: hmac-sha256", f"  secret: {secret}", "acl:",
                 "- id: may-update", "  key: hook", "  action: update", "database:", f'  storage: "{home}"',
                 "template:", "- id: default", f'  storage: "{home}"', '  file: "%s.zone"', "  acl: may-update",
                 "  semantic-checks: off", "zone:"]
        for name, text in zones.items():
            (home / f"{name}.zone").write_text(text)
            lines.append(f"- domain: {name}")
        (home / "knot.conf").write_text("\n".join(lines) + "\n")
        key = home / "hook.key"
        key.write_text(f'key "hook" {{ algorithm hmac-sha256; secret "{secret}"; }};\n')
        self.knotd = self.world.start("knotd", "-c", home / "knot.conf")
        valija.wait_until(lambda: self.world.answers(DNS, 53), 10, "the name server")
        return key

    # ---- the end ---------------------------------------------------------------------------------

    def close(self):
        left = []
        for suite in self.suites:
            left += suite.close()
        for sink in self.sinks:
            sink.close()
        for space in self.spaces:
            space.close()
        if os.environ.get("VALIJA_TEST_KEEP"):
            print(f"kept: {self.tmp}")
        else:
            shutil.rmtree(self.tmp, ignore_errors=True)
        return left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
