"""Client certificates (EXTERNAL) and tokens (OAUTHBEARER, XOAUTH2): who is let in by them, and who is not."""

import base64
import hashlib
import imaplib
import json
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import tempfile
import time

import pytest

import valija


def openssl(*argv, stdin=b""):
    return valija.run(["openssl", *argv], stdin=stdin).stdout


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A key that signs tokens, with openssl."""

    def __init__(self, place, alg, kid):
        self.alg, self.kid, self.file = alg, kid, place / f"{kid}-{secrets.token_hex(4)}.pem"
        self.file.write_bytes({"RS256": lambda: openssl("genrsa", "2048"),
                               "ES256": lambda: openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout"),
                               "EdDSA": lambda: openssl("genpkey", "-algorithm", "ed25519")}[alg]())

    def jwk(self):
        public = openssl("pkey", "-in", self.file, "-pubout", "-outform", "DER")
        if self.alg == "RS256":
            n = bytes.fromhex(openssl("rsa", "-in", self.file, "-noout", "-modulus").decode().strip().split("=")[1])
            return {"kty": "RSA", "kid": self.kid, "use": "sig", "n": b64url(n), "e": "AQAB"}
        if self.alg == "ES256":
            return {"kty": "EC", "crv": "P-256", "kid": self.kid, "x": b64url(public[-64:-32]), "y": b64url(public[-32:])}
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": b64url(public[-32:])}

    def sign(self, data):
        if self.alg == "RS256":
            return openssl("dgst", "-sha256", "-sign", self.file, stdin=data)
        if self.alg == "ES256":
            der = openssl("dgst", "-sha256", "-sign", self.file, stdin=data)
            r = der[4:4 + der[3]]
            s = der[6 + der[3]:]
            return r[-32:].rjust(32, b"\0") + s[-32:].rjust(32, b"\0")
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            return openssl("pkeyutl", "-sign", "-inkey", self.file, "-rawin", "-in", file.name)

    def token(self, header=None, signature=None, **claims):
        now = int(time.time())
        claims = {"iss": "https://issuer.example", "aud": ["mail", "other"], "exp": now + 300, "iat": now, "scope": "openid mail",
                  **claims}
        claims = {k: v for k, v in claims.items() if v is not None}
        head = {"alg": self.alg, "typ": "JWT", "kid": self.kid, **(header or {})}
        signed = f"{b64url(json.dumps({k: v for k, v in head.items() if v is not None}).encode())}.{b64url(json.dumps(claims).encode())}"
        return f"{signed}.{b64url(self.sign(signed.encode()) if signature is None else signature)}"


@pytest.fixture(scope="module")
def issuer():
    """An instance that believes one issuer with three keys; and asks clients for certificates."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="valija-issuer-"))
    signers = [Signer(place, alg, kid) for alg, kid in (("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed"))]
    (place / "jwks.json").write_text(json.dumps({"keys": [s.jwk() for s in signers] + [{"kty": "oct", "k": "c2VjcmV0"}]}))
    make_authority(place, "ca")
    make_authority(place, "stranger")
    instance = valija.Instance(settings={
        "auth_delay_seconds": 0, "auth_block_failures": 0, "oauth_issuer": '"https://issuer.example"',
        "oauth_keys": f'"{place}/jwks.json"', "oauth_audience": '"mail"', "oauth_scope": '"mail"', "tls_client_ca": f'"{place}/ca.crt"'})
    instance.place, instance.signers = place, signers
    yield instance
    left = instance.close()
    shutil.rmtree(place)
    assert not left


def login(instance, mechanism, message, certificate=None):
    """None, or what was said against it; the challenges are kept in login.said."""
    context = instance.tls()
    if certificate:
        context.load_cert_chain(*certificate)
    imap = imaplib.IMAP4_SSL(instance.host, instance.port("imaps"), ssl_context=context, timeout=20)
    login.said, login.capabilities = [], imap.capabilities

    def answer(challenge):
        login.said.append(challenge)
        return message if len(login.said) == 1 else b"\x01"

    try:
        imap.authenticate(mechanism, answer)
        assert imap.select("INBOX")[0] == "OK"
        imap.logout()
        return None
    except imaplib.IMAP4.error as error:
        imap.shutdown()
        return str(error)


