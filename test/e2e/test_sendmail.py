"""The sendmail command, as programs of Debian call it, with the suite up and down, by users without
any right."""

import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import mails
import valija

MESSAGE = b"Subject: from a program\n\nhello\n.hidden\nlast\n"
NOBODY = "nobody"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to become other users")


def wrapper(suite):
    """sendmail of this instance under the one name that programs know, where everybody can reach it."""
    bin = suite.tmp / "bin"
    if not bin.exists():
        shutil.copytree(suite.command.parent, suite.tmp / "sendmail", symlinks=True)
        bin.mkdir()
        for name in ("sendmail", "mailq", "newaliases"):
            script = bin / name
            script.write_text(f'#!/bin/sh\nexec {suite.tmp}/sendmail/{name} --dir {suite.dir} "$@"\n')
            script.chmod(0o755)
    return bin / "sendmail"


def sendmail(suite, *arguments, stdin=MESSAGE, user=None, check=0, name="sendmail", **more):
    command = [suite.command.parent / name, "--dir", suite.dir, *arguments]
    if user:
        command = [wrapper(suite).parent / name, *arguments]
        more.update(user=user, group=pwd.getpwnam(user).pw_gid, extra_groups=[], cwd="/")
    done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, timeout=60, **more)
    assert check is None or done.returncode == check, (arguments, done.returncode, done.stderr)
    return done


def only(suite, user, count=1):
    valija.wait_until(lambda: len(suite.delivered(user)) >= count, what="the mail")
    paths = suite.delivered(user)
    assert len(paths) == count
    return [p.read_bytes() for p in paths]


@needs_root
def test_an_unprivileged_user_submits(either):
    """The uid in Received comes from the kernel; nothing is setuid."""
    assert (wrapper(either).stat().st_mode | (either.command.parent / "sendmail").stat().st_mode) & 0o6000 == 0
    user = either.new_user()
    sendmail(either, user, user=NOBODY)
    (mail,) = only(either, user)
    uid = pwd.getpwnam(NOBODY).pw_uid
    assert f"Received: by localhost (userid {uid})".encode() in mail
    assert b"\r\nFrom: \"nobody\" <nobody@example.org>\r\n" in mail and b"\r\nMessage-ID: <" in mail and b"\r\nDate: " in mail
    assert mail.endswith(b"\r\n\r\nhello\r\n.hidden\r\nlast\r\n")
    assert mail.startswith(b"Return-Path: <nobody@example.org>\r\n")


CALLS = {
    "php": ["-t", "-i"],
    "-t after -oi": ["-oi", "-t"],
    "phpmailer": ["-oi", "-fana@example.org", "-t"],
    "mutt without a sender": ["-oem", "-oi", "--", "RECIPIENT"],
    "mutt": ["-oem", "-oi", "-f", "ana@example.org", "--", "RECIPIENT"],
    "cron": ["-FCronDaemon", "-i", "-B8BITMIME", "-oem", "RECIPIENT"],
    "anacron": ["-FAnacron", "-odi", "RECIPIENT"],
    "arpwatch": ["-odi", "RECIPIENT"],
    "fail2ban": ["-f", "ana@example.org", "RECIPIENT"],
    "git-hook": ["-t", "-f", "ana@example.org"],
    "arpwatch with a sender": ["-odi", "-f", "ana@example.org", "RECIPIENT"],
    "git-hook, glued": ["-t", "-fana@example.org"],
    "rkhunter": ["RECIPIENT"],
    "old options": ["-oQ/x", "-Am", "-h", "5", "-L", "tag", "-m", "-n", "-U", "-v", "-G", "-X/x", "-e", "m", "-bm", "RECIPIENT"],
    "dsn": ["-N", "success,failure", "-R", "hdrs", "-V", "an+id", "RECIPIENT"],
}


