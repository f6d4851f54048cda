"""valija cert: showing, checking, installing, rolling back, authorities, and certificates of people."""

import json
import os
import pathlib
import re
import shutil
import ssl
import subprocess
import time

import pytest

import valija
from test_tls import ask, make_certificate, openssl, put, tls

HOOK = pathlib.Path(__file__).resolve().parents[2] / "contrib/acme/valija-deploy-hook"


@pytest.fixture(scope="module")
def certs():
    with valija.Instance() as suite:
        yield suite


def shown(suite):
    with tls(suite, "imaps") as sock:
        return sock.getpeercert()


def fingerprint(suite):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(suite.connect("imaps")) as sock:
        return sock.getpeercert(True)


def der(pem):
    return openssl("x509", "-outform", "der", stdin=pem if isinstance(pem, bytes) else pem.encode())


def test_show_and_check(certs):
    said = certs.valija("cert", "show").stdout
    assert "server.crt" in said and "ECDSA P-256" in said and "localhost" in said and "problem" not in said
    told = json.loads(certs.valija("cert", "show", "--json").stdout)
    assert len(told) == 1 and told[0]["days_left"] > 800 and told[0]["problem"] == ""
    assert certs.valija("cert", "check").stdout.startswith("OK: ")
    done = certs.valija("cert", "check", "--days", "5000", check=False)
    assert done.returncode == 1 and "it ends soon" in done.stdout
    crt = certs.dir / "state/tls/server.crt"
    good = crt.read_bytes()
    crt.write_bytes(b"broken")
    done = certs.valija("cert", "check", check=False)
    assert done.returncode == 2 and done.stdout.startswith("CRITICAL: ") and "no readable PEM" in done.stdout
    assert "problem" in certs.valija("cert", "show").stdout
    crt.write_bytes(good)
    assert certs.valija("cert", "check", "--days", "x", check=False).returncode == 3


def test_install_checks_first_and_rolls_back(certs, tmp_path):
    where = certs.dir / "state/tls"
    before, key_before = (where / "server.crt").read_bytes(), (where / "server.key").read_bytes()
    key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    (tmp_path / "key").write_bytes(key)
    rows = [(make_certificate(certs, key=tmp_path / "key"), None,
             "neither to the key in service (server.key), nor is there a next one (next.key): name its key too"),
            (make_certificate(certs), key, "does not belong to the certificate"),
            (make_certificate(certs, key=tmp_path / "key", name="else.example"), key, "is not for localhost"),
            (make_certificate(certs, key=tmp_path / "key", begin="20200101000000Z", end="20210101000000Z"), key, "has expired"),
            (b"nonsense", None, "no readable PEM")]
    for crt, its_key, reason in rows:
        (tmp_path / "crt").write_bytes(crt)
        done = certs.valija("cert", "install", tmp_path / "crt", *([tmp_path / "key"] if its_key else []), check=False)
        assert done.returncode == 65 and reason in done.stderr, done
        assert (where / "server.crt").read_bytes() == before and (where / "server.key").read_bytes() == key_before
        assert not list(where.glob("*.new"))
    good = make_certificate(certs, key=tmp_path / "key", serial="0x5151")
    (tmp_path / "crt").write_bytes(good)
    certs.valija("cert", "install", tmp_path / "crt", tmp_path / "key")
    assert (where / "server.key").stat().st_mode & 0o777 == 0o400
    certs.valija("reload")  # or some seconds later by itself: test_tls
    assert fingerprint(certs) == der(good)
    certs.valija("cert", "rollback")
    assert (where / "server.crt").read_bytes() == before and (where / "server.key").read_bytes() == key_before
    # A crash between the two renames: the key is new, its certificate still waits.
    (where / "server.crt.new").write_bytes(good)
    (where / "server.key.new").write_bytes(key)
    (where / "server.key.new").chmod(0o400)
    os.rename(where / "server.key.new", where / "server.key")
    certs.valija("cert", "install", tmp_path / "crt", tmp_path / "key")
    assert (where / "server.crt").read_bytes() == good
    certs.valija("check")


