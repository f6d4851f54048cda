"""The ledger: what was acknowledged out of it is there after a power cut, on a disk that forgets what was not flushed, after
kill -9 of local or of everything; what its user removed stays away."""

import collections
import contextlib
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import smtplib
import subprocess
import threading
import time

import pytest

import mails
import valija
from disk import mounted
from test_kill_storm import look_at, message

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")

TROUBLE = (OSError, smtplib.SMTPException)


class Load:
    """Several connections send to several users; who sends remembers what was acknowledged."""

    def __init__(self, suite, users, connections):
        self.suite, self.users, self.acknowledged, self.over = suite, users, {}, threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(random.Random(n),)) for n in range(connections)]
        for thread in self.threads:
            thread.start()

    def run(self, chance):
        while not self.over.is_set():
            with contextlib.suppress(*TROUBLE), self.suite.smtp(service="smtp", seconds=10) as smtp:
                while not self.over.is_set():
                    word, to = secrets.token_hex(8), chance.sample(self.users, chance.choice([1, 1, 1, 2, 3]))
                    smtp.sendmail("a@client.example", to, message("a@client.example", word))
                    self.acknowledged[word] = to
            time.sleep(0.01)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()


def kill_all(suite):
    for pid in reversed(suite.pids()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    valija.wait_until(lambda: not suite.pids(), 20, "the end of all")


def arrived(suite, user):
    """How often, by word; each is whole, whether it was acknowledged or not."""
    found = collections.Counter()
    for path in suite.delivered(user):
        look_at(path.read_bytes(), found)
    return found


def check(suite, users, acknowledged, removed=()):
    found = {user: arrived(suite, user) for user in users}
    back = [(word, user) for user in users for word in found[user] if word in removed]
    assert not back, f"{len(back)}: {back[:5]}{suite.log_tail()}"
    wrong = [(word, user, found[user][word]) for word, to in acknowledged.items() for user in to if found[user][word] != 1]
    assert not wrong, f"{len(wrong)} of {len(acknowledged)}: {wrong[:5]}{suite.log_tail()}"
    assert not [path for directory in suite.dir.rglob("tmp") for path in directory.iterdir()]


def remove_all(suite, users):
    """As their users do; durably."""
    for user in users:
        for path in suite.delivered(user):
            path.unlink()
    os.sync()


def shell(*argv):
    subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.DEVNULL)


