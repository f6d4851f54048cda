"""A private key that stays in a PKCS#11 token (SoftHSM), which lies in a mount namespace of the test's own."""

import os
import pathlib
import pwd
import re
import shutil
import subprocess

import pytest

import valija
from test_tls import ask, tls

MODULE = next((p for p in [*pathlib.Path("/usr/lib").glob("**/softhsm/libsofthsm2.so"),
                           *pathlib.Path("/usr/lib64").glob("**/libsofthsm2.so")]), None)


class WithTokens(valija.Instance):
    """Every command of the instance sees the test's tokens where the system's would be."""
    where = None

    def argv(self, *arguments, **more):
        argv = super().argv(*arguments, **more)
        if self.where is None:
            return argv
        mount = (f"mount --bind {self.where}/etc /etc/softhsm && mount --bind {self.where}/lib /var/lib/softhsm"
                 ' && exec "$@"')
        return ["unshare", "--mount", "sh", "-c", mount, "sh", *argv]


@pytest.mark.skipif(os.getuid() != 0, reason="mounts need root")
@pytest.mark.skipif(not MODULE or not shutil.which("softhsm2-util") or not shutil.which("unshare"),
                    reason="SoftHSM is not installed")
@pytest.mark.parametrize("kind", ["ec", pytest.param("rsa", marks=pytest.mark.long)])
def test_a_key_in_a_token_signs(kind):
    with WithTokens(start=False) as suite:
        where = suite.tmp / "softhsm"
        (where / "etc").mkdir(parents=True)
        (where / "lib/tokens").mkdir(parents=True)
        (where / "etc/softhsm2.conf").write_text("directories.tokendir = /var/lib/softhsm/tokens\nlog.level = ERROR\n")
        suite.tmp.chmod(0o755)
        suite.where = where
        key, crt, url = suite.tmp / "plain.key", suite.tmp / "token.crt", suite.tmp / "token.url"
        new = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["rsa:2048"]
        valija.run(["openssl", "req", "-x509", "-newkey", *new, "-nodes", "-keyout", key, "-out", crt, "-subj",
                    "/CN=localhost", "-days", "9", "-addext", "keyUsage=digitalSignature", "-addext",
                    "subjectAltName=DNS:localhost"])
        mounted = suite.argv()[:4]
        for command in [["softhsm2-util", "--init-token", "--free", "--label", "mail", "--so-pin", "9876", "--pin", "quail57heron"],
                        ["softhsm2-util", "--import", str(key), "--token", "mail", "--label", "server", "--id", "01",
                         "--pin", "quail57heron"]]:
            subprocess.run([*mounted, suite.argv()[4], "sh", *command], check=True, capture_output=True)
        scalar = key.read_text()
        key.unlink()
        owner = pwd.getpwnam("_tlskey")
        for path in [where / "lib", *(where / "lib").rglob("*")]:
            os.chown(path, owner.pw_uid, owner.pw_gid)
        url.write_text("pkcs11:token=mail;object=server;type=private?pin-value=quail57heron\n")
        url.chmod(0o400)
        suite.configure(tls_certificate=f'"{crt}"', tls_key=f'"{url}"', tls_token_paths='{"/etc/softhsm", "/var/lib/softhsm"}')
        suite.valija("check")
        suite.start()
        for _ in range(5):
            sock = tls(suite, "imaps", context(crt))
            assert ask(sock, b"NOOP").startswith(b"t OK")
            sock.close()
        assert "keys-in-tokens" in suite.log()
        # The process is confined all the same, but for the token's directories.
        process = suite.processes("tls-key")[0]
        assert process["seccomp"] == 2 and process["landlock"] > 0 and process["capabilities"] == []
        assert process["uid"] == owner.pw_uid and not process["chroot"]
        # A reload reads it again, by the module that is there.
        suite.valija("reload")
        tls(suite, "imaps", context(crt)).close()
        assert "quail57heron" not in suite.log() and scalar.splitlines()[1] not in suite.log()
        # A wrong PIN is refused with a reason; the running key stays.
        url.chmod(0o600)
        url.write_text("pkcs11:token=mail;object=other;type=private?pin-value=quail57heron\n")
        done = suite.valija("reload", check=False)
        assert done.returncode and re.search("key in the token cannot be used", done.stdout + done.stderr + suite.log())
        tls(suite, "imaps", context(crt)).close()


def context(crt):
    import ssl
    made = ssl.create_default_context(cafile=str(crt))
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def test_a_token_needs_a_restart(own_suite):
    """tls-key, once confined without modules, loads none."""
    suite = own_suite
    url = suite.tmp / "token.url"
    url.write_text("pkcs11:token=mail;object=server;type=private\n")
    url.chmod(0o400)
    suite.configure(tls_certificate=f'"{suite.dir}/state/tls/server.crt"', tls_key=f'"{url}"')
    done = suite.valija("reload", check=False)
    assert done.returncode and "come into service by a restart" in done.stdout + done.stderr + suite.log()
    tls(suite, "imaps").close()
