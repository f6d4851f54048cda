"""A private instance of Valija for tests: its own directory, ports, users and processes.

    with Instance() as suite:
        suite.user_add("ana@example.org")
        suite.smtp().sendmail(...)

Two test runs at once do not meet: the directory is private, and ports are claimed through names in
the kernel that vanish with the process that claimed them.
"""

import contextlib
import imaplib
import json
import os
import pathlib
import pwd
import random
import secrets
import shlex
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / os.environ.get("VALIJA_BUILD", "build")
PORTS = {"smtp": 25, "submission": 587, "submissions": 465, "imap": 143, "imaps": 993, "lmtp": 24}
DOMAIN = "example.org"
UNPRIVILEGED = "nobody"

# What ARCHITECTURE's table of processes promises: system user, chroot.
DAEMONS = ["log", "smtpd", "imap-login", "auth", "auth-hash", "tls-key", "tls", "queue", "spool", "local", "dns", "fetch", "sts", "ocsp", "relay",
           "policy", "pickup"]


def wait_until(condition, seconds=10.0, what="the condition", pause=0.02):
    """Polls condition() until it is true and returns its value; fails the test after `seconds`."""
    limit = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > limit:
            raise AssertionError(f"{what} did not come within {seconds} s")
        time.sleep(pause)


class Ports:
    """A port base all of whose ports are free, claimed against other test runs on this machine."""

    def __init__(self):
        self.claims = []
        for _ in range(500):
            base = random.randrange(10000, 31000)
            if self._claim(base):
                self.base = base
                return
        raise RuntimeError("no free range of ports")

    def _claim(self, base):
        claims = []
        try:
            for offset in PORTS.values():
                claim = socket.socket(socket.AF_UNIX)
                claims.append(claim)
                claim.bind(f"\0valija-test-port-{base + offset}")
                with socket.socket(socket.AF_INET) as probe:
                    probe.bind(("127.0.0.1", base + offset))
        except OSError:
            for claim in claims:
                claim.close()
            return False
        self.claims = claims
        return True

    def release(self):
        for claim in self.claims:
            claim.close()
        self.claims = []


