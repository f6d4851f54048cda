"""System users: PAM says who they are, their mail is in their homes under their own uid."""

import contextlib
import fcntl
import imaplib
import os
import pathlib
import pwd
import re
import secrets
import shutil
import smtplib
import socket
import subprocess
import tempfile
import threading
import time

import pytest

import mails
import valija

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root: makes local users, and reads processes of root")

PASSWORD = "correct horse battery"


def change_users(*argv):
    """useradd and its like refuse while another is at work: one at a time, of all the tests of the machine."""
    with open("/tmp/valija-test-users.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(20):
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode == 0:
                return
            time.sleep(0.1)
    raise AssertionError(f"{argv}: {done.stdout.decode()}")


class LocalUser:
    """A user of this machine, with a name that nobody else has and a home of its own."""

    def __init__(self, password=PASSWORD):
        self.name = "vt" + secrets.token_hex(5)
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="valija-home-")) / self.name
        self.home.parent.chmod(0o755)
        change_users("useradd", "--create-home", "--home-dir", str(self.home), "--shell", "/bin/sh", self.name)
        subprocess.run(["chpasswd"], input=f"{self.name}:{password}\n".encode(), check=True)
        account = pwd.getpwnam(self.name)
        self.uid, self.gid = account.pw_uid, account.pw_gid

    def close(self):
        change_users("userdel", "--force", self.name)  # his imap process lingers
        shutil.rmtree(self.home.parent, ignore_errors=True)


@pytest.fixture
def person():
    user = LocalUser()
    yield user
    user.close()


SERVICE = """\
auth     required pam_unix.so
account  required pam_nologin.so file={nologin}
account  required pam_unix.so
account  required pam_shells.so
session  required pam_unix.so
"""


@pytest.fixture(scope="module")
def system():
    """An instance whose system users have mailboxes, with PAM services of its own."""
    services = pathlib.Path(tempfile.mkdtemp(prefix="valija-pam-"))
    services.chmod(0o755)
    (services / "valija").write_text(SERVICE.format(nologin=services / "nologin"))
    instance = valija.Instance(settings={"system_users": "yes", "pam_directory": f'"{services}"', "auth_delay_seconds": 0,
                                         "system_domains": '{"sys.example.org"}', "system_homes": '{"/tmp", "/home"}',
                                         "domains": '{"example.org"}', "cache_at_delivery": "yes",
                                         "imap_linger_seconds": 0})
    instance.services = services
    yield instance
    left = instance.close()
    shutil.rmtree(services)
    assert not left


def login(instance, name, password):
    imap = imaplib.IMAP4_SSL(instance.host, instance.port("imaps"), ssl_context=instance.tls(), timeout=60)
    imap.login(name, password)
    return imap


def refused(instance, name, password):
    try:
        login(instance, name, password).logout()
        return None
    except imaplib.IMAP4.error as error:
        return str(error)


def test_system_user_has_his_own_mail_under_his_own_uid(system, person):
    """By bare name and by address; the process is his, and so is all that it makes in his home."""
    for name in (person.name, f"{person.name}@sys.example.org"):
        imap = login(system, name, PASSWORD)
        imap.append("INBOX", None, None, b"Subject: mine\r\n\r\n")
        assert imap.select("INBOX")[0] == "OK"
        (process,) = [p for p in system.processes("imap") if p["user"] == f"{person.name}@sys.example.org"]
        kernel = valija.proc_status(process["pid"])
        assert set(kernel["Uid"].split()) == {str(person.uid)} and set(kernel["Gid"].split()) == {str(person.gid)}
        assert kernel["Groups"].strip() == "" and int(kernel["CapEff"], 16) == 0 and kernel["Seccomp"].strip() == "2"
        imap.logout()
    made = list((person.home / "Maildir").rglob("*"))
    assert sum(p.parent.name in ("cur", "new") and p.is_file() for p in made) == 2
    assert {(p.stat().st_uid, p.stat().st_gid) for p in made} == {(person.uid, person.gid)}
    with system.smtp() as smtp:
        smtp.login(person.name, PASSWORD)