def test_an_install_that_is_stopped_at_every_step(tmp_path):
    """Killed before each call that changes a file: the next start serves the old pair or the new one, whole, and clears up."""
    kinds = "renameat,renameat2,linkat,unlinkat,fsync,fdatasync,fchmod"
    with valija.Instance() as suite:
        where = suite.dir / "state/tls"
        key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        (tmp_path / "key").write_bytes(key)
        new = make_certificate(suite, key=tmp_path / "key", serial="0x7171")
        (tmp_path / "crt").write_bytes(new)
        old = (where / "server.crt").read_bytes()
        suite.stop()
        shutil.copytree(where, tmp_path / "kept")
        seen, step = [], 0
        while not seen or seen[-1] != "done":
            step += 1
            for path in where.glob("server.*"):
                path.unlink()
            for path in (tmp_path / "kept").glob("server.*"):
                shutil.copy2(path, where / path.name)
                os.chown(where / path.name, path.stat().st_uid, path.stat().st_gid)
            done = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={kinds}:signal=KILL:when={step}",
                                   *suite.argv("cert", "install", tmp_path / "crt", tmp_path / "key")],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, cwd=suite.tmp)
            suite.start()
            served = fingerprint(suite)
            suite.stop()
            assert served in (der(old), der(new)), step
            assert not list(where.glob("*.new")), step
            if done.returncode == 0:
                assert served == der(new)
                seen.append("done")
            else:
                seen.append("new" if served == der(new) else "old")
        # Both ends were met, and never the old one again after the new.
        assert len(seen) > 5 and {"old", "new", "done"} == set(seen) and seen == sorted(seen, key=["old", "new", "done"].index), seen


def test_a_request_for_the_next_key(certs, tmp_path):
    """csr --next, a TLSA record ahead of it, an authority that signs, install without naming the key."""
    where = certs.dir / "state/tls"
    request = certs.valija("cert", "csr", "--next", "localhost", "mail.example.org").stdout
    said = openssl("req", "-noout", "-text", "-verify", stdin=request.encode()).decode()
    assert "DNS:localhost, DNS:mail.example.org" in said
    assert (where / "next.key").stat().st_mode & 0o777 == 0o400
    records = certs.valija("cert", "tlsa").stdout.splitlines()
    assert len(records) == 2 and all(r.startswith("_25._tcp.localhost. IN TLSA 3 1 1 ") for r in records)
    spki = openssl("pkey", "-pubout", "-outform", "der", "-in", where / "next.key")
    digest = openssl("dgst", "-sha256", "-r", stdin=spki).decode().split()[0]
    assert digest in records[1] and digest not in records[0]
    crt = make_certificate(certs, key=where / "next.key", serial="0x6161")
    (tmp_path / "crt").write_bytes(crt)
    certs.valija("cert", "install", tmp_path / "crt")
    assert not (where / "next.key").exists()
    assert [r.split(" ; ")[0] for r in certs.valija("cert", "tlsa").stdout.splitlines()] == [records[1].split(" ; ")[0]]
    certs.valija("reload")  # or some seconds later by itself: test_tls
    assert fingerprint(certs) == der(crt)


def test_self_signed_and_renewed(certs):
    certs.valija("cert", "self-signed", "localhost", "*.example.org")
    told = json.loads(certs.valija("cert", "show", "--json").stdout)[0]
    assert told["names"] == "localhost, *.example.org" and told["subject"] == told["issuer"]
    # What is not of our authority, its issuer renews.
    assert certs.valija("cert", "renew", check=False).returncode != 0
    certs.valija("cert", "rollback")
    before = (certs.dir / "state/tls/server.crt").read_bytes()
    (certs.tmp / "crt").write_bytes(make_certificate(certs, days=100))
    certs.valija("cert", "install", certs.tmp / "crt")
    long = (certs.dir / "state/tls/server.crt").read_bytes()
    certs.valija("cert", "renew", "--if-due")
    assert (certs.dir / "state/tls/server.crt").read_bytes() == long != before
    assert "is there already, and stays" in certs.valija("cert", "ca", "init").stdout
    certs.valija("cert", "renew")
    assert json.loads(certs.valija("cert", "show", "--json").stdout)[0]["days_left"] > 800
    certs.valija("check")


