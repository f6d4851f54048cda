"""Secrets are wiped after use, and are never in logs, arguments, environments, cores or swapped memory."""

import base64
import contextlib
import os
import pathlib
import re
import secrets

import pytest

import valija

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root to read the memory of other processes")


def memory_with(pid, needles):
    """Which of the needles lie in the writable memory of a process."""
    found = set()
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights = line.split()[:2]
            if not rights.startswith("rw") or "[vvar" in line or "[vsyscall" in line:
                continue
            start, end = (int(x, 16) for x in area.split("-"))
            with contextlib.suppress(OSError, ValueError, OverflowError):
                memory.seek(start)
                content = memory.read(end - start)
                found |= {n for n in needles if n in content}
    return found


def test_passwords_are_nowhere_afterwards():
    """Right and wrong passwords, of every mechanism and both protocols, and in the forms in which they came."""
    instance = valija.Instance(settings={"auth_delay_seconds": 0, "imap_linger_seconds": 0})
    try:
        user = instance.user_add("owner", "right-" + secrets.token_hex(12))
        right, wrong = instance.passwords[f"owner@{valija.DOMAIN}"], "wrong-" + secrets.token_hex(12)
        for password in (right, wrong):
            for mechanism in ("LOGIN", "PLAIN"):
                imap = instance.imap()
                with contextlib.suppress(imap.error):
                    if mechanism == "LOGIN":
                        imap.login(user, password)
                    else:
                        imap.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
                imap.shutdown()
            with instance.smtp() as smtp, contextlib.suppress(Exception):
                smtp.login(user, password)
        # The buffers that they passed through serve others.
        for _ in range(30):
            other = instance.imap()
            with contextlib.suppress(other.error):
                other.login("nobody", "x")
            other.shutdown()
        needles = {p: [p.encode()] + [base64.b64encode(b"\0" * n + p.encode())[4:-8] for n in range(3)] for p in (right, wrong)}
        known = {n: p for p, forms in needles.items() for n in forms}
        assert memory_with(os.getpid(), known)  # the search finds what is there: we know them
        left = {}
        for pid in instance.pids():
            name = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().rsplit("/")[-1]
            for found in memory_with(pid, known):
                left.setdefault(name, []).append(found)
            for file in ("cmdline", "environ"):
                said = pathlib.Path(f"/proc/{pid}/{file}").read_bytes()
                assert not any(n in said for n in known), (name, file)
        assert not left, left
        assert not any(n.decode() in instance.log() for n in known)
        files = [p for p in instance.dir.rglob("*") if p.is_file()]
        assert not [p for p in files if any(n in p.read_bytes() for n in known)]
    finally:
        assert not instance.close()


def test_who_hears_passwords_leaves_no_core_and_is_locked(suite):
    """auth, auth-hash, tls: memory locked, not dumpable; no core of any daemon."""
    suite.imap(suite.new_user("core")).shutdown()
    for process in suite.status():
        if not process["pid"]:
            continue
        limits = pathlib.Path(f"/proc/{process['pid']}/limits").read_text()
        core = re.search(r"Max core file size\s+(\S+)\s+(\S+)", limits)
        if process["program"] not in ("master",):
            assert core.groups() == ("0", "0"), process
        if process["program"] in ("auth", "auth-hash", "tls", "tls-key"):
            kernel = valija.proc_status(process["pid"])
            assert int(kernel["VmLck"].split()[0]) > 0, process
            # What may not be dumped belongs to root, whoever runs it.
            assert os.stat(f"/proc/{process['pid']}/environ").st_uid == 0, process
