"""cache_at_delivery: what clients ask for first is there when they come, and nothing of it can hurt anybody."""

import os
import pathlib
import pwd
import random
import smtplib

import pytest

import mails
import valija
from test_delivery import file_system, needs_mount

ITEMS = "(UID ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (FROM TO CC SUBJECT DATE)])"


@pytest.fixture(scope="module")
def filling():
    with valija.Instance(settings={"cache_at_delivery": "yes", "imap_linger_seconds": 0}) as instance:
        yield instance


def leave(suite, imap, user):
    imap.logout()
    valija.wait_until(lambda: not suite.processes("imap"), 10, f"the end of {user}'s imap")


def look(suite, user, folder="INBOX", items=ITEMS):
    """What one client hears, and nobody is there afterwards."""
    imap = suite.imap(user)
    imap.select(folder)
    kind, answer = imap.fetch("1:*", items)
    assert kind == "OK", suite.log_tail(5)
    leave(suite, imap, user)
    return answer


def reader(suite, folder=None):
    """A user whose client has asked for everything once."""
    user = suite.new_user("reader")
    to = user if folder is None else user.replace("@", f"+{folder}@")
    if folder:
        imap = suite.imap(user)
        imap.create(folder)
        imap.logout()
    suite.receive("a@far.example", [to], mails.plain("a@far.example", to, "first"))
    look(suite, user, folder or "INBOX")
    return user


def files(suite, user):
    return list(suite.maildir(user).glob("valija/*/filled"))


def filled(suite, user):
    """How many records wait."""
    return sum(path.read_bytes().count(b",W=") for path in files(suite, user))


def send(suite, user, count, to=None):
    """Messages of two kinds; returns when they are filled too."""
    with suite.smtp(service="smtp") as smtp:
        for n in range(count):
            make = mails.with_attachment if n % 2 else mails.plain
            smtp.sendmail("a@far.example", [to or user], make("a@far.example", user))


def await_filled(suite, user, count):
    valija.wait_until(lambda: filled(suite, user) == count, 10, f"{count} records")


def unreadable(suite, user):
    """The messages that came since cannot be opened by anybody of the suite; returns what makes them whole again."""
    paths = sorted(suite.maildir(user).glob("**/new/*"))
    for path in paths:
        path.chmod(0)
    names = {path.name for path in paths}

    def mend():
        for path in suite.maildir(user).glob("**/cur/*"):
            if path.name.partition(":")[0] in names:
                path.chmod(0o600)
    return mend


def forget_cache(suite, user):
    for path in suite.maildir(user).glob("valija/*/cache"):
        path.unlink()


@pytest.mark.parametrize("folder", [None, "Sub"])
def test_answered_without_the_messages(filling, folder):
    """Delivered while nobody is there: the answers come from the cache, and are those of the messages."""
    user = reader(filling, folder)
    send(filling, user, 8, user.replace("@", f"+{folder}@") if folder else None)
    await_filled(filling, user, 8)
    mend = unreadable(filling, user)
    told = look(filling, user, folder or "INBOX")
    assert len(told) > 8 and b"BODYSTRUCTURE" in b"".join(part for one in told for part in (one if isinstance(one, tuple) else (one,)))
    assert not files(filling, user)
    imap = filling.imap(user)
    imap.select(folder or "INBOX", readonly=True)
    kind, answer = imap.fetch("9", "(BODY.PEEK[TEXT])")       # the proof: they really cannot be read
    assert kind == "NO" or not isinstance(answer[0], tuple)
    leave(filling, imap, user)
    mend()
    assert look(filling, user, folder or "INBOX") == told
    forget_cache(filling, user)
    assert look(filling, user, folder or "INBOX") == told


def test_charsets_that_need_files_do_not_end_gist(filling):
    """PREVIEW of a text in KOI8-R needs a converter, which gist cannot open: it leaves that to imap, and goes on."""
    user = filling.new_user("reader")
    filling.receive("a@far.example", [user], mails.plain("a@far.example", user, "first"))
    look(filling, user, items="(ENVELOPE PREVIEW)")
    before = filling.processes("gist")[0]["pid"]
    koi = "Content-Type: text/plain; charset=koi8-r\r\nSubject: r\r\n\r\nпривет\r\n".encode("koi8-r")
    filling.receive("a@far.example", [user], koi)
    large = mails.with_attachment("a@far.example", user, size=5000000)
    filling.receive("a@far.example", [user], large)
    await_filled(filling, user, 2)
    told = look(filling, user, items="(PREVIEW)")
    assert "привет".encode() in b"".join(part for one in told for part in (one if isinstance(one, tuple) else (one,)))
    assert filling.processes("gist")[0]["pid"] == before


def test_by_the_queue_too(filling):
    """A copy, with the lines that delivery puts on top of it."""
    user = reader(filling)
    with filling.smtp(user) as smtp:
        smtp.sendmail(user, [user, "somebody@nowhere.example"], mails.plain(user, user, "copied"))
    await_filled(filling, user, 1)
    mend = unreadable(filling, user)
    told = look(filling, user)
    mend()
    forget_cache(filling, user)
    assert look(filling, user) == told


def test_who_never_asked_has_no_file(filling):
    user = filling.new_user("quiet")
    send(filling, user, 2)
    other = reader(filling)
    send(filling, other, 1)
    await_filled(filling, other, 1)                           # by then the first ones' turn has been
    assert not files(filling, user)