def test_certificates_of_people(certs, tmp_path):
    """A PKCS#12 file that openssl reads, a login with it, and its revocation."""
    user = certs.new_user("person")
    where = certs.dir / "state/tls"
    said = certs.valija("cert", "client", user, "--out", tmp_path / "person.p12").stdout
    password = re.search("password of the file: (.*)", said)[1]
    assert (tmp_path / "person.p12").stat().st_mode & 0o777 == 0o600
    pem = openssl("pkcs12", "-in", tmp_path / "person.p12", "-passin", f"pass:{password}", "-nodes")
    (tmp_path / "person.pem").write_bytes(pem)
    assert b"PRIVATE KEY" in pem and pem.count(b"BEGIN CERTIFICATE") == 2
    certs.valija("cert", "ca", "crl")
    certs.configure(tls_client_ca=f'"{where}/ca.crt"', tls_client_crl=f'"{where}/ca.crl"')
    certs.valija("reload")

    def log_in():
        context = certs.tls()
        context.load_cert_chain(tmp_path / "person.pem")
        with context.wrap_socket(certs.connect("imaps"), server_hostname="localhost") as sock:
            sock.recv(500)
            assert ask(sock, b"NOOP").startswith(b"t OK")
        lines = [row for row in certs.log().splitlines() if "client-certificate" in row]
        return lines[-1]

    assert "valid=yes" in log_in() and user in log_in()
    # A client that takes the file as it is logs in with it, without a password.
    curl = ["curl", "--silent", "--show-error", "--cacert", where / "ca.crt", "--login-options", "AUTH=EXTERNAL",
            "--user", f"{user}:"]
    url = f"imaps://localhost:{certs.port('imaps')}/"
    packed = ["--cert-type", "P12", "--cert", f"{tmp_path}/person.p12:{password}"]
    assert "INBOX" in valija.run([*curl, *packed, url]).stdout.decode()
    curl += ["--cert", tmp_path / "person.pem"]
    letter = tmp_path / "letter"
    letter.write_bytes(f"From: <{user}>\r\nTo: <{user}>\r\nSubject: no password\r\n\r\nx\r\n".encode())
    valija.run([*curl, "--mail-from", user, "--mail-rcpt", user, "--upload-file", letter,
                f"smtps://localhost:{certs.port('submissions')}/"])
    valija.wait_until(lambda: certs.delivered(user), 10, "the letter")
    assert user in certs.valija("cert", "ca", "list").stdout
    certs.valija("cert", "ca", "revoke", user)
    certs.valija("reload")
    assert "it is revoked" in log_in()
    assert valija.run([*curl, url], check=False).returncode == 67   # denied
    assert "revoked" in certs.valija("cert", "ca", "list").stdout
    assert certs.valija("cert", "ca", "revoke", user, check=False).returncode != 0
    # Another file of the same name is never written over.
    assert certs.valija("cert", "client", user, "--out", tmp_path / "person.p12", check=False).returncode == 73