def asked(system, person):
    imap = login(system, person.name, PASSWORD)
    imap.select("INBOX")
    kind, answer = imap.fetch("1:*", "(ENVELOPE BODYSTRUCTURE)")
    imap.logout()
    valija.wait_until(lambda: not system.processes("imap"), 10, "the end of his imap")
    assert kind == "OK"
    return answer


def test_f1_what_is_worked_out_at_delivery_is_his(system, person):
    """cache_at_delivery: written as he, and through nothing that he planted."""
    def send():
        system.receive("a@far.example", [f"{person.name}@sys.example.org"], mails.plain("a@far.example", person.name))
    send()
    asked(system, person)
    (index,) = [path.parent for path in (person.home / "Maildir/valija").glob("*/cache")]
    send()
    valija.wait_until(lambda: (index / "filled").exists() and (index / "filled").stat().st_size, 10, "what gist says")
    stat = (index / "filled").stat()
    assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (person.uid, person.gid, 0o600)
    for path in (person.home / "Maildir/new").iterdir():
        path.chmod(0)
    assert len(asked(system, person)) == 2 and not (index / "filled").exists()
    secret = system.tmp / "roots-own"
    secret.write_text("as it was")
    secret.chmod(0o666)
    for plant in (lambda: (index / "filled").symlink_to(secret), lambda: os.link(secret, index / "filled")):
        plant()
        send()
        send()
        valija.wait_until(lambda: len(list((person.home / "Maildir/new").iterdir())) == 2, 5, "both")
        time.sleep(0.1)      # what gist says comes after the answer
        assert secret.read_text() == "as it was"
        asked(system, person)
        assert not os.path.lexists(index / "filled")


def test_wrong_password_and_unknown_user(system, person):
    assert "AUTHENTICATIONFAILED" in refused(system, person.name, "wrong")
    assert "AUTHENTICATIONFAILED" in refused(system, "nobody-" + secrets.token_hex(4), "wrong")
    # root and the daemons have no mailbox, whatever their password
    for name in ("root", "daemon", "_auth"):
        assert "AUTHENTICATIONFAILED" in refused(system, name, "wrong")
    assert re.search(rf'auth-failed session=\w+ ip=127.0.0.1 .*reason="?authenticate: .* user="?{person.name}', system.log())


def test_a_virtual_user_is_no_system_user(system, person):
    """The same local part in a virtual domain is somebody else."""
    assert "AUTHENTICATIONFAILED" in refused(system, f"{person.name}@example.org", PASSWORD)
    virtual = system.user_add(f"{person.name}@example.org", "virtual password")
    assert "AUTHENTICATIONFAILED" in refused(system, virtual, PASSWORD)
    login(system, virtual, "virtual password").logout()
    login(system, f"{person.name}@sys.example.org", PASSWORD).logout()


def test_a3_account_stage(system, person):
    """HARDENING A3: expired, to be changed, no shell, nologin: refused though the password is right."""
    assert refused(system, person.name, PASSWORD) is None
    change_users("chage", "-E", "0", person.name)
    assert "AUTHENTICATIONFAILED" in refused(system, person.name, PASSWORD)
    change_users("chage", "-E", "-1", "-d", "0", person.name)
    assert "AUTHENTICATIONFAILED" in refused(system, person.name, PASSWORD)
    change_users("chage", "-d", "2020-01-01", person.name)
    assert refused(system, person.name, PASSWORD) is None
    change_users("usermod", "-s", "/nonexistent/shell", person.name)
    assert "AUTHENTICATIONFAILED" in refused(system, person.name, PASSWORD)
    change_users("usermod", "-s", "/bin/sh", person.name)
    nologin = system.services / "nologin"
    nologin.write_text("down for maintenance\n")
    try:
        assert "AUTHENTICATIONFAILED" in refused(system, person.name, PASSWORD)
    finally:
        nologin.unlink()
    change_users("usermod", "-L", person.name)
    assert "AUTHENTICATIONFAILED" in refused(system, person.name, PASSWORD)
    change_users("usermod", "-U", person.name)
    assert refused(system, person.name, PASSWORD) is None