def bearer(token, user=""):
    return f"n,{'a=' + user if user else ''},\x01auth=Bearer {token}\x01\x01".encode()


def test_tokens_of_each_algorithm(issuer):
    user = issuer.new_user("token")
    for signer in issuer.signers:
        token = signer.token(email=user)
        assert login(issuer, "OAUTHBEARER", bearer(token)) is None, signer.alg
        assert login(issuer, "OAUTHBEARER", bearer(token, user)) is None
        assert login(issuer, "XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode()) is None
    assert {"AUTH=OAUTHBEARER", "AUTH=XOAUTH2"} <= set(login.capabilities)
    with issuer.smtp() as smtp:
        smtp.ehlo()
        initial = base64.b64encode(bearer(issuer.signers[1].token(email=user), user)).decode()
        assert smtp.docmd("AUTH OAUTHBEARER " + initial)[0] == 235


def test_curl_with_a_token(issuer):
    user = issuer.new_user("curl")
    valija.run(["curl", "--silent", "--show-error", "--cacert", issuer.cafile, "--oauth2-bearer", issuer.signers[0].token(email=user),
                "-u", user, "--resolve", f"{issuer.host}:{issuer.port('imaps')}:127.0.0.1",
                f"imaps://{issuer.host}:{issuer.port('imaps')}/INBOX"])


def test_tokens_that_are_refused(issuer):
    """Each for its own reason, which stands in the log; the client hears invalid_token, and then NO."""
    user, other, now = issuer.new_user("token"), issuer.new_user("other"), int(time.time())
    rsa, ec, ed = issuer.signers
    stranger = Signer(issuer.place, "ES256", "ec")  # says that it is "ec"
    good = ec.token(email=user)
    head, claims, signature = good.split(".")
    forged = b64url(json.dumps({"iss": "https://issuer.example", "aud": "mail", "exp": now + 99, "scope": "mail", "email": other}).encode())
    public = openssl("pkey", "-in", rsa.file, "-pubout")
    confused = f"{b64url(json.dumps({'alg': 'HS256', 'kid': 'rsa'}).encode())}.{claims}"
    import hmac
    cases = [
        ("token-signature", stranger.token(email=user)),
        ("token-signature", f"{head}.{forged}.{signature}"),
        ("token-signature", ec.token(email=user, signature=bytes(64))),
        ("token-signature", ec.token(email=user, header={"kid": "rsa"})),
        ("token-algorithm", ec.token(email=user, header={"alg": "none"}, signature=b"")),
        ("token-algorithm", f"{confused}.{b64url(hmac.digest(public, confused.encode(), 'sha256'))}"),
        ("token-critical-header", ec.token(email=user, header={"crit": ["exp"]})),
        ("token-issuer", ec.token(email=user, iss="https://elsewhere.example")),
        ("token-expired", ec.token(email=user, exp=now - 120)),
        ("token-expired", ec.token(email=user, exp=None)),
        ("token-not-yet", ec.token(email=user, nbf=now + 300)),
        ("token-audience", ec.token(email=user, aud="calendar")),
        ("token-scope", ec.token(email=user, scope="openid mailing")),
        ("token-user", ec.token()),
        ("token-user", ec.token(email="x" * 400)),
        ("token-email-unverified", ec.token(email=user, email_verified=False)),
        ("token-form", "x"), ("token-form", "a.b.c"), ("token-form", good + ".x"), ("token-form", "A" * 5000),
        ("unknown-user", ec.token(email="nobody@example.org")),
        ("name", ec.token(email="../../etc/passwd@")),
    ]
    for reason, token in cases:
        before = len(issuer.log())
        said = login(issuer, "OAUTHBEARER", bearer(token))
        assert said and "AUTHENTICATIONFAILED" in said, (reason, said)
        assert b"invalid_token" in login.said[1], (reason, login.said)
        limit = time.monotonic() + 5
        while f"reason={reason} " not in issuer.log()[before:] and time.monotonic() < limit:
            time.sleep(0.01)
        assert f"reason={reason} " in issuer.log()[before:], (reason, issuer.log()[before:])
    # A good token of one user is no token of another.
    assert "AUTHENTICATIONFAILED" in login(issuer, "OAUTHBEARER", bearer(good, other))
    assert "AUTHENTICATIONFAILED" in login(issuer, "XOAUTH2", f"user={other}\x01auth=Bearer {good}\x01\x01".encode())
    assert login(issuer, "OAUTHBEARER", bearer(good)) is None


# ---- certificates --------------------------------------------------------------------------------

def make_authority(place, name):
    valija.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-keyout", place / f"{name}.key", "-out", place / f"{name}.crt"])


def certificate(instance, authority, subject, mails=(), usage="clientAuth", days="2"):
    """(certificate, key) files of a client."""
    name = instance.place / secrets.token_hex(4)
    sans = ",".join([f"email:{m}" for m in mails] or ["DNS:client.example"])
    extensions = name.with_suffix(".ext")
    extensions.write_text(f"subjectAltName={sans}\nextendedKeyUsage={usage}\nkeyUsage=digitalSignature\n")
    valija.run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject,
                "-keyout", name.with_suffix(".key"), "-out", name.with_suffix(".csr")])
    valija.run(["openssl", "x509", "-req", "-in", name.with_suffix(".csr"), "-CA", instance.place / f"{authority}.crt",
                "-CAkey", instance.place / f"{authority}.key", "-CAcreateserial", "-days", days, "-extfile", extensions,
                "-out", name.with_suffix(".crt")])
    return str(name.with_suffix(".crt")), str(name.with_suffix(".key"))