@pytest.mark.parametrize("harm", ["damaged", "cut", "empty", "noise", "hole", "link", "fifo", "directory"])
def test_i4_a_harmed_file_is_as_none(filling, harm):
    user = reader(filling)
    send(filling, user, 3)
    await_filled(filling, user, 3)
    (path,) = files(filling, user)
    outside = filling.tmp / "outside"
    outside.write_bytes(b"outside")
    whole = path.read_bytes()
    if harm in ("link", "fifo", "directory"):
        path.unlink()
        {"link": lambda: path.symlink_to(outside), "fifo": lambda: os.mkfifo(path), "directory": path.mkdir}[harm]()
    elif harm == "hole":
        os.truncate(path, 1 << 40)
    else:
        path.write_bytes({"damaged": whole[:100] + bytes([whole[100] ^ 1]) + whole[101:], "cut": whole[:-9], "empty": b"",
                          "noise": random.Random(3).randbytes(5000)}[harm])
    send(filling, user, 1)                                    # delivered all the same
    told = look(filling, user)
    assert harm == "directory" or not files(filling, user)
    assert outside.read_bytes() == b"outside"
    forget_cache(filling, user)
    assert look(filling, user) == told
    assert len(filling.delivered(user)) == 5


def test_a_full_disk(filling):
    """What fits is delivered, what does not is refused, whatever happens to the file beside the cache."""
    needs_mount()
    user = reader(filling)
    box = filling.maildir(user)
    keep = filling.tmp / "keep"
    valija.run(["cp", "-a", box, keep])
    with file_system(box, "300k", box.stat()):
        valija.run(["cp", "-a", f"{keep}/.", box])
        refused, sent = 0, 1
        for n in range(60):
            try:
                filling.receive("a@far.example", [user], mails.plain("a@far.example", user, f"n{n}", size=6000))
                sent += 1
            except smtplib.SMTPDataError as error:
                assert error.smtp_code == 452, error
                refused += 1
        assert refused and sent > 5
        told = look(filling, user, items="(ENVELOPE)")
        assert len(told) == sent == len(filling.delivered(user))
        # Room again, and everything as the messages say.
        for path in filling.delivered(user)[:10]:
            path.unlink()
        told = look(filling, user, items="(ENVELOPE)")
        assert len(told) == sent - 10
        forget_cache(filling, user)
        assert look(filling, user, items="(ENVELOPE)") == told
    valija.run(["rm", "-rf", keep])


def test_killed_in_the_middle(filling):
    """local and gist die under way: what was acknowledged is there, and is what is answered."""
    user = reader(filling)
    chance, sent = random.Random(5), 1
    with filling.smtp(service="smtp") as smtp:
        for n in range(40):
            if n % 3 == 0:
                for process in filling.processes(chance.choice(("local", "gist"))):
                    filling.kill(process)
            try:
                smtp.sendmail("a@far.example", [user], mails.plain("a@far.example", user, f"k{n}"))
                sent += 1
            except smtplib.SMTPResponseException as error:
                assert 400 <= error.smtp_code < 500, error
            except smtplib.SMTPRecipientsRefused as error:
                assert all(400 <= code < 500 for code, _ in error.recipients.values()), error
    valija.wait_until(lambda: filling.processes("gist") and filling.processes("local"), 10, "their successors")
    assert sent <= len(filling.delivered(user))               # at worst one is there twice
    told = look(filling, user)
    forget_cache(filling, user)
    assert look(filling, user) == told
    send(filling, user, 2)
    await_filled(filling, user, 2)


def test_gist_keeps_nothing(filling):
    """Its row in ARCHITECTURE: _imapd, an empty root, no capability, filtered, and no channel but to those who deliver."""
    (told,) = filling.processes("gist")
    kernel = valija.proc_status(told["pid"])
    assert all(int(kernel[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    assert kernel["Seccomp"].strip() == "2" and kernel["NoNewPrivs"].strip() == "1"
    if os.getuid() == 0:
        assert int(kernel["Uid"].split()[0]) == pwd.getpwnam("_imapd").pw_uid
        assert os.readlink(f"/proc/{told['pid']}/root") == str(filling.dir / "run/empty")
        for link in pathlib.Path(f"/proc/{told['pid']}/fd").iterdir():
            assert str(filling.dir / "mail") not in os.readlink(link)


def test_it_is_off_unless_asked_for(suite):
    user = suite.new_user("off")
    send(suite, user, 1)
    imap = suite.imap(user)
    imap.select("INBOX")
    imap.fetch("1:*", ITEMS)
    imap.logout()
    send(suite, user, 1)
    assert not suite.processes("gist") and not files(suite, user)


def test_a_reload_switches_it(filling):
    user = reader(filling)
    filling.configure(cache_at_delivery="no")
    filling.valija("reload")
    valija.wait_until(lambda: not filling.processes("gist"), 10, "the end of gist")
    send(filling, user, 1)
    assert not files(filling, user)
    filling.configure(cache_at_delivery="yes")
    filling.valija("reload")
    valija.wait_until(lambda: filling.processes("gist"), 10, "gist")
    send(filling, user, 1)
    await_filled(filling, user, 1)