@pytest.mark.parametrize("call", CALLS)
def test_the_calls_of_debians_packages(suite, call):
    user = suite.new_user()
    arguments = [user if a == "RECIPIENT" else a for a in CALLS[call]]
    stdin = (b"To: " + user.encode() + b"\nBcc: " + user.encode() + b"\n" if "-t" in arguments else b"") + \
        b"Subject: Gr\xc3\xbc\xc3\x9fe\n\ntext\n"
    sendmail(suite, *arguments, stdin=stdin)
    mail = only(suite, user)[0]
    assert mail.endswith("Subject: Grüße\r\n\r\ntext\r\n".encode()) and b"\nBcc" not in mail
    if "-FCronDaemon" in arguments:
        assert b'From: "CronDaemon" <root@example.org>\r\n' in mail
    if "-f" in arguments or "-fana@example.org" in arguments:
        assert mail.startswith(b"Return-Path: <ana@example.org>\r\n")


def test_a_dot_ends_the_message_unless_told(suite):
    user = suite.new_user()
    sendmail(suite, user, stdin=b"A: b\n\none\n.\ntwo\n")
    sendmail(suite, "-i", user, stdin=b"A: b\n\none\n.\ntwo\n")
    assert sorted(m.partition(b"\r\n\r\n")[2] for m in only(suite, user, 2)) == [b"one\r\n", b"one\r\n.\r\ntwo\r\n"]


def test_exit_codes(suite):
    """sysexits, which cron, anacron and PHP look at; and nothing is sent to anybody when one is refused."""
    user = suite.new_user()
    for code, arguments in [(67, ["nobody-here@example.org"]), (67, [user, "nobody-here@example.org"]), (64, []), (65, ["-t"]),
                            (64, ["-C", "/x", user]), (64, ["-Z", user]), (64, ["-bd"]), (64, ["-R", "some", user]),
                            (64, ["-N", "sometimes", user]), (64, ["-f", "a b c", user]), (64, ["John Smith"])]:
        assert sendmail(suite, *arguments, check=None).returncode == code, arguments
    assert sendmail(suite, "-bv", user).returncode == 0
    assert sendmail(suite, "-bv", user, "nobody-here@example.org", check=None).returncode == 67
    big = b"Subject: big\n\n" + b"0123456789abcde\n" * (3500 << 10)
    assert sendmail(suite, user, stdin=big, check=None).returncode == 65
    assert suite.delivered(user) == []


