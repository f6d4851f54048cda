"""A private authority, and web servers that say what a test wants: whole HTTP answers as bytes, at whatever pace."""

import contextlib
import pathlib
import random
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading


class Authority:
    """Certificates by an authority of our own; .file is what others should trust."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="valija-authority-"))
        self.dir.chmod(0o755)
        self.count = 0
        self.file = self.dir / "authority.pem"
        self._certtool("--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", self.dir / "authority.key")
        self._template('cn = "Authority of tests"\nca\ncert_signing_key\nexpiration_days = 30\n')
        self._certtool("--generate-self-signed", "--load-privkey", self.dir / "authority.key", "--template", self.dir / "template",
                       "--outfile", self.file)
        self.file.chmod(0o644)

    @staticmethod
    def _certtool(*argv):
        done = subprocess.run(["certtool", *map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode()

    def _template(self, text):
        (self.dir / "template").write_text(text)

    def context(self, *names, expired=False, foreign=False):
        """An SSL context of a server with a certificate for these names; expired, or by itself alone."""
        self.count += 1
        key, certificate = self.dir / f"{self.count}.key", self.dir / f"{self.count}.pem"
        dates = 'activation_date = "2020-01-01 00:00:00"\nexpiration_date = "2020-02-01 00:00:00"\n' if expired else "expiration_days = 30\n"
        self._template(f'cn = "{names[0]}"\n' + "".join(f'dns_name = "{n}"\n' for n in names) + dates +
                       "tls_www_server\nsigning_key\n")
        self._certtool("--generate-privkey", "--key-type=ecdsa", "--curve=secp256r1", "--outfile", key)
        signer = ["--generate-self-signed"] if foreign else ["--generate-certificate", "--load-ca-certificate", self.file,
                                                             "--load-ca-privkey", self.dir / "authority.key"]
        self._certtool(*signer, "--load-privkey", key, "--template", self.dir / "template", "--outfile", certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def answer(body=b"", status="200 OK", kind="text/plain", *more):
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def loopback():
    """An address of this machine that hardly another test has."""
    return f"127.{random.randrange(1, 250)}.{random.randrange(250)}.{random.randrange(1, 250)}"


class Web:
    """Serves one connection after the other: say(request) returns the bytes to answer with, or yields pieces of them; None
    closes without a word. Requests (header and body) are kept in .requests. context: None speaks plain HTTP."""

    def __init__(self, say, context=None, host="127.0.0.1", port=0):
        self.say, self.context, self.requests, self.connections = say, context, [], 0
        self.socket = socket.create_server((host, port))
        self.host, self.port = self.socket.getsockname()
        self.over = False
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while not self.over:
            with contextlib.suppress(OSError):
                client, _ = self.socket.accept()
                self.connections += 1
                threading.Thread(target=self._one, args=(client,), daemon=True).start()

    def _one(self, client):
        client.settimeout(30)
        with contextlib.suppress(OSError, ValueError):
            if self.context:
                client = self.context.wrap_socket(client, server_side=True)
            with client:
                request = b""
                while b"\r\n\r\n" not in request:
                    piece = client.recv(65536)
                    if not piece:
                        return
                    request += piece
                    if not self.context and request[0] == 0x16:
                        return  # TLS where none is spoken
                head, _, body = request.partition(b"\r\n\r\n")
                length = [int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:")]
                while length and len(body) < length[0]:
                    piece = client.recv(65536)
                    if not piece:
                        return
                    body += piece
                self.requests.append(head + b"\r\n\r\n" + body)
                said = self.say(self.requests[-1])
                for piece in [said] if isinstance(said, bytes) else said or []:
                    client.sendall(piece)
                if isinstance(client, ssl.SSLSocket):
                    client.unwrap()

    def url(self, name, path="/"):
        return f"http{'s' if self.context else ''}://{name}:{self.port}{path}"

    def close(self):
        self.over = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