class Disk:
    """A disk with a cache that a power cut empties.

    `disk.img` is the disk. It lies in a file system whose own image, `outer.img`, changes only when the loop device
    passes a flush on, as fsync of disk.img: what was written and not flushed is in this machine's memory alone. outer.img
    lies in a third file system, which can be frozen: a copy of it made then is what the disk keeps at that instant."""

    def __init__(self, suite, features):
        self.suite, self.features, self.mounts = suite, features, []
        self.top = pathlib.Path(suite.tmp)
        self.size = 64 if features != "xfs" else 320
        self.mount_host()
        shell("fallocate", "-l", f"{self.size + 32}M", self.host / "outer.img")
        shell("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", self.host / "outer.img")
        outer = self.place("outer")
        self.mount("-o", "loop", self.host / "outer.img", outer)
        shell("dd", "if=/dev/zero", f"of={outer / 'disk.img'}", "bs=1M", f"count={self.size}", "conv=fsync", "status=none")
        # A hole would get its place on the outer file system later, and that be forgotten too.
        shell(*(["mkfs.xfs", "-q", "-K"] if features == "xfs" else ["mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", "-O", features]),
              outer / "disk.img")
        self.mount_disk(outer)
        for name, real in self.parts():
            stat = os.stat(real)
            part = self.top / "disk" / name
            part.mkdir()
            os.chown(part, stat.st_uid, stat.st_gid)
            os.chmod(part, stat.st_mode & 0o7777)
        self.bind()
        os.sync()

    def parts(self):
        return [("mail", self.suite.dir / "mail"), ("ledger", self.suite.dir / "state/ledger")]

    def place(self, name):
        (self.top / name).mkdir(exist_ok=True)
        return self.top / name

    def mount(self, *argv):
        done = subprocess.run(["mount", *[str(a) for a in argv]], stderr=subprocess.PIPE)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a file: {done.stderr.decode()}")
        self.mounts.append(argv[-1])

    def mount_host(self):
        # Another file each time: what was mounted before may live on for a while.
        (self.top / "host.img").unlink(missing_ok=True)
        with open(self.top / "host.img", "wb") as file:
            file.truncate((self.size + 64) << 20)
        shell("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", self.top / "host.img")
        self.host = self.place("host")
        self.mount("-o", "loop", self.top / "host.img", self.host)

    def mount_disk(self, outer):
        self.mount("-o", "loop,nouuid" if self.features == "xfs" else "loop", outer / "disk.img", self.place("disk"))

    def bind(self):
        for name, real in self.parts():
            self.mount("--bind", self.top / "disk" / name, real)

    def unmount(self):
        while self.mounts:
            subprocess.run(["umount", "-l", str(self.mounts.pop())], check=True)

    def cut(self):
        """What the disk keeps now, into a file: for `plug_in`."""
        shell("fsfreeze", "-f", self.host)
        try:
            shell("cp", "--sparse=always", self.host / "outer.img", self.top / "cut.img")
        finally:
            shell("fsfreeze", "-u", self.host)

    def plug_in(self):
        """In place of the disk, what was kept."""
        self.unmount()
        os.replace(self.top / "cut.img", self.top / "kept.img")
        self.mount_host()
        shell("cp", "--sparse=always", self.top / "kept.img", self.host / "outer.img")
        outer = self.place("outer")
        self.mount("-o", "loop", self.host / "outer.img", outer)
        self.mount_disk(outer)
        self.bind()


@contextlib.contextmanager
def disk_of(suite, features):
    disk = None
    try:
        disk = Disk(suite, features)
        yield disk
    finally:
        if suite.pids():
            kill_all(suite)
        if disk:
            disk.unmount()


def cut_power(features, cuts, connections, seed):
    if features == "xfs" and not shutil.which("mkfs.xfs"):
        pytest.skip("xfsprogs is not installed")
    chance, removed, again = random.Random(seed), set(), 0
    with valija.Instance(start=False, settings={"dns_servers": '{"127.0.0.1:1"}', "dnssec": '"off"', "local_processes": 3}) as suite, \
            disk_of(suite, features) as disk:
        suite.start()
        users = [suite.user_add(f"u{n}") for n in range(4)]
        for _ in range(cuts):
            load = Load(suite, users, connections)
            valija.wait_until(lambda: any(path.stat().st_size > 2 << 20 for path in (suite.dir / "state/ledger").iterdir()), 20,
                              "a ledger")
            time.sleep(chance.uniform(0.7, 2.5))
            # What is acknowledged by now is what counts; a little more may be until the disk stands still.
            promised = dict(load.acknowledged)
            disk.cut()
            load.over.set()
            kill_all(suite)
            load.stop()
            assert len(promised) > 20
            disk.plug_in()
            suite.start()
            check(suite, users, promised, removed)
            # A fast machine would fill the disk, and what is removed now may not come back.
            removed.update(promised)
            remove_all(suite, users)
        again = suite.log().count("delivered-from-ledger")
        assert suite.log().count("went_down=1") >= cuts and again > 0, suite.log_tail(150)
        suite.stop()
        # Nothing is left to be done.
        suite.start()
        assert suite.log().count("delivered-from-ledger") == again
        check(suite, users, {}, removed)


def test_a_power_cut_under_load():
    """Every acknowledged message is there, once and whole, from what the disk had flushed at that instant."""
    cut_power("has_journal", 1, 4, 1)


@pytest.mark.long
@pytest.mark.parametrize("features, connections", [("has_journal", 1), ("has_journal", 10), ("has_journal,fast_commit", 4), ("xfs", 4)])
def test_many_power_cuts_under_load(features, connections):
    if "fast_commit" in features:
        cut_power_without(features)
    else:
        cut_power(features, 12, connections, connections)