def test_the_authority_issues_for_another_server(certs, tmp_path):
    done = subprocess.run(certs.argv("cert", "ca", "issue", "other.example.org", "www.example.org"), cwd=tmp_path,
                          capture_output=True, text=True, check=True)
    assert "other.example.org.crt" in done.stdout
    where = certs.dir / "state/tls"
    said = openssl("verify", "-CAfile", where / "ca.crt", "-verify_hostname", "www.example.org",
                   tmp_path / "other.example.org.crt").decode()
    assert said.strip().endswith("OK")
    assert (tmp_path / "other.example.org.key").stat().st_mode & 0o777 == 0o400
    issued = certs.valija("cert", "ca", "list").stdout
    rows = [(["issue"], 64, "cert ca issue wants the names of the server"), (["issue", "not a name"], 65, "is not a host name"),
            (["issue", "../x"], 65, "is not a host name"), (["revoke"], 64, "cert ca revoke wants one serial number"),
            (["revoke", "a", "b"], 64, "cert ca revoke wants one"), (["revoke", "nobody"], 65, "no certificate nobody"),
            (["init", "x"], 64, "wants nothing more"), (["list", "x"], 64, "wants nothing more"),
            (["crl", "x"], 64, "wants nothing more"), (["nonsense"], 64, "there is no cert ca nonsense"),
            (["issue", "other.example.org"], 73, "other.example.org.crt is there already")]
    for words, status, said in rows:
        done = subprocess.run(certs.argv("cert", "ca", *words), cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status and said in done.stderr, done
    # What came to nothing is not in the list either.
    assert certs.valija("cert", "ca", "list").stdout == issued and issued.count("other.example.org") == 1


def test_what_is_issued_at_once_is_all_noted(own_suite, tmp_path):
    """Two commands, or one and the renewal of the list, never undo what the other did: what is not noted cannot be revoked."""
    made = [subprocess.Popen(own_suite.argv("cert", "ca", "issue", f"s{n}.example.org"), cwd=tmp_path, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True) for n in range(12)]
    said = [process.communicate(timeout=60)[0] for process in made]
    assert [process.returncode for process in made] == [0] * 12, said
    assert own_suite.valija("cert", "ca", "list").stdout.count(".example.org") == 12
    lists = [subprocess.Popen(own_suite.argv("cert", "ca", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
             for n in range(6) for words in (["revoke", f"s{n}.example.org"], ["crl"])]
    said = [process.communicate(timeout=60)[0] for process in lists]
    assert [process.returncode for process in lists] == [0] * 12, said
    text = openssl("crl", "-in", own_suite.dir / "state/tls/ca.crl", "-noout", "-text").decode()
    assert text.count("Serial Number:") == 6, text


def list_of_a_day(suite, where):
    """ca.crl that ends tomorrow."""
    (where / "index").touch()
    (where / "conf").write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={where}/index\ndefault_md=sha256\n")
    tls_directory = suite.dir / "state/tls"
    openssl("ca", "-gencrl", "-config", where / "conf", "-crldays", "1", "-cert", tls_directory / "ca.crt", "-keyfile",
            tls_directory / "ca.key", "-out", tls_directory / "ca.crl")


def test_the_revocation_list_in_use_renews_itself(own_suite, tmp_path):
    """It is good for a month, and lets nobody in afterwards: the suite makes it anew, monitoring sees it."""
    suite, where = own_suite, own_suite.dir / "state/tls"
    list_of_a_day(suite, tmp_path)
    suite.configure(tls_client_ca=f'"{where}/ca.crt"', tls_client_crl=f'"{where}/ca.crl"')
    done = suite.valija("cert", "check", check=False)
    assert done.returncode == 1 and re.search("^WARNING: .*ca.crl: [01] days left; it ends soon", done.stdout, re.M), done
    suite.valija("reload")
    valija.wait_until(lambda: re.search("certificate-renewed .*ca.crl, good for 30 days", suite.log()), 15, "the renewal")
    assert re.search("^OK: .*ca.crl: (29|30) days left$", suite.valija("cert", "check").stdout, re.M)
    assert suite.valija("cert", "renew", "--if-due").stdout == ""
    # The same by hand, and what is said when the root is offline.
    list_of_a_day(suite, tmp_path)
    os.rename(where / "ca.key", tmp_path / "ca.key")
    done = suite.valija("cert", "renew", "--if-due", check=False)
    assert done.returncode == 69 and re.search("ca.crl ends soon, and is not renewed: .*ca.key", done.stderr), done
    os.rename(tmp_path / "ca.key", where / "ca.key")
    assert "ca.crl, good for 30 days" in suite.valija("cert", "renew", "--if-due").stdout
    # Whoever names files of his own asks for certificates by his own means, too.
    suite.configure(tls_certificate=f'"{where}/ca.crt"', tls_key=f'"{where}/ca.key"')
    assert suite.valija("cert", "csr", check=False).returncode == 78


@pytest.mark.parametrize("client", ["certbot", "uacme"])
def test_acme_deploy_hook(certs, tmp_path, client):
    """As certbot and uacme call it."""
    key = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    (tmp_path / "privkey.pem").write_bytes(key)
    crt = make_certificate(certs, key=tmp_path / "privkey.pem", serial="0x7171" if client == "uacme" else "0x7272")
    (tmp_path / "fullchain.pem").write_bytes(crt)
    env = {"PATH": f"{certs.command.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "VALIJA_DIR": str(certs.dir)}
    argv = [HOOK]
    if client == "certbot":
        env["RENEWED_LINEAGE"] = str(tmp_path)
    else:
        argv += [tmp_path / "fullchain.pem", tmp_path / "privkey.pem"]
    subprocess.run(argv, env=env, check=True, capture_output=True)
    certs.valija("reload")  # or some seconds later by itself: test_tls
    assert fingerprint(certs) == der(crt)


def in_days(days):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400))


def subjects(suite, user):
    found = []
    for path in suite.delivered(user):
        text = path.read_text()
        assert "Auto-Submitted: auto-generated" in text and "server.crt" in text and "valija cert" in text
        found.append(re.search(r"^Subject: (.*)$", text, re.M)[1])
    return sorted(found)


def test_postmaster_is_told_of_ends_and_renewals_once():
    """In the log, in status, and by mail; not again after a restart, but at the next step."""
    with valija.Instance(start=False) as suite:
        crt = suite.dir / "state/tls/server.crt"
        ca = suite.dir / "state/tls/ca.key"
        os.rename(ca, suite.tmp / "offline")
        postmaster = suite.user_add("postmaster")

        def put_one(days):
            os.rename(suite.tmp / "offline", ca)
            made = make_certificate(suite, begin=in_days(-300), end=in_days(days))
            os.rename(ca, suite.tmp / "offline")
            put(crt, made, crt)

        put_one(20.5)
        suite.start()
        mails = ["The certificate of localhost ends in 20 days"]
        valija.wait_until(lambda: subjects(suite, postmaster) == mails, 15, "the first mail")
        assert re.search(r"certificate-ends .*name=localhost.* days=20", suite.log())
        told = json.loads(suite.valija("status", "--json").stdout)
        assert [(c["name"], c["days_left"], c["ends_soon"]) for c in told["certificates"]] == [("localhost", 20, True)]
        assert told["certificate_days"] == 20
        assert re.search(r"^localhost +\S+ \S+ +20  WARNING", suite.valija("status").stdout, re.M)
        # The same again after a restart, and nothing is said.
        suite.stop()
        suite.start()
        valija.wait_until(lambda: suite.log().count("certificate-ends") == 2, 15, "the second start's line")
        # A tool renews it, badly: that it is new is told, and that it ends soon.
        put_one(2.5)
        mails += ["A new certificate of localhost is in service", "The certificate of localhost ends in 2 days"]
        valija.wait_until(lambda: subjects(suite, postmaster) == sorted(mails), 20, "two more mails")
        assert suite.log().count("postmaster-told") == 2
        # It is due, and the suite would renew it: its authority's key is away. With it, it does so by itself.
        valija.wait_until(lambda: re.search("certificate-not-renewed .*ca.key", suite.log()), 10, "an attempt to renew")
        os.rename(suite.tmp / "offline", ca)
        suite.stop()
        suite.start()
        valija.wait_until(lambda: re.search("certificate-renewed .*said=.renewed", suite.log()), 20, "the renewal")
        mails += ["A new certificate of localhost is in service"]
        valija.wait_until(lambda: subjects(suite, postmaster) == sorted(mails), 20, "the mail of the renewal")
        assert len(re.findall("certificate-in-service .*until=", suite.log())) == 3
        assert json.loads(suite.valija("status", "--json").stdout)["certificates"][0]["days_left"] > 800


def test_the_root_may_be_kept_offline(certs, tmp_path):
    """Without ca.key all goes on but what needs a signature, which says so and changes nothing."""
    where = certs.dir / "state/tls"
    crt, key = where / "ca.crt", where / "ca.key"
    before = (where / "server.crt").read_bytes()
    os.rename(key, tmp_path / "ca.key")
    try:
        certs.valija("check")
        certs.valija("reload")
        certs.valija("cert", "csr")
        for words in [["renew"], ["client", "who@example.org", "--out", tmp_path / "x.p12"], ["ca", "issue", "x.example.org"],
                      ["ca", "crl"]]:
            done = certs.valija("cert", *words, check=False)
            assert done.returncode and "ca.key" in done.stderr, (words, done)
        assert (where / "server.crt").read_bytes() == before and not (tmp_path / "x.p12").exists()
    finally:
        os.rename(tmp_path / "ca.key", key)
    certs.valija("cert", "ca", "crl")
    # It vouches for servers and people, never for another authority.
    said = openssl("x509", "-noout", "-text", "-in", crt).decode()
    assert re.search(r"Basic Constraints: critical\s+CA:TRUE, pathlen:0", said)
    (tmp_path / "ext").write_text("[x]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign,digitalSignature\n")
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    request = openssl("req", "-new", *ec, "-keyout", tmp_path / "below.key", "-subj", "/CN=below")
    (tmp_path / "below.crt").write_bytes(openssl("x509", "-req", "-CA", crt, "-CAkey", key, "-extfile", tmp_path / "ext",
                                                 "-extensions", "x", "-set_serial", "77", stdin=request))
    request = openssl("req", "-new", *ec, "-keyout", tmp_path / "leaf.key", "-subj", "/CN=leaf")
    (tmp_path / "leaf.crt").write_bytes(openssl("x509", "-req", "-CA", tmp_path / "below.crt", "-CAkey", tmp_path / "below.key",
                                                "-set_serial", "78", stdin=request))
    done = subprocess.run(["openssl", "verify", "-CAfile", crt, "-untrusted", tmp_path / "below.crt", tmp_path / "leaf.crt"],
                          capture_output=True, text=True)
    assert done.returncode and "path length constraint exceeded" in done.stderr


def test_a_chain_that_does_not_end_is_told(certs, tmp_path):
    """An intermediate that is left out: most clients cannot verify then, and the administrator's may."""
    where = certs.dir / "state/tls"
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-keyout", tmp_path / "root.key", "-out", tmp_path / "root.crt", "-subj", "/CN=root", "-days", "99")
    (tmp_path / "ca").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")
    (tmp_path / "leaf").write_text("subjectAltName=DNS:localhost\nkeyUsage=digitalSignature\n")

    def signed(name, by, extensions, serial, key):
        request = openssl("req", "-new", "-key", key, "-subj", f"/CN={name}")
        made = openssl("x509", "-req", "-CA", tmp_path / f"{by}.crt", "-CAkey", tmp_path / f"{by}.key", "-days", "98", "-set_serial",
                       serial, "-extfile", tmp_path / extensions, stdin=request)
        (tmp_path / f"{name}.crt").write_bytes(made)
        return made

    (tmp_path / "between.key").write_bytes(openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"))
    between = signed("between", "root", "ca", "91", tmp_path / "between.key")
    leaf = signed("leaf", "between", "leaf", "92", where / "server.key")
    missing = "the certificate of its issuer does not follow"
    rows = [(leaf, True), (leaf + between, True), (leaf + between + (tmp_path / "root.crt").read_bytes(), False)]
    for chain, warned in rows:
        (tmp_path / "chain").write_bytes(chain)
        assert (missing in certs.valija("cert", "install", tmp_path / "chain").stdout) == warned
        assert (missing in certs.valija("cert", "show").stdout) == warned
        assert (json.loads(certs.valija("cert", "show", "--json").stdout)[0]["problem"] != "") == warned
        done = certs.valija("cert", "check", check=False)
        assert (done.returncode, "WARNING" in done.stdout) == ((1, True) if warned else (0, False)), done
    # Known is whom other servers are checked by, too.
    certs.valija("cert", "rollback")
    certs.configure(tls_trust=f'"{tmp_path}/root.crt"')
    assert missing not in certs.valija("cert", "show").stdout
    certs.configure(tls_trust='""')
    certs.valija("cert", "self-signed")
    certs.valija("cert", "check")
