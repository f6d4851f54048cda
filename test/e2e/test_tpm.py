"""A private key in a TPM, by URL: swtpm is the TPM, which a guest under software emulation has as /dev/tpmrm0.

tls-key makes no sockets, so an emulated TPM must be a device for it; the kernel of this machine has none, Debian's
cloud kernel has the driver built in. The key is made here, before the guest starts, in the same TPM."""

import contextlib
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

import valija
from test_acme import free_port
from test_kernel_tls import KERNEL, QEMU, boot, initial_file_system
from test_tls import openssl

MODULE = pathlib.Path("/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so")
TCTI = pathlib.Path("/usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0")
CONFIGURED = pathlib.Path("/usr/share/p11-kit/modules/tpm2_pkcs11.module")


@contextlib.contextmanager
def tpm(state, *how):
    server = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", *how], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    yield
    server.terminate()
    server.wait()


def two_free_ports():
    """The first of two: the second is the TPM's control, and must be the next."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port + 1))
            return port


def make_key(where):
    """A token `mail` with a key `server` in a new TPM; its public half in `where`/server.pub."""
    for name in ["state", "store", "tools"]:
        (where / name).mkdir()
    # No resource manager is between: each tool's objects leave the TPM after it.
    for tool in pathlib.Path("/usr/bin").glob("tpm2_*"):
        if tool.name not in ("tpm2_ptool", "tpm2_flushcontext"):
            shim = where / "tools" / tool.name
            shim.write_text(f'#!/bin/sh\n{tool} "$@"\nr=$?\n/usr/bin/tpm2_flushcontext -t >/dev/null 2>&1\nexit $r\n')
            shim.chmod(0o755)
    port = two_free_ports()
    tcti = f"swtpm:host=127.0.0.1,port={port}"
    env = {"PATH": f"{where}/tools:/usr/bin:/bin", "TPM2_PKCS11_STORE": str(where / "store"), "TPM2TOOLS_TCTI": tcti,
           "TPM2_PKCS11_TCTI": tcti, "GNUTLS_PIN": "4321", "TSS2_LOG": "all+NONE"}
    with tpm(where / "state", "--server", f"type=tcp,port={port},bindaddr=127.0.0.1", "--ctrl",
             f"type=tcp,port={port + 1},bindaddr=127.0.0.1", "--flags", "not-need-init,startup-clear"):
        valija.wait_until(lambda: subprocess.run(["tpm2_getcap", "handles-persistent"], env=env,
                                                 capture_output=True).returncode == 0, 20, "the TPM", pause=0.2)
        for words in [["init"], ["addtoken", "--pid=1", "--label=mail", "--sopin=so1234", "--userpin=4321"],
                      ["addkey", "--label=mail", "--userpin=4321", "--key-label=server", "--algorithm=ecc256"]]:
            valija.run(["tpm2_ptool", *words], env=env)
        valija.run(["p11tool", "--provider", MODULE, "--login", "--export-pubkey", "--outfile", where / "server.pub",
                    "pkcs11:token=mail;object=server;type=public"], env=env)


def make_certificates(where):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", where / "ca.key",
            "-out", where / "ca.crt", "-subj", "/CN=authority", "-days", "9")
    (where / "ext").write_text("subjectAltName=DNS:localhost\nkeyUsage=digitalSignature\n")
    made = openssl("x509", "-new", "-force_pubkey", where / "server.pub", "-subj", "/CN=localhost", "-CA", where / "ca.crt",
                   "-CAkey", where / "ca.key", "-days", "9", "-extfile", where / "ext")
    (where / "server.crt").write_bytes(made + (where / "ca.crt").read_bytes())


@pytest.mark.long
@pytest.mark.skipif(not QEMU or not KERNEL or not shutil.which("busybox"), reason="qemu, a cloud kernel or busybox is missing")
@pytest.mark.skipif(not shutil.which("swtpm") or not shutil.which("tpm2_ptool") or not shutil.which("p11tool")
                    or not MODULE.exists() or not TCTI.exists(), reason="swtpm or tpm2-pkcs11 is not installed")
def test_a_key_in_a_tpm_signs(tmp_path):
    make_key(tmp_path)
    make_certificates(tmp_path)
    archive = initial_file_system(KERNEL.name.removeprefix("vmlinuz-"), "guest_tpm.py", [],
                                  "chmod 666 /dev/tpmrm0; chown -R tester /etc/tpm2_pkcs11")
    archive.copy(MODULE)
    archive.copy(TCTI)
    archive.add(str(CONFIGURED), f"module: {MODULE}\n".encode(), 0o100644)
    for path in (tmp_path / "store").iterdir():
        archive.add(f"etc/tpm2_pkcs11/{path.name}", path.read_bytes(), 0o100600)
    for name in ["server.crt", "ca.crt"]:
        archive.add(f"tpm/{name}", (tmp_path / name).read_bytes(), 0o100644)
    with tpm(tmp_path / "state", "--ctrl", f"type=unixio,path={tmp_path}/tpm.sock"):
        valija.wait_until((tmp_path / "tpm.sock").exists, 10, "the TPM's socket")
        said = boot(tmp_path, archive, "-chardev", f"socket,id=c,path={tmp_path}/tpm.sock", "-tpmdev",
                    "emulator,id=t,chardev=c", "-device", "tpm-tis,tpmdev=t")
    told = re.findall(r"^GUEST ok (.*?)\r?$", said, re.M)
    assert "GUEST end" in said and "GUEST failed" not in said, said[-9000:]
    assert len(told) == 5, said[-9000:]
