"""Runs inside a guest with a TPM (test_tpm.py): the suite's key is in it, and signs by URL."""

import pathlib
import socket
import ssl
import sys
import traceback

import valija

try:
    with valija.Instance(start=False) as suite:
        url = suite.tmp / "tpm.url"
        url.write_text("pkcs11:token=mail;object=server;type=private?pin-value=4321\n")
        url.chmod(0o400)
        suite.configure(tls_certificate='"/tpm/server.crt"', tls_key=f'"{url}"',
                        tls_token_paths='{"/etc/tpm2_pkcs11", "/dev/tpmrm0"}')
        print("GUEST check", suite.valija("check", check=False), flush=True)
        try:
            suite.start()
        except AssertionError:
            print("\n".join(row for row in suite.log().splitlines() if "tls-key" in row), flush=True)
            raise
        context = ssl.create_default_context(cafile="/tpm/ca.crt")
        for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3]:
            context.minimum_version = context.maximum_version = version
            raw = socket.create_connection(("127.0.0.1", suite.port("imaps")), 60)
            with context.wrap_socket(raw, server_hostname="localhost") as inside:
                assert inside.recv(500).startswith(b"* OK")
                print(f"GUEST ok a handshake, {inside.version()}", flush=True)
        assert "keys-in-tokens" in suite.log()
        keeper = suite.processes("tls-key")[0]
        assert keeper["seccomp"] == 2 and keeper["landlock"] > 0 and keeper["restarts"] == 0, keeper
        print("GUEST ok confined", flush=True)
        # No file has the key: what the store holds opens in this TPM alone.
        assert not [p for p in pathlib.Path("/etc/tpm2_pkcs11").iterdir() if b"PRIVATE KEY" in p.read_bytes()]
        suite.valija("reload")
        print("GUEST ok reload", flush=True)
except BaseException:
    traceback.print_exc(file=sys.stdout)
    print("GUEST failed", flush=True)
    try:
        print(suite.log()[-3000:], flush=True)
    except BaseException:
        pass
print("GUEST end", flush=True)