def test_auth_pam_is_what_the_table_says(system):
    """uid 0 without a capability, a filter, no new privileges; and nothing of it is inherited."""
    processes = system.processes("auth-pam")
    assert len(processes) == 2
    for process in processes:
        kernel = valija.proc_status(process["pid"])
        assert set(kernel["Uid"].split()) == {"0"} and kernel["Groups"].strip() == ""
        shadow = os.stat("/etc/shadow")
        wanted = 0 if shadow.st_uid == 0 and shadow.st_mode & 0o400 else 1 << 2  # CAP_DAC_READ_SEARCH
        for name in ("CapInh", "CapAmb"):
            assert int(kernel[name], 16) == 0
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert int(kernel[name], 16) & ~(1 << 2) == 0
        assert int(kernel["CapEff"], 16) == wanted
        assert kernel["Seccomp"].strip() == "2" and kernel["NoNewPrivs"].strip() == "1" and process["seccomp"] == 2


MODULE = r"""
#define _GNU_SOURCE
#define PAM_SM_AUTH
#define PAM_SM_SESSION
#include <security/pam_modules.h>
#include <security/pam_ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

/* As pam_sss and pam_ldap do: the daemon behind a socket of the system's is asked, when it is root's. */
static int ask(const char *path, const char *user)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct ucred peer;
	socklen_t len = sizeof peer;
	struct stat st;
	char answer[8] = "";
	struct pollfd p = { .events = POLLIN };

	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	p.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (p.fd < 0 || fcntl(p.fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(p.fd, F_SETFD, FD_CLOEXEC) < 0 ||
		stat(path, &st) < 0 || st.st_uid != 0 || connect(p.fd, (struct sockaddr *)&at, sizeof at) < 0 ||
		getsockopt(p.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid != 0 ||
		write(p.fd, user, strlen(user)) < 0 || poll(&p, 1, 2000) != 1 || read(p.fd, answer, 7) < 0)
		return PAM_AUTHINFO_UNAVAIL;
	close(p.fd);
	return strcmp(answer, "yes") == 0 ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	const char *user, *password;
	(void)flags;
	if (pam_get_user(pam, &user, NULL) != PAM_SUCCESS || pam_get_authtok(pam, PAM_AUTHTOK, &password, NULL) != PAM_SUCCESS)
		return PAM_AUTH_ERR;
	if (strcmp(password, "hang") == 0)
		for (;;)
			sleep(1000);
	if (strcmp(password, "crash") == 0)
		abort();
	if (strcmp(password, "ask") == 0 && argc > 2)
		return ask(argv[2], user);
	if (strcmp(password, "exit") == 0)
		_exit(0);
	if (strcmp(password, "pry") == 0) {
		/* What a module of an enemy tries: each must fail. */
		int bad = 0;
		if (argc > 0 && open(argv[0], O_RDONLY) >= 0) bad |= 1;  /* the key */
		if (argc > 1 && open(argv[1], O_WRONLY | O_CREAT, 0600) >= 0) bad |= 2;
		if (open("/etc/passwd", O_WRONLY) >= 0) bad |= 4;
		if (open("/root", O_RDONLY) >= 0) bad |= 8;
		if (fork() >= 0) bad |= 16;
		if (execl("/bin/true", "true", (char *)0) == 0) bad |= 32;
		if (setgid(1) == 0 || setuid(1) == 0) bad |= 64;
		return bad == 0 ? PAM_SUCCESS : PAM_SYSTEM_ERR;
	}
	return strcmp(password, "right") == 0 ? PAM_SUCCESS : PAM_AUTH_ERR;
}
int pam_sm_open_session(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	(void)pam; (void)flags; (void)argc; (void)argv;
	return PAM_SESSION_ERR;
}
int pam_sm_close_session(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	(void)pam; (void)flags; (void)argc; (void)argv;
	return PAM_SUCCESS;
}
int pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	(void)pam; (void)flags; (void)argc; (void)argv;
	return PAM_SUCCESS;
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """A PAM module that hangs, dies and pries, as its password tells it."""
    place = tmp_path_factory.mktemp("module")
    source, built = place / "pam_trouble.c", place / "pam_trouble.so"
    source.write_text(MODULE)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(built), str(source), "-lpam"], check=True)
    # Landlock shows auth-pam only the system's places, and the directory of the services.
    return built


def test_a_module_that_asks_a_daemon(module, person):
    """What pam_sss and pam_ldap do, whose socket is somewhere in /var or /run: auth-pam lets them. And a session phase
    that says no is obeyed."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="valija-pam-"))
    place.chmod(0o755)
    shutil.copy(module, place / "pam_trouble.so")
    asked, answers = [], [b"yes", b"no"]

    def serve(listening):
        for answer in answers:
            with listening.accept()[0] as one:
                asked.append(one.recv(100).decode())
                one.sendall(answer)

    instance = valija.Instance(start=False, settings={
        "system_users": "yes", "system_domains": '{"sys.example.org"}', "pam_directory": f'"{place}"', "auth_delay_seconds": 0})
    (place / "valija").write_text(
        f"auth required {place}/pam_trouble.so - - {instance.tmp}/daemon\n"
        "account required pam_permit.so\nsession required pam_permit.so\n")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{instance.tmp}/daemon")
        listening.listen()
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        try:
            instance.start()
            assert refused(instance, person.name, "ask") is None, instance.log_tail()
            assert "AUTHENTICATIONFAILED" in refused(instance, person.name, "ask")
            listening.close()
            assert "UNAVAILABLE" in refused(instance, person.name, "ask")
            assert refused(instance, person.name, "right") is None
            service = (place / "valija").read_text()
            (place / "valija").write_text(service.replace("session required pam_permit.so", f"session required {place}/pam_trouble.so"))
            assert "UNAVAILABLE" in refused(instance, person.name, "right")
            assert re.search(r'pam-later .*reason="session: ', instance.log()), instance.log_tail()
        finally:
            left = instance.close()
            shutil.rmtree(place)
    assert asked == [person.name, person.name] and not left