def test_external_by_the_name_in_the_certificate(issuer):
    """Its rfc822Name is the user; asking to be one of several is fine, to be anybody else is not."""
    user, second, other = issuer.new_user("cert"), issuer.new_user("second"), issuer.new_user("other")
    mine = certificate(issuer, "ca", "/CN=Ana", [user, second])
    assert login(issuer, "EXTERNAL", b"", mine) is None
    assert "AUTH=EXTERNAL" in login.capabilities
    assert login(issuer, "EXTERNAL", user.encode(), mine) is None
    assert login(issuer, "EXTERNAL", second.encode(), mine) is None
    assert f"mech=EXTERNAL user={second}" in issuer.log()
    for wanted in (other, "root", "nobody@example.org", "%n"):
        assert "AUTHENTICATIONFAILED" in login(issuer, "EXTERNAL", wanted.encode(), mine), wanted


def test_external_without_a_good_certificate(issuer):
    """None at all, of another authority, of a server, without a name, of a user who is no more: not offered or refused."""
    user, gone = issuer.new_user("cert"), issuer.new_user("gone")
    former = certificate(issuer, "ca", "/CN=Gone", [gone])
    assert login(issuer, "EXTERNAL", b"", former) is None
    issuer.valija("user", "del", gone)
    assert "AUTHENTICATIONFAILED" in login(issuer, "EXTERNAL", b"", former)
    assert "AUTHENTICATIONFAILED" in login(issuer, "EXTERNAL", b"", certificate(issuer, "ca", "/CN=Nobody"))
    for bad in (None, certificate(issuer, "stranger", "/CN=Ana", [user]), certificate(issuer, "ca", "/CN=Ana", [user], "serverAuth")):
        try:
            said = login(issuer, "EXTERNAL", user.encode(), bad)
        except OSError:
            continue  # the handshake itself was refused
        assert said and "CANNOT" in said and "AUTH=EXTERNAL" not in login.capabilities, said


def revocation_list(place, authority, *revoked):
    """The authority's list of the certificates that it takes back."""
    (place / "crl.cnf").write_text(f"[ca]\ndefault_ca=us\n[us]\ndatabase={place}/crl.index\ndefault_md=sha256\n"
                                   f"default_crl_days=2\ncertificate={place}/{authority}.crt\nprivate_key={place}/{authority}.key\n")
    serials = [openssl("x509", "-in", c, "-noout", "-serial").decode().strip().split("=")[1] for c in revoked]
    (place / "crl.index").write_text("".join(f"R\t400101000000Z\t200101000000Z\t{n}\tunknown\t/CN=x\n" for n in serials))
    openssl("ca", "-config", place / "crl.cnf", "-gencrl", "-out", place / "crl.pem")
    return place / "crl.pem"


