"""Behind a load balancer: the PROXY protocol restores the client's address, for those who may speak
it, before TLS and everything else."""

import contextlib
import smtplib
import socket
import struct
import subprocess

import pytest

import mails
import valija

V2 = b"\r\n\r\n\0\r\nQUIT\n"
CLIENT = "203.0.113.77"
SERVICES = {"smtp": 1, "submission": 2, "submissions": 3, "imaps": 4}


def v2(command, family, body):
    return V2 + bytes([command, family]) + struct.pack("!H", len(body)) + body


def from_client(address=CLIENT, tlvs=b""):
    return v2(0x21, 0x11, socket.inet_aton(address) + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 25) + tlvs)


@pytest.fixture(scope="module")
def proxied():
    """An instance with listeners for a proxy at 127.0.0.1, beside its own."""
    instance = valija.Instance(start=False)
    instance.proxy_port = {service: instance.ports.base + 2000 + n for service, n in SERVICES.items()}
    listeners = ", ".join(f'"{service}@127.0.0.1:{port}"' for service, port in instance.proxy_port.items())
    listeners += f', "smtp@127.0.0.2:{instance.ports.base + 2010}"'
    instance.configure(proxy_listen="{" + listeners + "}", proxy_from='{"127.0.0.1"}', sender_domain_check="no")
    instance.start()
    yield instance
    assert not instance.close()


def connect(instance, service, header, source=None):
    sock = socket.create_connection(("127.0.0.1", instance.proxy_port[service]), timeout=15,
                                    source_address=(source, 0) if source else None)
    sock.sendall(header)
    return sock


def greeting(sock):
    return sock.makefile("rb").readline()


@pytest.mark.parametrize("header", [b"PROXY TCP4 %s 192.0.2.1 4711 25\r\n" % CLIENT.encode(), from_client()],
                         ids=["v1", "v2"])
def test_the_clients_address_is_restored(proxied, header):
    user = proxied.new_user()
    with connect(proxied, "smtp", header) as sock:
        smtp = smtplib.SMTP()
        smtp.sock, smtp.file = sock, None
        assert smtp.getreply()[0] == 220
        smtp.sendmail("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user))
    (path,) = proxied.delivered(user)
    assert f"[{CLIENT}]".encode() in path.read_bytes().split(b"\r\n\r\n")[0]
    valija.wait_until(lambda: "proxied session=" in proxied.log() and f"ip={CLIENT} proxy=127.0.0.1" in proxied.log())


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2(0x20, 0, b"")], ids=["v1-unknown", "v2-local"])
def test_a_proxys_own_connection_is_served(proxied, header):
    with connect(proxied, "smtp", header) as sock:
        assert greeting(sock).startswith(b"220 ")


def test_the_header_comes_before_tls(proxied):
    """On 465 and 993 the header is in clear, and TLS begins behind it; what the proxy says of its own
    TLS is logged and counts for nothing."""
    user = proxied.new_user()
    tlv = bytes([0x20]) + struct.pack("!H", 5 + 10) + b"\1\0\0\0\0" + b"\x21\0\7TLSv1.3"
    with connect(proxied, "submissions", from_client(tlvs=tlv)) as sock:
        with proxied.tls().wrap_socket(sock, server_hostname=proxied.host) as tls:
            smtp = smtplib.SMTP()
            smtp.sock, smtp.file = tls, None
            assert smtp.getreply()[0] == 220
            smtp.login(user, proxied.passwords[user])
            assert smtp.noop()[0] == 250
    with connect(proxied, "imaps", from_client("203.0.113.78", tlvs=tlv)) as sock:
        with proxied.tls().wrap_socket(sock, server_hostname=proxied.host) as tls:
            lines = tls.makefile("rb")
            assert lines.readline().startswith(b"* OK")
            tls.sendall(b"a LOGIN %s %s\r\n" % (user.encode(), proxied.passwords[user].encode()))
            assert lines.readline().startswith(b"a OK")
    valija.wait_until(lambda: f"ip={CLIENT} proxy=127.0.0.1 tls=TLSv1.3" in proxied.log())
    valija.wait_until(lambda: "ip=203.0.113.78 proxy=127.0.0.1 tls=TLSv1.3" in proxied.log())


@pytest.mark.parametrize("header", [b"EHLO client.example\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\n" * 8,
                                    v2(0x21, 0x11, b"short"), v2(0x21, 0x99, b""), v2(0x20, 0, b"x" * 4000)],
                         ids=["none", "v1-short", "tls", "v2-short", "v2-family", "v2-long"])
def test_no_header_no_service(proxied, header):
    with connect(proxied, "smtp", header) as sock:
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    valija.wait_until(lambda: "proxy-refused ip=127.0.0.1 service=smtp" in proxied.log())


def test_only_named_proxies_are_heard(proxied):
    """Whoever comes from elsewhere is turned away, whatever address he claims; and an ordinary listener
    takes the header for a command."""
    with connect(proxied, "smtp", b"", source="127.0.0.9") as sock:
        assert sock.recv(100) == b""
    valija.wait_until(lambda: 'turned-away ip=127.0.0.9 service=smtp reason="not a proxy of proxy_from"' in proxied.log())
    with proxied.connect("submission") as sock:
        assert greeting(sock).startswith(b"220 ")
        sock.sendall(from_client())
        assert not sock.recv(1000).startswith(b"220")


def test_haproxy(proxied, tmp_path):
    """Debian's haproxy in front of SMTP (send-proxy) and IMAP over TLS (send-proxy-v2)."""
    front = {"smtp": proxied.ports.base + 2020, "imaps": proxied.ports.base + 2021}
    conf = tmp_path / "haproxy.cfg"
    conf.write_text("defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n" + "".join(
        f"listen {service}\n  bind 127.0.0.1:{port}\n  server one 127.0.0.1:{proxied.proxy_port[service]} {send}\n"
        for (service, port), send in zip(front.items(), ["send-proxy", "send-proxy-v2"])))
    balancer = subprocess.Popen(["haproxy", "-db", "-f", conf], stderr=subprocess.PIPE)
    try:
        user = proxied.new_user()
        valija.wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", front["imaps"])) == 0, 10, "haproxy")
        smtp = socket.create_connection(("127.0.0.1", front["smtp"]), source_address=("127.0.0.33", 0), timeout=10)
        with smtp:
            session = smtplib.SMTP()
            session.sock, session.file = smtp, None
            assert session.getreply()[0] == 220
            session.sendmail("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user))
        (path,) = proxied.delivered(user)
        assert b"[127.0.0.33]" in path.read_bytes()
        context = proxied.tls()
        raw = socket.create_connection(("127.0.0.1", front["imaps"]), source_address=("127.0.0.34", 0), timeout=10)
        with raw, context.wrap_socket(raw, server_hostname=proxied.host) as tls:
            assert tls.recv(100).startswith(b"* OK")
        valija.wait_until(lambda: "proxied" in proxied.log() and "ip=127.0.0.34 proxy=127.0.0.1" in proxied.log())
    finally:
        balancer.terminate()
        balancer.wait(10)