def cut_power_without(features):
    """With fast commits there is no ledger, and nothing is lost either."""
    with valija.Instance(start=False, settings={"dns_servers": '{"127.0.0.1:1"}', "dnssec": '"off"', "local_processes": 3}) as suite, \
            disk_of(suite, features) as disk:
        suite.start()
        users = [suite.user_add(f"u{n}") for n in range(4)]
        load = Load(suite, users, 4)
        time.sleep(2)
        promised = dict(load.acknowledged)
        disk.cut()
        load.over.set()
        kill_all(suite)
        load.stop()
        disk.plug_in()
        suite.start()
        check(suite, users, promised)
        suite.stop()


def test_what_is_killed_loses_nothing():
    """kill -9 of locals, and of everything: each acknowledged message is there once, and what its user removed stays away."""
    chance = random.Random(2)
    with valija.Instance(start=False, settings={"dns_servers": '{"127.0.0.1:1"}', "dnssec": '"off"', "local_processes": 3}) as suite, \
            mounted(suite.dir / "mail", 64):
        suite.start()
        users = [suite.user_add(f"u{n}") for n in range(4)]
        load, removed = Load(suite, users, 4), set()
        try:
            for n in range(3):
                time.sleep(chance.uniform(0.3, 0.8))
                for path in suite.delivered(users[0])[:5]:
                    word = re.search(rb"(?m)^Subject: (\w+)", path.read_bytes())[1].decode()
                    path.unlink()
                    removed.add(word)
                if n % 3 == 2:
                    kill_all(suite)
                    suite.start()
                else:
                    victim = chance.choice(suite.processes("local"))
                    suite.kill(victim)
        finally:
            load.stop()
        valija.wait_until(lambda: len(suite.processes("local")) == 3, 10, "all of local")
        found = {user: arrived(suite, user) for user in users}
        for word, to in load.acknowledged.items():
            for user in to:
                gone = user == users[0] and word in removed
                assert found[user][word] == (0 if gone else 1), f"{word} {user}{suite.log_tail()}"
        assert len(load.acknowledged) > 50
        assert (suite.dir / "state/ledger/0").stat().st_size > 0    # it was in use
        suite.stop()


def test_fewer_locals_leave_no_promise_behind():
    """What a local that is no longer configured had in its ledger, the first one delivers."""
    with valija.Instance(start=False, settings={"dns_servers": '{"127.0.0.1:1"}', "dnssec": '"off"', "local_processes": 4}) as suite, \
            mounted(suite.dir / "mail", 64):
        suite.start()
        ana = suite.user_add("ana")
        ledgers = suite.dir / "state/ledger"
        with suite.smtp(service="smtp") as smtp:
            for n in range(40):
                smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana, f"w{n}"))
            # The first of each made its ledger; these are in one.
            for n in range(12):
                smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana, f"kept{n}"))
            before = len(suite.delivered(ana))
            kill_all(suite)
        assert before == 52
        for path in suite.delivered(ana):
            if b"kept" in path.read_bytes():
                path.unlink()
        suite.configure(local_processes=1)
        # Another mounting, as after a power cut.
        image = pathlib.Path(f"{suite.dir / 'mail'}.image")
        shell("umount", suite.dir / "mail")
        shell("mount", "-o", "loop", image, suite.dir / "mail")
        suite.start()
        assert len(suite.delivered(ana)) == 52, suite.log_tail()
        assert [path.stat().st_size for path in sorted(ledgers.iterdir()) if path.name != "0"] == [0, 0, 0]
        assert oct((ledgers / "0").stat().st_mode & 0o7777) == "0o600"
        suite.stop()


