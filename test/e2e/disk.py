"""Small file systems for tests: ext4 or xfs in a file, mounted where nobody but the tests sees it (conftest.py); and how to fill one."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import threading

import pytest


@contextlib.contextmanager
def mounted(directory, mebibytes=24, features="has_journal"):
    """A small file system in place of an existing directory, with its owner and mode: ext4 with these features, or "xfs"."""
    image = pathlib.Path(f"{directory}.image")
    stat = os.stat(directory)
    if features == "xfs" and not shutil.which("mkfs.xfs"):
        pytest.skip("xfsprogs is not installed")
    with open(image, "wb") as file:
        file.truncate(max(mebibytes, 320 if features == "xfs" else 0) << 20)
    subprocess.run(["mkfs.xfs", "-q", str(image)] if features == "xfs" else
                   ["mkfs.ext4", "-q", "-m", "0", "-O", features, str(image)], check=True)
    done = subprocess.run(["mount", "-o", "loop", str(image), str(directory)], stderr=subprocess.PIPE)
    if done.returncode != 0:
        pytest.skip(f"cannot mount a file: {done.stderr.decode()}")
    try:
        if features != "xfs":
            os.rmdir(pathlib.Path(directory) / "lost+found")
        os.chown(directory, stat.st_uid, stat.st_gid)
        os.chmod(directory, stat.st_mode & 0o7777)
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


class Ballast:
    """Takes all the room of a file system, and what others give back meanwhile, until it is let go of."""

    def __init__(self, directory):
        self.path, self.over = pathlib.Path(directory) / "ballast", threading.Event()
        self.file = open(self.path, "wb", buffering=0)
        self.take()
        self.thread = threading.Thread(target=self.keep, daemon=True)
        self.thread.start()

    def take(self):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    self.file.write(b"\0" * size)
        with contextlib.suppress(OSError):
            os.fsync(self.file.fileno())

    def keep(self):
        while not self.over.wait(0.02):
            self.take()

    def close(self):
        self.over.set()
        self.thread.join()
        self.file.close()
        self.path.unlink()