def test_bs_speaks_smtp(suite):
    user = suite.new_user()
    dialogue = f"EHLO x\r\nMAIL FROM:<ana>\r\nRCPT TO:<{user}>\r\nDATA\r\n" \
        "Subject: x\r\n\r\ntext\r\n.\r\nQUIT\r\n"
    said = sendmail(suite, "-bs", stdin=dialogue.encode()).stdout
    assert re.search(rb"220 .*250 2\.1\.0 .*250 2\.1\.5 .*354 .*250 2\.0\.0 .*221 ", said, re.S)
    assert b"Return-Path: <ana@example.org>" in only(suite, user)[0]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_bs_hears_all_before_anybody_reads(suite, end):
    """Twenty thousand commands at one go, by a caller who reads nothing before he has said it all; and lines as a terminal
    has them."""
    user = suite.new_user()
    lines = [b"EHLO x", b"MAIL FROM:<ana>", *[b"RCPT TO:<%s>" % user.encode()] * 20_000, b"DATA", b"Subject: x", b"", b"text", b"..", b".", b"QUIT", b""]
    with subprocess.Popen([suite.command.parent / "sendmail", "--dir", suite.dir, "-bs"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        late = threading.Timer(50, caller.kill)
        late.start()
        caller.stdin.write(end.join(lines))     # all of it, and then the first answer is read
        caller.stdin.close()
        said = caller.stdout.read()
        late.cancel()
    assert caller.returncode == 0 and len(said) > 500_000
    assert said.count(b"\n452 4.5.3") == 19_000 and said.count(b"\n354 ") == 1 and said.rstrip().split(b"\n")[-1].startswith(b"221 ")
    assert only(suite, user)[0].endswith(b"Subject: x\r\n\r\ntext\r\n.\r\n")


def test_bs_keeps_what_is_no_line(suite):
    """A caller who knows what ends a line is judged like every client."""
    user = suite.new_user()
    said = sendmail(suite, "-bs", stdin=f"EHLO x\r\nMAIL FROM:<ana>\r\nRCPT TO:<{user}>\r\nDATA\r\n".encode() +
                    b"Subject: x\r\n\r\na\nb\r\n.\r\nQUIT\r\n").stdout
    assert b"\n550 5.6.0 " in said and b"\n221 " in said and not suite.delivered(user)


def test_q_as_the_hooks_of_interfaces_call_it(own_suite):
    """-q says nothing and succeeds, whether mail waits, is under delivery or held: what it says, cron mails."""
    suite, user = own_suite, own_suite.new_user("waits")
    suite.configure(relayhost='"[127.0.0.1]:1"', relay_loopback='"yes"')    # nobody listens there
    suite.valija("reload")
    with suite.smtp(user) as smtp:
        for n in range(2):
            smtp.sendmail(user, ["somebody@remote.example"], mails.plain(user, "somebody@remote.example", f"waits{n}"))
    for call in (["-q"], ["-q15m"], ["-q", "-v"]):
        assert not (done := sendmail(suite, *call, stdin=b"")).stdout + done.stderr, call
    # At the shell the order is told of; held mail stays as it is.
    waits = lambda: [m for m in json.loads(suite.valija("queue", "--json", "--sender", user).stdout) if m["state"] == "deferred"]
    one = valija.wait_until(lambda: len(found := waits()) == 2 and found, 10, "both to wait")[0]["message"]
    suite.valija("queue", "hold", one)
    assert one not in suite.valija("queue", "flush", "--sender", user).stdout
    valija.wait_until(lambda: len(waits()) == 1, 10, "the other to wait")
    assert not (done := sendmail(suite, "-q", stdin=b"")).stdout + done.stderr
    (held,) = [m for m in json.loads(suite.valija("queue", "--json", "--sender", user).stdout) if m["state"] == "held"]
    assert held["message"] == one
    suite.valija("queue", "delete", "--sender", user)


def test_mailq(suite):
    assert re.search(rb"Mail queue is empty|Request", sendmail(suite, "-bp").stdout)
    assert sendmail(suite, name="mailq").stdout == sendmail(suite, "-bp").stdout


def test_newaliases(own_suite):
    """As packages do it: /etc/aliases is edited, newaliases is run, and root's mail finds its reader."""
    own_suite.new_user("first")
    admin = own_suite.new_user("admin")
    sendmail(own_suite, name="newaliases")    # without any aliases it succeeds, too
    (own_suite.dir / "etc/aliases").write_text(f"# mail of root\nroot: {admin}\n")
    sendmail(own_suite, name="newaliases")
    assert f"-> mailbox example.org/{admin.partition('@')[0]}," in own_suite.valija("check", "address", "root").stdout
    sendmail(own_suite, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root")
    assert b"last" in only(own_suite, admin)[0]
    sendmail(own_suite, "-bi")


# ---- text that would become structure ----------------------------------------------------------------

@pytest.mark.parametrize("name", ["a\r\nBcc: evil@example.org", "a\nBcc: evil@example.org", 'a" <evil@example.org>, "b', "a\\",
                                  "Jos\u00e9\r\nBcc: x", "=?utf-8?q?x?=\n\n", "%n%s${run{x}}$(id)"])
def test_i7_full_name(suite, name):
    """Whatever -F holds, it stays inside one From field with one address."""
    user = suite.new_user()
    sendmail(suite, "-F", name, user)
    head = only(suite, user)[0].split(b"\r\n\r\n")[0]
    fields = re.sub(rb"\r\n[ \t]", b" ", head).split(b"\r\n")
    assert [f.split(b":")[0] for f in fields] == [b"Return-Path", b"Received", b"Message-ID", b"Date", b"From", b"Subject"]
    assert b"<root@example.org>" in fields[4] and b"evil" not in re.sub(rb'"(?:\\.|[^"\\])*"', b"", fields[4])


def test_i6_odd_recipients(suite):
    """No local part is an option, a command, or another address."""
    for recipient in [";id;", "`id`", "$(id)", "|/bin/sh", '"a\nb"', "-oX", "a\x01b"]:
        done = sendmail(suite, "--", f"{recipient}@example.org", check=None)
        assert done.returncode in (64, 65, 67), (recipient, done)
    assert sendmail(suite, "--", "-bp", check=None).returncode == 67


@needs_root
def test_l3_hostile_calls(suite):
    """What a local user can do to a program that others rely on: it is refused, or the message is whole."""
    user = suite.new_user()
    assert sendmail(suite, "-F", "x" * (1 << 16), user, check=None).returncode == 64
    env = dict(os.environ, MAIL_CONFIG="/x", VALIJA_DIR="/x", LD_DEBUG="none")
    sendmail(suite, user, env=env)
    many = [f"u{n}@example.org" for n in range(30_000)]
    assert sendmail(suite, *many, check=None).returncode == 64
    # The first of a program's descriptors must not become its output.
    for closed in ("<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        code = subprocess.run(["sh", "-c", f'"$0" --dir "$1" "$2" {closed}', str(suite.command.parent / "sendmail"), str(suite.dir),
                               user], input=MESSAGE, capture_output=True, timeout=30).returncode
        assert code == (66 if "<&-" in closed else 0)
    # No file may be written: a temporary error, and nothing in the drop.
    done = subprocess.run(["prlimit", "--fsize=1", str(suite.command.parent / "sendmail"), "--dir", str(suite.dir), user],
                          input=MESSAGE, capture_output=True, timeout=30)
    assert done.returncode == 75
    # Stopped in the middle, and killed: nothing is left, nothing is sent.
    stopped = subprocess.Popen([str(suite.command.parent / "sendmail"), "--dir", str(suite.dir), user], stdin=subprocess.PIPE)
    stopped.stdin.write(b"Subject: half\n\nhalf of it")
    stopped.stdin.flush()
    time.sleep(0.1)
    stopped.send_signal(signal.SIGSTOP)
    stopped.kill()
    stopped.wait()
    assert len(only(suite, user, 4)) == 4
    assert os.listdir(suite.dir / "state/drop") == []


@pytest.mark.parametrize("times", [40, pytest.param(1000, marks=pytest.mark.long)])
def test_l4_sigterm_at_any_moment(suite, times):
    """Whenever the signal comes, a message is there whole or not at all."""
    user = suite.new_user()
    sent = 0
    for n in range(times):
        p = subprocess.Popen([str(suite.command.parent / "sendmail"), "--dir", str(suite.dir), user], stdin=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        with open(p.stdin.fileno(), "wb", closefd=False) as pipe:
            pipe.write(MESSAGE)
        p.stdin.close()
        time.sleep(0.008 * n / times)
        p.terminate()
        sent += p.wait() == 0
    time.sleep(0.3)
    mails = [m for path in suite.delivered(user) for m in [path.read_bytes()]]
    assert len(mails) >= sent and all(m.endswith(b"hello\r\n.hidden\r\nlast\r\n") for m in mails)
    assert os.listdir(suite.dir / "state/drop") == []


# ---- while the suite is down -----------------------------------------------------------------------

@pytest.fixture(scope="module")
def down():
    """An instance of its own, with two users, that is stopped."""
    instance = valija.Instance()
    instance.ana = instance.user_add("ana")
    instance.stop()
    yield instance
    assert not instance.close()


def drop(instance):
    return instance.dir / "state/drop"


@needs_root
def test_the_drop(down):
    """While nobody answers, the message waits where only its owner and pickup reach it; what cannot be
    delivered then is told to the sender."""
    sendmail(down, "-fana", "ana", user=NOBODY)
    sendmail(down, "-fana", "ana", "nobody-here", stdin=b"Subject: half\n\nx\n")
    names = os.listdir(drop(down))
    assert len(names) == 2
    for name in names:
        st = os.stat(drop(down) / name)
        assert st.st_mode & 0o7777 == 0o640 and st.st_gid == os.stat(drop(down)).st_gid and st.st_nlink == 1
    account = pwd.getpwnam(NOBODY)
    as_nobody = {"user": NOBODY, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}
    # Others can neither list nor, knowing a name, read or remove it.
    roots = next(n for n in names if os.stat(drop(down) / n).st_uid == 0)
    for command in (["ls", drop(down)], ["cat", drop(down) / roots], ["rm", "-f", drop(down) / roots],
                    ["mv", drop(down) / roots, "/tmp"], ["ln", drop(down) / roots, drop(down) / "x"]):
        assert subprocess.run(command, capture_output=True, **as_nobody).returncode != 0, command
    down.start()
    valija.wait_until(lambda: os.listdir(drop(down)) == [], what="an empty drop")
    mails = only(down, down.ana, 3)
    assert sum(f"(userid {account.pw_uid})".encode() in m for m in mails) == 1
    (notice,) = [m for m in mails if b"Auto-Submitted: auto-replied" in m]
    assert b"nobody-here" in notice and b"Action: failed" in notice and notice.startswith(b"Return-Path: <>\r\n")
    down.stop()


def test_nobody_gets_it_twice_for_the_sake_of_a_notice(down):
    """One recipient has the message, another does not exist, and the sender cannot be told now: the file goes all the same.
    Handed in again it would come once more to whoever has it."""
    ana, ben = down.user_add("only"), down.user_add("deaf")
    sendmail(down, "-f", ben, ana, "nobody-here")
    home = down.maildir(ben).parent
    home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(down.maildir(ben), ignore_errors=True)
    down.maildir(ben).write_text("no Maildir")          # a refusal for now, whatever comes
    down.start()
    try:
        only(down, ana)
        valija.wait_until(lambda: os.listdir(drop(down)) == [], what="an empty drop")
        assert "drop-lost" in down.log() and "drop-deferred" not in down.log()
        (pickup,) = down.processes("pickup")
        os.kill(pickup["pid"], signal.SIGKILL)
        valija.wait_until(lambda: [p for p in down.processes("pickup") if p["pid"] != pickup["pid"]], what="another pickup")
        sendmail(down, "-f", ana, ana, stdin=b"Subject: behind it\n\nlast\n")
        assert sum(b"from a program" in mail for mail in only(down, ana, 2)) == 1
    finally:
        down.stop()


@needs_root
def test_f1_what_users_plant_in_the_drop(down):
    """Links to others' files, pipes, directories, others' files moved there: removed or left alone,
    never read, never waited for; and mail goes on."""
    secret = down.tmp / "secret"
    secret.write_text("a secret of root")
    secret.chmod(0o644)
    # A file of root's in a directory of nobody's, which nobody may rename.
    trap = down.tmp / "trap"
    trap.mkdir()
    os.chown(trap, pwd.getpwnam(NOBODY).pw_uid, -1)
    foot = b"2:Sa,17:Rana@example.org,"
    (trap / "log").write_bytes(b"Subject: forged\r\n\r\nx\r\n" + foot + b"valija-drop-1 %010d\n" % len(foot))
    there = f"""
        ln -s {secret} {drop(down)}/link; mkfifo {drop(down)}/pipe; mkdir {drop(down)}/directory
        ln {secret} {drop(down)}/hard; mv {trap}/log {drop(down)}/moved; echo x >{drop(down)}/text
        printf 'Subject: x\\r\\n\\r\\n{foot.decode()}valija-drop-1 0000000025\\n' >{drop(down)}/group; chmod 600 {drop(down)}/group
        python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('{drop(down)}/socket')"
    """
    account = pwd.getpwnam(NOBODY)
    subprocess.run(["sh", "-c", there], user=NOBODY, group=account.pw_gid, extra_groups=[], cwd="/", stderr=subprocess.DEVNULL)
    assert os.path.lexists(drop(down) / "moved") and os.path.lexists(drop(down) / "pipe")
    before = len(down.delivered(down.ana))
    sendmail(down, "ana")
    down.start()
    only(down, down.ana, before + 1)
    valija.wait_until(lambda: os.listdir(drop(down)) == [], what="an empty drop")
    assert secret.read_text() == "a secret of root" and not any(b"forged" in p.read_bytes() for p in down.delivered(down.ana))
    log = down.log()
    for name in ("link", "pipe", "directory", "moved", "text", "group"):
        assert re.search(rf"drop-refused uid=\d+ file={name} reason=", log), name
    assert all(p["restarts"] == 0 for p in down.status())
    down.stop()


@needs_root
def test_a_full_disk(down):
    """75, and nothing is left, whichever octet did not fit."""
    small = down.tmp / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=3773", "tmpfs", small], check=True)
    subprocess.run(["mount", "--bind", small, drop(down)], check=True)
    try:
        for size in (10, 60_000, 65_500, 65_536, 200_000):
            done = sendmail(down, "ana", stdin=b"Subject: x\n\n" + b"x" * size + b"\n", check=None)
            left = os.listdir(drop(down))
            assert (done.returncode, len(left)) in ((0, 1), (75, 0)), (size, done, left)
            assert size < 65_000 or done.returncode == 75
            assert done.returncode == 0 or b"No space" in done.stderr
            for name in left:
                os.unlink(drop(down) / name)
    finally:
        subprocess.run(["umount", drop(down)], check=True)
        subprocess.run(["umount", small], check=True)


@needs_root
@pytest.mark.parametrize("program", ["mailx", "git", "php", "python", "cron"])
def test_programs(suite, program, tmp_path):
    """Real programs with our sendmail."""
    user = suite.new_user()
    ours = wrapper(suite)
    open_place = suite.tmp / "open"
    open_place.mkdir(exist_ok=True)
    open_place.chmod(0o1777)
    as_nobody = {"user": NOBODY, "group": pwd.getpwnam(NOBODY).pw_gid, "extra_groups": [], "cwd": "/", "timeout": 60,
                 "capture_output": True, "env": {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", "TMPDIR": str(open_place)}}
    if program == "mailx":
        done = subprocess.run(["s-nail", "-:/", "-Sv15-compat", f"-Smta=file://{ours}", "-s", "Grüße", user], input=b"text\n", **as_nobody)
    elif program == "python":
        code = ("import subprocess, email.message as e, sys; m = e.EmailMessage(); m['To'] = sys.argv[2]; m['Subject'] = 'Grüße';"
                "m.set_content('text'); subprocess.run([sys.argv[1], '-t', '-oi'], input=m.as_bytes(), check=True)")
        done = subprocess.run(["python3", "-c", code, ours, user], **as_nobody)
    elif program == "php":
        code = "exit(mail($argv[1], 'Subject', \"text\\nmore\", \"X-A: b\\r\\nX-C: d\", '-fana@example.org') ? 0 : 1);"
        done = subprocess.run(["php", "-d", f"sendmail_path={ours} -t -i", "-r", code, "--", user], **as_nobody)
    elif program == "git":
        repository = tmp_path / "repository"
        git = ["git", "-C", str(repository), "-c", "user.name=Ana", "-c", "user.email=ana@example.org"]
        subprocess.run(["git", "init", "-q", str(repository)], check=True)
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
        (repository / "file").write_text("text\n")
        subprocess.run([*git, "add", "file"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "text"], check=True)
        if subprocess.run(["git", "send-email", "-h"], capture_output=True).stderr.startswith(b"git: 'send-email'"):
            pytest.skip("git send-email is not installed (package git-email)")
        done = subprocess.run([*git, "send-email", "--quiet", "--confirm=never", "--suppress-cc=all", f"--smtp-server={ours}", f"--to={user}", "-1"],
                              capture_output=True, timeout=60)
    else:
        # What Debian's cron writes to its mailer, with the arguments it gives.
        head = f"From: root (Cron Daemon)\nTo: {user}\nSubject: Cron <root@host> true\nMIME-Version: 1.0\n" \
               "Content-Type: text/plain; charset=UTF-8\nAuto-Submitted: auto-generated\nX-Cron-Env: <SHELL=/bin/sh>\n\n"
        done = sendmail(suite, "-FCronDaemon", "-i", "-B8BITMIME", "-oem", user, stdin=head.encode() + b"text\rmore\n", user=NOBODY)
    assert done.returncode == 0, done
    mail = only(suite, user)[0]
    assert b"text" in mail and b"\n" not in mail.replace(b"\r\n", b"") and b"\r" not in mail.replace(b"\r\n", b"")
    if program == "cron":
        assert b"\r\nFrom: root@example.org (Cron Daemon)\r\n" in mail