class Instance:
    """An instance below a temporary directory. as_user: name of an unprivileged user to run it as,
    or None for whoever runs the tests. settings: lines for valija.conf, beside init's own."""

    def __init__(self, as_user=None, settings=None, start=True, hostname="localhost"):
        self.as_user = as_user
        self.ports = Ports()
        self.tmp = pathlib.Path(tempfile.mkdtemp(prefix="valija-test-"))
        os.chmod(self.tmp, 0o755)
        self.command = BUILD / "bin/valija"
        if as_user:
            # The checkout may be below a directory that this user cannot enter.
            shutil.copytree(BUILD / "bin", self.tmp / "build/bin")
            shutil.copytree(BUILD / "libexec", self.tmp / "build/libexec")
            self.command = self.tmp / "build/bin/valija"
            account = pwd.getpwnam(as_user)
            (self.tmp / "home").mkdir()
            os.chown(self.tmp / "home", account.pw_uid, account.pw_gid)
            self.dir = self.tmp / "home/instance"
        else:
            self.dir = self.tmp / "instance"
        self.passwords = {}
        self.killed = {}
        self.env = {}
        try:
            self.valija("init", "--dir", self.dir, "--hostname", hostname, "--domain", DOMAIN,
                        "--port-base", str(self.ports.base), with_dir=False)
            # No name server answers, at once: no test asks those of this machine. All tests come from one address:
            # what many failures of it cost is for the tests of that alone.
            quiet = {"dns_servers": '{"127.0.0.1:1"}', "dnssec": '"off"'} if start else {}
            self.configure(**{"listen": '{"127.0.0.1"}', "auth_slow_failures": 0, **quiet, **(settings or {})})
            if start:
                self.start()
        except BaseException:
            self.close()
            raise

    # ---- the command -----------------------------------------------------------------------------

    def argv(self, *arguments, with_dir=True):
        """The command line of `valija`, as the instance's user."""
        argv = [str(self.command)]
        if with_dir:
            argv += ["--dir", str(self.dir)]
        argv += [str(a) for a in arguments]
        if self.as_user:
            account = pwd.getpwnam(self.as_user)
            argv = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
                    "--inh-caps=-all", "--", *argv]
        return argv

    def valija(self, *arguments, stdin="", check=True, with_dir=True, seconds=60):
        """Runs the command; returns the completed process with text output."""
        # A background start leaves daemons behind: files, not pipes, or we would wait for them.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            done = subprocess.run(self.argv(*arguments, with_dir=with_dir), input=stdin.encode(), stdout=out,
                                  stderr=err, timeout=seconds, cwd=self.tmp)
            out.seek(0)
            err.seek(0)
            result = subprocess.CompletedProcess(done.args, done.returncode, out.read().decode("utf-8", "replace"),
                                                 err.read().decode("utf-8", "replace"))
        if check and result.returncode != 0:
            raise AssertionError(f"valija {shlex.join(str(a) for a in arguments)} ended with "
                                 f"{result.returncode}\n{result.stdout}{result.stderr}{self.log_tail()}")
        return result

    @property
    def conf(self):
        return self.dir / "etc/valija.conf"

    def configure(self, **settings):
        """Sets options in valija.conf, in place of what is there of the same name."""
        lines = [line for line in self.conf.read_text().splitlines()
                 if line.split("=")[0].strip() not in settings]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        stat = self.conf.stat()
        self.conf.write_text("\n".join(lines) + "\n")
        os.chown(self.conf, stat.st_uid, stat.st_gid)

    def start(self):
        self.valija("start")
        self.read_env()

    def read_env(self):
        said = self.valija("env").stdout
        self.env = dict(part.split("=", 1) for line in said.splitlines() for part in shlex.split(line) if "=" in part)

    def stop(self):
        self.valija("stop")

    def status(self):
        """status --json: a list of dictionaries, one for each process."""
        told = json.loads(self.valija("status", "--json").stdout)
        return told["processes"] if isinstance(told, dict) else told

    def processes(self, program):
        """The living processes of one program."""
        return [p for p in self.status() if p["program"] == program and p["pid"]]

    def kill(self, process):
        """SIGKILL for one of processes(): a restart that no sanitizer is to blame for (see conftest.py)."""
        one = (process["program"], process["index"])
        self.killed[one] = self.killed.get(one, 0) + 1
        os.kill(process["pid"], signal.SIGKILL)

    def pids(self):
        """Every process of the instance: master and its descendants, from /proc."""
        master = self.master_pid()
        if not master:
            return []
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    stat = pathlib.Path("/proc", entry, "stat").read_text()
                    state, parent = stat.rpartition(")")[2].split()[:2]
                    if state != "Z":
                        parents[int(entry)] = int(parent)
        family, more = {master}, True
        while more:
            more = {pid for pid, parent in parents.items() if parent in family and pid not in family}
            family |= more
        return sorted(pid for pid in family if pid in parents)

    def master_pid(self):
        try:
            return int((self.dir / "run/master.pid").read_text())
        except (OSError, ValueError):
            return None

    def log(self):
        path = self.dir / "log/valija.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def log_tail(self, lines=40):
        return "\n".join(["", "--- log ---", *self.log().splitlines()[-lines:]])

    # ---- users and mail --------------------------------------------------------------------------

    def user_add(self, name, password=None):
        """Adds name (or name@example.org) and returns the address."""
        address = name if "@" in name else f"{name}@{DOMAIN}"
        self.passwords[address] = password or "p" + secrets.token_urlsafe(12)
        self.valija("user", "add", address, "--stdin", stdin=self.passwords[address] + "\n")
        return address

    def new_user(self, name="user"):
        return self.user_add(f"{name}-{secrets.token_hex(4)}")

    def maildir(self, address):
        local, domain = address.split("@")
        return self.dir / "mail" / domain / local / "Maildir"

    def delivered(self, address):
        """Paths of the messages in INBOX."""
        box = self.maildir(address)
        return sorted(p for part in ("new", "cur") for p in (box / part).glob("*"))

    # ---- clients ---------------------------------------------------------------------------------

    def port(self, service):
        return self.ports.base + PORTS[service]

    @property
    def host(self):
        return self.env.get("HOST", "localhost")

    @property
    def cafile(self):
        return self.env["CAFILE"]

    def tls(self):
        context = ssl.create_default_context(cafile=self.cafile)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def connect(self, service, seconds=15, source="127.0.0.1", holds=None):
        """A bare socket. Who guesses wrongly does so from an address of his own: the delay of the next guess grows.
        `holds`: bytes that its end takes at most from who does not read; set before anything comes, or the kernel throws
        away what it had room for."""
        with contextlib.ExitStack() as undo:
            sock = undo.enter_context(socket.socket())
            if holds:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, holds)
            sock.settimeout(seconds)
            sock.bind((source, 0))
            sock.connect(("127.0.0.1", self.port(service)))
            undo.pop_all()
        return sock

    def smtp(self, user=None, service="submission", seconds=20):
        """smtplib connection, with TLS and the certificate verified; logged in when user is given."""
        if service == "submissions":
            smtp = smtplib.SMTP_SSL(self.host, self.port(service), timeout=seconds, context=self.tls())
        else:
            smtp = smtplib.SMTP(self.host, self.port(service), timeout=seconds)
            if service == "submission":
                smtp.starttls(context=self.tls())
        if user:
            smtp.login(user, self.passwords[user])
        return smtp

    def imap(self, user=None, service="imaps", seconds=20):
        """imaplib connection, with TLS and the certificate verified; logged in when user is given."""
        if service == "imaps":
            imap = imaplib.IMAP4_SSL(self.host, self.port(service), ssl_context=self.tls(), timeout=seconds)
        else:
            imap = imaplib.IMAP4(self.host, self.port(service), timeout=seconds)
            imap.starttls(ssl_context=self.tls())
        if user:
            imap.login(user, self.passwords[user])
        return imap

    def receive(self, sender, recipients, message, service="smtp"):
        """Hands a message to port 25, as a stranger would."""
        with self.smtp(service=service) as smtp:
            smtp.sendmail(sender, recipients, message)

    # ---- the end ---------------------------------------------------------------------------------

    def close(self):
        """Stops everything and removes the directory. Returns what was left running, and killed."""
        family = self.pids()
        left = []
        if family:
            with contextlib.suppress(AssertionError, OSError, subprocess.SubprocessError):
                self.valija("stop", seconds=40)
        limit = time.monotonic() + 5
        while time.monotonic() < limit and any(alive(pid) for pid in family):
            time.sleep(0.02)
        for pid in family:
            if alive(pid):
                left.append(pid)
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        self.ports.release()
        if os.environ.get("VALIJA_TEST_KEEP"):
            print(f"kept: {self.tmp}")
        else:
            shutil.rmtree(self.tmp, ignore_errors=True)
        return left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def alive(pid):
    """Is this process there, and no zombie?"""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def proc_status(pid):
    """/proc/PID/status as a dictionary."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def run(argv, stdin=b"", seconds=60, check=True, **more):
    """A client program; fails with what it said."""
    done = subprocess.run([str(a) for a in argv], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=seconds, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{shlex.join(str(a) for a in argv)} ended with {done.returncode}\n"
                             f"{done.stdout.decode('utf-8', 'replace')}{done.stderr.decode('utf-8', 'replace')}")
    return done
