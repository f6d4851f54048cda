"""Servers that mail is relayed to: a scripted SMTP (or LMTP) server that keeps what it gets, and can misbehave at every stage."""

import contextlib
import os
import re
import socket
import ssl
import threading
import time


class Peer:
    """One server on an address of its own. answers: what it says instead of the usual, by stage: "greeting", "ehlo", "helo",
    "starttls", "mail", "rcpt", "data", "end", "bdat", "rset"; a string, a list (one each time, the last for ever), or a
    function(line) of either. None in place of an answer: it hangs up. "silence": it says nothing more. bytes: sent as they are."""

    def __init__(self, address="127.0.0.1", port=0, extensions=("PIPELINING", "8BITMIME", "SIZE 50000000", "DSN", "ENHANCEDSTATUSCODES"),
                 name="peer.example", answers=None, tls=None, lmtp=False, implicit=False, auth=None, loose=False, path=None):
        self.name, self.extensions, self.answers, self.lmtp = name, list(extensions), dict(answers or {}), lmtp
        self.context, self.implicit, self.auth, self.loose = tls, implicit, auth, loose
        self.messages, self.commands, self.connections, self.lock = [], [], 0, threading.Lock()
        if path:                        # a UNIX socket, in place of an address
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
            os.chmod(path, 0o666)
            self.listener.listen(200)
            self.address, self.port = str(path), 0
        else:
            self.listener = socket.create_server((address, port), backlog=200,
                                                 family=socket.AF_INET6 if ":" in address else socket.AF_INET)
            self.address, self.port = self.listener.getsockname()[:2]
        self.over = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.over:
            with contextlib.suppress(OSError):
                client, _ = self.listener.accept()
                with self.lock:
                    self.connections += 1
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError, ssl.SSLError, ConnectionError), client:
            client.settimeout(60)
            if client.family != socket.AF_UNIX:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.implicit:
                client = self.context.wrap_socket(client, server_side=True)
            Talk(self, client).run()

    def say(self, stage, line, usual):
        with self.lock:
            answer = self.answers.get(stage, usual)
            if callable(answer):
                answer = answer(line)
                answer = usual if answer is ... else answer
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
                answer = usual if answer is ... else answer
        return answer

    def close(self):
        self.over = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class HungUp(Exception):
    pass


class Talk:
    def __init__(self, peer, client):
        self.peer, self.client, self.buffer, self.tls = peer, client, b"", peer.implicit

    def line(self):
        while b"\n" not in self.buffer:
            more = self.client.recv(65536)
            if not more:
                raise HungUp
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def exactly(self, count):
        while len(self.buffer) < count:
            more = self.client.recv(65536)
            if not more:
                raise HungUp
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def reply(self, stage, line, usual, first=None):
        """Says it; returns whether it was positive. first(): done before, if it is."""
        said = self.peer.say(stage, line, usual)
        if said is None:
            raise HungUp
        if said == "silence":
            time.sleep(600)
        if first and said[:1] in ("2", b"2"):
            first()
        self.client.sendall(said if isinstance(said, bytes) else said.encode() + b"\r\n")
        return (said if isinstance(said, str) else said.decode("latin-1"))[:1] in "23"

    def run(self):
        with contextlib.suppress(HungUp):
            if self.reply("greeting", "", f"220 {self.peer.name} ESMTP"):
                while self.command(self.line()):
                    pass

    def reset(self):
        self.sender, self.recipients, self.body = None, [], b""

    def command(self, line):
        peer, verb = self.peer, line.split(" ")[0].upper()
        with peer.lock:
            peer.commands.append(line)
        if verb in ("EHLO", "LHLO"):
            self.reset()
            more = list(peer.extensions) + (["STARTTLS"] if peer.context and not self.tls else [])
            more += [f"AUTH {peer.auth[0]}"] if peer.auth and (self.tls or not peer.context) else []
            lines = [peer.name, *more]
            self.reply("ehlo", line, "\r\n".join(f"250{'-' if n < len(lines) - 1 else ' '}{w}" for n, w in enumerate(lines)))
        elif verb == "HELO":
            self.reset()
            self.reply("helo", line, f"250 {peer.name}")
        elif verb == "STARTTLS":
            if self.reply("starttls", line, "220 2.0.0 go"):
                self.buffer = b""
                if not peer.context:
                    raise HungUp
                self.client = peer.context.wrap_socket(self.client, server_side=True)
                self.tls = True
        elif verb == "AUTH":
            peer.auth[1](self, line)
        elif verb == "MAIL":
            self.reset()
            if self.reply("mail", line, "250 2.1.0 ok"):
                self.sender = line
        elif verb == "RCPT":
            if self.sender is None:
                self.reply("order", line, "503 5.5.1 MAIL first")
            elif self.reply("rcpt", line, "250 2.1.5 ok"):
                self.recipients.append(line)
        elif verb == "DATA":
            if not self.recipients:
                self.reply("order", line, "503 5.5.1 RCPT first")
            elif self.reply("data", line, "354 go on"):
                self.take(self.until_dot(), line)
        elif verb == "BDAT":
            size, last = int(line.split()[1]), line.upper().endswith(" LAST")
            self.body += self.exactly(size)
            if not self.recipients:
                self.reply("order", line, "503 5.5.1 RCPT first")
            elif last:
                self.take(self.body, line)
            else:
                self.reply("bdat", line, "250 2.0.0 chunk")
        elif verb == "RSET":
            self.reset()
            self.reply("rset", line, "250 2.0.0 ok")
        elif verb == "QUIT":
            self.reply("quit", line, "221 2.0.0 bye")
            return False
        else:
            self.reply("other", line, "500 5.5.2 what")
        return True

    def until_dot(self):
        end = re.compile(rb"(?:^|\r\n|\n)\.\r?\n") if self.peer.loose else re.compile(rb"(?:^|\r\n)\.\r\n")
        got, looked = bytearray(self.buffer), 0
        while not (m := end.search(got, looked)):
            looked = max(len(got) - 4, 0)       # of the end nothing else can be there yet
            more = self.client.recv(1 << 20)
            if not more:
                raise HungUp
            got += more
        body, self.buffer = bytes(got[:m.start()]) + b"\r\n", bytes(got[m.end():])
        return re.sub(rb"(?m)^\.\.", b".", body)

    def take(self, body, line):
        peer = self.peer
        message = {"sender": self.sender, "recipients": list(self.recipients), "body": body, "tls": self.tls,
                   "at": time.monotonic(), "by": line.split(" ")[0].upper(), "from": self.client.getpeername()[:1]}
        for n in range(len(self.recipients) if peer.lmtp else 1):
            self.reply("end", self.recipients[n] if peer.lmtp else line, "250 2.0.0 taken",
                       (lambda: peer.messages.append(message)) if n == 0 else None)
        self.reset()
