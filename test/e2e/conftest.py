"""Fixtures: a running instance, as whoever runs the tests and as an ordinary user."""

import ctypes
import os
import subprocess

import pytest

import valija


SANITIZED = "asan" in os.environ.get("VALIJA_BUILD", "")


CLONE_NEWNS = 0x20000


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes long; only make check-long runs it")
    # What tests mount nobody else sees, and nothing of it outlives them, however they end.
    if os.getuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) == 0:
        subprocess.run(["mount", "--make-rslave", "/"], check=False)


def _instance(as_user, **more):
    instance = valija.Instance(as_user=as_user, **more)
    yield instance
    # With sanitizers a finding ends the process, and nothing else does but Instance.kill().
    died = [p for p in instance.status() if p["restarts"] > instance.killed.get((p["program"], p["index"]), 0)] \
        if SANITIZED and instance.master_pid() else []
    log = instance.log_tail(80) if died else ""
    left = instance.close()
    assert not left, f"still running after stop: {left}"
    assert not died, f"died: {died}{log}"


@pytest.fixture(scope="session")
def suite():
    """An instance as the user who runs the tests: root, in the usual case. Shared by all tests, so
    each uses users of its own (suite.new_user())."""
    yield from _instance(None)


@pytest.fixture(scope="session")
def suite_as_user():
    """An instance as an ordinary user."""
    yield from _instance(valija.UNPRIVILEGED if os.getuid() == 0 else None)


@pytest.fixture(params=["root", "user"] if os.getuid() == 0 else ["user"])
def either(request):
    """The test runs twice: with the instance of root and with that of an ordinary user."""
    return request.getfixturevalue("suite" if request.param == "root" else "suite_as_user")


@pytest.fixture
def own_suite():
    """A private instance, for tests that kill, stop or reconfigure."""
    yield from _instance(None)