def test_a_module_that_hangs_crashes_or_pries(module, person):
    """A3: it costs the login that it was asked about, and no other; the worker is replaced. A module reaches
    neither keys nor files of others."""
    services = pathlib.Path(tempfile.mkdtemp(prefix="valija-pam-"))
    services.chmod(0o755)
    shutil.copy(module, services / "pam_trouble.so")
    stolen = services.parent / f"valija-stolen-{secrets.token_hex(4)}"
    instance = valija.Instance(start=False, settings={
        "system_users": "yes", "system_domains": '{"sys.example.org"}', "pam_directory": f'"{services}"',
        "auth_delay_seconds": 0, "pam_processes": 2, "pam_seconds": 3})
    (services / "valija").write_text(
        f"auth required {services}/pam_trouble.so {instance.dir}/state/tls/server.key {stolen}\n"
        "account required pam_permit.so\nsession required pam_permit.so\n")
    try:
        instance.start()
        before = {p["pid"] for p in instance.processes("auth-pam")}
        assert refused(instance, person.name, "right") is None
        assert refused(instance, person.name, "pry") is None, instance.log_tail()
        assert not stolen.exists()
        # One hangs: others log in meanwhile, by PAM and by table.
        virtual = instance.user_add("virtual@example.org", "secret")
        answers = []
        hanging = threading.Thread(target=lambda: answers.append(refused(instance, person.name, "hang")))
        hanging.start()
        while instance.log().count("auth-ok") < 2 or not answers:
            begin = time.monotonic()
            assert refused(instance, person.name, "right") is None
            login(instance, virtual, "secret").logout()
            if time.monotonic() - begin > 2.5:
                raise AssertionError("somebody else waited")
            time.sleep(0.1)
        hanging.join()
        assert "UNAVAILABLE" in answers[0]
        limit = time.monotonic() + 10
        while time.monotonic() < limit and before <= {p["pid"] for p in instance.processes("auth-pam")}:
            time.sleep(0.1)
        assert not before <= {p["pid"] for p in instance.processes("auth-pam")}, "the one that hangs is not replaced"
        # One dies: its question is asked of one other, then the client is told to try later.
        for word in ("crash", "exit"):
            assert "UNAVAILABLE" in refused(instance, person.name, word)
        limit = time.monotonic() + 20
        while (said := refused(instance, person.name, "right")) is not None and time.monotonic() < limit:
            assert "UNAVAILABLE" in said
            time.sleep(0.1)
        assert said is None
    finally:
        left = instance.close()
        shutil.rmtree(services)
        with contextlib.suppress(FileNotFoundError):
            stolen.unlink()
    assert not left