def test_external_with_a_certificate_that_was_revoked(issuer):
    """Good until the list says otherwise and is read by a reload; others of the authority stay good."""
    user, other = issuer.new_user("revoked"), issuer.new_user("stays")
    lost, kept = certificate(issuer, "ca", "/CN=Lost", [user]), certificate(issuer, "ca", "/CN=Kept", [other])
    assert login(issuer, "EXTERNAL", b"", lost) is None
    issuer.configure(tls_client_crl=f'"{revocation_list(issuer.place, "ca", lost[0])}"')
    issuer.valija("reload")
    try:
        before = len(issuer.log())
        said = login(issuer, "EXTERNAL", user.encode(), lost)
        assert said and "CANNOT" in said and "AUTH=EXTERNAL" not in login.capabilities, said
        assert re.search(r"client-certificate .*valid=no .*revoked", issuer.log()[before:])
        assert login(issuer, "EXTERNAL", b"", kept) is None
    finally:
        issuer.configure(tls_client_crl='""')
        issuer.valija("reload")


def test_external_by_a_table(issuer):
    """A certificate without a mail address, named by its digest, its key's, or its subject."""
    one, two, three = issuer.new_user("one"), issuer.new_user("two"), issuer.new_user("three")
    a, b, c = (certificate(issuer, "ca", f"/O=Example/CN=client {i}") for i in range(3))
    digest = hashlib.sha256(openssl("x509", "-in", a[0], "-outform", "DER")).hexdigest()
    key = hashlib.sha256(openssl("pkey", "-in", b[1], "-pubout", "-outform", "DER")).hexdigest().upper()
    colons = ":".join(key[i:i + 2] for i in range(0, 64, 2))
    issuer.configure(certificate_users=f'{{"{digest}={one}", "{colons} = {two}", "CN=client 2;O=Example={three}", "{digest[:62]}={two}"}}')
    issuer.valija("reload")
    for user, mine in ((one, a), (two, b), (three, c)):
        assert login(issuer, "EXTERNAL", b"", mine) is None, issuer.log_tail(10)
        assert login(issuer, "EXTERNAL", user.encode(), mine) is None
    assert "AUTHENTICATIONFAILED" in login(issuer, "EXTERNAL", two.encode(), a)


def test_keys_that_cannot_be_used_are_refused(issuer):
    """A reload with them changes nothing; the token of before is still good."""
    user = issuer.new_user("reload")
    (issuer.place / "bad.json").write_text('{"keys": [{"kty": "oct", "k": "eA"}]}')
    issuer.configure(oauth_keys=f'"{issuer.place}/bad.json"')
    assert issuer.valija("reload", check=False).returncode != 0
    assert login(issuer, "OAUTHBEARER", bearer(issuer.signers[0].token(email=user))) is None
    issuer.configure(oauth_keys=f'"{issuer.place}/jwks.json"')
    issuer.valija("reload")


def test_auth_token_is_what_the_table_says(issuer):
    """_auth, an empty root, no capability, a filter; and there is none where no issuer is configured."""
    import pwd
    for process in issuer.processes("auth-token"):
        kernel = valija.proc_status(process["pid"])
        assert int(kernel["CapEff"], 16) == 0 and kernel["Seccomp"].strip() == "2" and kernel["NoNewPrivs"].strip() == "1"
        if os.getuid() == 0:
            assert set(kernel["Uid"].split()) == {str(pwd.getpwnam("_auth").pw_uid)}
            assert os.readlink(f"/proc/{process['pid']}/root") == str(issuer.dir / "run/empty")


# ---- every mechanism, by clients of others -------------------------------------------------------

def by_msmtp(issuer, user, mechanism, tmp):
    mine = certificate(issuer, "ca", "/CN=msmtp", [user])
    conf = tmp / "msmtprc"
    secret = issuer.signers[1].token(email=user) if "OAUTH" in mechanism else issuer.passwords[user]
    conf.write_text(f"account default\nhost {issuer.host}\nport {issuer.port('submissions')}\nfrom {user}\nauth {mechanism.lower()}\n"
                    f"user {user}\npassword {secret}\ntls on\ntls_starttls off\ntls_trust_file {issuer.cafile}\n"
                    + (f"tls_cert_file {mine[0]}\ntls_key_file {mine[1]}\n" if mechanism == "EXTERNAL" else ""))
    conf.chmod(0o600)
    valija.run(["msmtp", "-C", conf, "--", user], stdin=b"Subject: by msmtp\n\nx\n")


