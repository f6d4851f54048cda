"""Kernel TLS: the whole suite in a guest under software emulation, with Debian's cloud kernel.

The guest is an initial file system of our own: busybox, Python, openssl, the built suite, and the modules tls, gcm and
what these need. guest_kernel_tls.py runs there as an ordinary user, and prints what works."""

import os
import pathlib
import re
import shutil
import subprocess
import sysconfig

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / os.environ.get("VALIJA_BUILD", "build")
KERNEL = next(iter(sorted(pathlib.Path("/boot").glob("vmlinuz-*cloud*"), reverse=True)), None)
QEMU = shutil.which("qemu-system-x86_64")
MODULES = ["kernel/crypto/gf128mul.ko", "kernel/crypto/ghash-generic.ko", "kernel/crypto/ctr.ko", "kernel/crypto/gcm.ko",
           "kernel/net/tls/tls.ko"]

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777,size=300m tmp /tmp
ip link set lo up
for m in {modules}; do insmod /modules/$m || echo "GUEST failed insmod $m"; done
chmod 755 /suite /suite/build
{before}
cd /tmp && su tester -s /bin/sh -c 'HOME=/tmp PYTHONPATH=/suite/test/e2e python3 -B /suite/test/e2e/{script}'
poweroff -f
"""


class Archive:
    """A cpio archive (newc) in memory."""

    def __init__(self):
        self.parts, self.names, self.inode = [], set(), 0

    def add(self, name, content=b"", mode=0o100755):
        name = name.strip("/")
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self.add(parent, mode=0o040755)
        if name in self.names:
            return
        self.names.add(name)
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0]
        head = b"070701" + "".join(f"{f:08x}" for f in fields).encode() + raw
        for piece in (head, content):
            self.parts.append(piece + b"\0" * (-len(piece) % 4))

    def copy(self, path, name=None):
        """A file with the libraries that it needs."""
        path = pathlib.Path(path)
        self.add(name or str(path), path.read_bytes(), 0o100755)
        said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"(/\S+) \(0x", said):
            self.add(library, pathlib.Path(library).read_bytes())

    def bytes(self):
        self.add("TRAILER!!!", mode=0)
        return b"".join(self.parts)


def standard_library(archive):
    top = pathlib.Path(sysconfig.get_paths()["stdlib"])
    skipped = {"test", "idlelib", "tkinter", "lib2to3", "__pycache__", "ensurepip", "dist-packages", "pydoc_data", "turtledemo"}
    for where, directories, files in os.walk(top):
        directories[:] = [d for d in directories if d not in skipped and not d.startswith("config-")]
        for file in files:
            path = pathlib.Path(where, file)
            if file.endswith(".so"):
                archive.copy(path)
            elif file.endswith(".py"):
                archive.add(str(path), path.read_bytes(), 0o100644)


def initial_file_system(release, script="guest_kernel_tls.py", modules=MODULES, before=""):
    """What runs `script` as an ordinary user, with the built suite; an Archive to which more can be added."""
    archive = Archive()
    archive.copy(shutil.which("busybox"), "bin/busybox")
    archive.copy(os.path.realpath("/usr/bin/python3"), "usr/bin/python3")
    archive.copy(shutil.which("openssl"), "usr/bin/openssl")
    archive.add("usr/lib/ssl/openssl.cnf", b"")
    standard_library(archive)
    for path in [BUILD / "bin/valija", *(BUILD / "libexec").iterdir()]:
        archive.copy(path, f"suite/build/{path.parent.name}/{path.name}")
    for name in ["valija.py", "mails.py", script]:
        archive.add(f"suite/test/e2e/{name}", (TOP / "test/e2e" / name).read_bytes(), 0o100644)
    for module in modules:
        archive.add(f"modules/{os.path.basename(module)}",
                    pathlib.Path(f"/lib/modules/{release}", module).read_bytes(), 0o100644)
    archive.add("etc/passwd", b"root:x:0:0::/:/bin/sh\ntester:x:1000:1000::/tmp:/bin/sh\n", 0o100644)
    archive.add("etc/group", b"root:x:0:\ntester:x:1000:\n", 0o100644)
    archive.add("etc/hosts", b"127.0.0.1 localhost\n", 0o100644)
    archive.add("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files\n", 0o100644)
    for directory in ["proc", "sys", "dev", "tmp", "run", "root"]:
        archive.add(directory, mode=0o040755)
    archive.add("init", INIT.format(modules=" ".join(map(os.path.basename, modules)), script=script, before=before).encode())
    return archive


def boot(tmp_path, archive, *more):
    """What the guest says on its console."""
    (tmp_path / "initrd").write_bytes(archive.bytes())
    done = subprocess.run([QEMU, "-accel", "tcg", "-cpu", "max", "-m", "1024", "-smp", "2", "-nographic", "-no-reboot",
                           "-nic", "none", *more, "-kernel", KERNEL, "-initrd", tmp_path / "initrd", "-append",
                           "console=ttyS0 quiet panic=-1 lsm=landlock random.trust_cpu=on"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=560)
    return done.stdout.decode(errors="replace")


@pytest.mark.long
@pytest.mark.skipif(not QEMU or os.uname().machine != "x86_64", reason="qemu-system-x86_64 is not installed")
@pytest.mark.skipif(not KERNEL, reason="no cloud kernel in /boot (linux-image-cloud-amd64)")
@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not installed")
def test_kernel_tls_in_a_guest(tmp_path):
    release = KERNEL.name.removeprefix("vmlinuz-")
    said = boot(tmp_path, initial_file_system(release))
    told = re.findall(r"^GUEST (ok|failed) (.*?)\r?$", said, re.M)
    assert "GUEST end" in said, said[-4000:]
    assert len(told) >= 10 and all(verdict == "ok" for verdict, _ in told), said[-16000:]