def test_a_mail_root_that_is_not_mounted_gets_nothing():
    """What was promised waits in the ledger for the mail root where it belongs; nothing is made below the mount point."""
    with valija.Instance(start=False, settings={"dns_servers": '{"127.0.0.1:1"}', "dnssec": '"off"', "local_processes": 1}) as suite, \
            mounted(suite.dir / "mail", 64):
        suite.start()
        ana = suite.user_add("ana")
        with suite.smtp(service="smtp") as smtp:
            smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana, "first"))
            valija.wait_until(lambda: (suite.dir / "state/ledger/0").stat().st_size > 2 << 20, 5, "the ledger")
            for n in range(9):
                smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana, f"w{n}"))
            assert len(suite.delivered(ana)) == 10
            kill_all(suite)
        for path in suite.delivered(ana):
            if b"first" not in path.read_bytes():
                path.unlink()
        shell("umount", suite.dir / "mail")
        suite.start()
        assert "ledger-of-another-mail-root" in suite.log() and "delivered-from-ledger" not in suite.log()
        assert not [path for path in (suite.dir / "mail").iterdir() if path.is_dir()]
        # Mail is taken meanwhile as it is without a ledger; once more, now that there is a mailbox too.
        with suite.smtp(service="smtp") as smtp:
            smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana, "below"))
        suite.stop()
        suite.start()
        assert len(suite.delivered(ana)) == 1 and "delivered-from-ledger" not in suite.log()
        suite.stop()
        shell("mount", "-o", "loop", pathlib.Path(f"{suite.dir / 'mail'}.image"), suite.dir / "mail")
        suite.start()
        assert len(suite.delivered(ana)) == 10, suite.log_tail()
        suite.stop()


def test_an_orderly_stop_leaves_nothing_in_it():
    with valija.Instance(start=False, settings={"dns_servers": '{"127.0.0.1:1"}', "dnssec": '"off"', "local_processes": 1}) as suite, \
            mounted(suite.dir / "mail", 64):
        suite.start()
        ana = suite.user_add("ana")
        with suite.smtp(service="smtp") as smtp:
            for n in range(10):
                smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana, f"w{n}"))
                time.sleep(0.02)
        suite.stop()
        for path in suite.delivered(ana):
            path.unlink()
        image = pathlib.Path(f"{suite.dir / 'mail'}.image")
        shell("umount", suite.dir / "mail")
        shell("mount", "-o", "loop", image, suite.dir / "mail")
        suite.start()
        assert not suite.delivered(ana) and "ledger-read" not in suite.log()
        suite.stop()


def test_what_is_waited_for_with_a_ledger(tmp_path):
    """One fdatasync of the ledger comes before the name and the answer; no journal commit does. Without the option it is as it was."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    for option, expected in (("yes", ["pwrite64", "fdatasync", "linkat", "sendmsg"]),
                             ("no", ["sync_file_range", "sync_file_range", "linkat", "fsync", "sendmsg"])):
        trace = tmp_path / option
        with valija.Instance(start=False, settings={"local_processes": 1, "mail_ledger": option, "dns_servers": '{"127.0.0.1:1"}'}) as suite, \
                mounted(suite.dir / "mail"):
            suite.start()
            ana = suite.user_add("ana")
            with suite.smtp(service="smtp") as smtp:
                smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana))
            if option == "yes":
                valija.wait_until(lambda: (suite.dir / "state/ledger/0").stat().st_size > 2 << 20, 5, "the ledger")
                time.sleep(0.3)
            (local,) = suite.processes("local")
            with subprocess.Popen(["strace", "-q", "-y", "-o", trace, "-e",
                                   "trace=pwrite64,linkat,fsync,fdatasync,sync_file_range,sendmsg", "-p", str(local["pid"])]) as strace:
                valija.wait_until(lambda: int(valija.proc_status(local["pid"])["TracerPid"]), what="strace")
                with suite.smtp(service="smtp") as smtp:
                    smtp.sendmail("a@client.example", [ana], mails.plain("a@client.example", ana))
                strace.terminate()
            calls = [line.split("(")[0] for line in trace.read_text().splitlines()]
            begin = calls.index(expected[0])
            assert calls[begin:begin + len(expected)] == expected, trace.read_text()
            suite.stop()