def by_curl(issuer, user, mechanism, tmp):
    mine = certificate(issuer, "ca", "/CN=curl", [user])
    way = {"EXTERNAL": ["--cert", mine[0], "--key", mine[1], "-u", f"{user}:"],
           "OAUTHBEARER": ["--oauth2-bearer", issuer.signers[0].token(email=user), "-u", user]}.get(
               mechanism, ["-u", f"{user}:{issuer.passwords[user]}"])
    valija.run(["curl", "--silent", "--show-error", "--cacert", issuer.cafile, *way, "--login-options", f"AUTH={mechanism}",
                f"imaps://{issuer.host}:{issuer.port('imaps')}/INBOX"])


def by_mbsync(issuer, user, mechanism, tmp):
    conf = tmp / "mbsyncrc"
    conf.write_text(f"IMAPAccount valija\nHost {issuer.host}\nPort {issuer.port('imaps')}\nUser {user}\nPass {issuer.passwords[user]}\n"
                    f"SSLType IMAPS\nCertificateFile {issuer.cafile}\nSystemCertificates no\nAuthMechs {mechanism}\n\n"
                    f"IMAPStore far\nAccount valija\n\nMaildirStore near\nPath {tmp}/\nInbox {tmp}/INBOX\n\n"
                    f"Channel valija\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync Pull\nSyncState *\n")
    conf.chmod(0o600)
    valija.run(["mbsync", "-c", conf, "valija"], env=dict(os.environ, HOME=str(tmp)))


def by_mutt(issuer, user, mechanism, tmp):
    token = tmp / "token"
    token.write_text(f"#!/bin/sh\necho {issuer.signers[2].token(email=user)}\n")
    token.chmod(0o755)
    conf = tmp / "muttrc"
    conf.write_text(f'set folder="{tmp}"\nset spoolfile="imaps://{issuer.host}:{issuer.port("imaps")}/INBOX"\n'
                    f'set imap_user="{user}"\nset imap_pass="{issuer.passwords[user]}"\nset imap_authenticators="{mechanism.lower()}"\n'
                    f'set imap_oauth_refresh_command="{token}"\n'
                    f'set certificate_file="{tmp}/certificates"\nset ssl_ca_certificates_file="{issuer.cafile}"\n'
                    f'set ssl_usesystemcerts=no\nset ssl_force_tls=yes\nset quit=yes\npush "<quit>"\n')
    valija.run(["script", "-qec", f"mutt -F {conf}", "/dev/null"], seconds=40, check=False,
               env=dict(os.environ, HOME=str(tmp), TERM="xterm", COLUMNS="100", LINES="30", LC_ALL="C.UTF-8"))


def by_swaks(issuer, user, mechanism, tmp):
    valija.run(["swaks", "--server", issuer.host, "--port", issuer.port("submission"), "--tls", "--tls-verify", "--tls-ca-path",
                issuer.cafile, "--auth", mechanism, "--auth-user", user, "--auth-password", issuer.passwords[user], "--from", user,
                "--to", user])


CLIENTS = {by_msmtp: ["PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "EXTERNAL", "OAUTHBEARER", "XOAUTH2"],
           by_curl: ["PLAIN", "LOGIN", "EXTERNAL", "OAUTHBEARER"],
           by_mbsync: ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"],
           by_mutt: ["PLAIN", "LOGIN", "SCRAM-SHA-256", "OAUTHBEARER"],
           by_swaks: ["PLAIN", "LOGIN"]}
PAIRS = [(client, mechanism) for client, mechanisms in CLIENTS.items() for mechanism in mechanisms]


@pytest.mark.parametrize("client,mechanism", PAIRS, ids=[f"{c.__name__[3:]}-{m}" for c, m in PAIRS])
def test_clients_of_others_by_each_mechanism(issuer, client, mechanism, tmp_path):
    user = issuer.new_user("client")
    before = len(issuer.log())
    client(issuer, user, mechanism, tmp_path)
    valija.wait_until(lambda: re.search(rf"auth-ok .*mech={mechanism}(-PLUS)? user={re.escape(user)}", issuer.log()[before:]),
                      what=f"a login by {mechanism}")
