"""Quota as an IMAP client sees it: told, enforced in APPEND, MULTIAPPEND and COPY, given back by EXPUNGE and DELETE; new
limits reach a session that is there."""

import re


def message(size):
    head = b"Subject: q\r\n\r\n"
    return head + b"x" * (size - len(head) - 2) + b"\r\n"


def usage(imap):
    """{resource: (used, most)} of GETQUOTAROOT INBOX."""
    done, said = imap.getquotaroot("INBOX")
    assert done == "OK"
    text = b" ".join(said[1]).decode() if said[1] and said[1][0] else ""
    return {m[1]: (int(m[2]), int(m[3])) for m in re.finditer(r"([A-Z]+) (\d+) (\d+)", text)}


def append(imap, folder, *sizes):
    """The tagged answer to APPEND of so many messages."""
    tag = imap._new_tag()
    imap.send(tag + b" APPEND " + folder.encode() + b"".join(b" {%d+}\r\n%s" % (s, message(s)) for s in sizes) + b"\r\n")
    line = imap.readline()
    while not line.startswith(tag):
        line = imap.readline()
    return line[len(tag) + 1:].decode()


def test_quota(suite):
    user = suite.new_user("limits")
    with suite.imap(user=user) as imap:
        assert usage(imap) == {}
        # The limits reach a session that is there.
        suite.valija("user", "quota", user, "10K", "--messages", "5")
        assert usage(imap) == {"STORAGE": (0, 10), "MESSAGE": (0, 5)}
        assert append(imap, "INBOX", 4096).startswith("OK [APPENDUID")
        assert usage(imap) == {"STORAGE": (4, 10), "MESSAGE": (1, 5)}
        # Refused when it is announced, before a byte of it was sent.
        tag = imap._new_tag()
        imap.send(tag + b" APPEND INBOX {7000}\r\n")
        assert imap.readline().startswith(tag + b" NO [OVERQUOTA]")
        assert append(imap, "INBOX", 3000, 3000, 3000).startswith("NO [OVERQUOTA]")   # all, or none
        assert usage(imap)["MESSAGE"] == (1, 5)
        assert append(imap, "INBOX", 100, 100, 100).startswith("OK")
        assert usage(imap) == {"STORAGE": (5, 10), "MESSAGE": (4, 5)}
        imap.select("INBOX")
        done, said = imap.copy("1:2", "Trash")
        assert done == "NO" and b"[OVERQUOTA]" in said[0]
        assert imap.copy("1", "Trash")[0] == "OK"
        assert usage(imap) == {"STORAGE": (9, 10), "MESSAGE": (5, 5)}
        # What is moved takes no more room; what is marked deleted still does; what is expunged does not.
        assert imap._simple_command("MOVE", "2", "Trash")[0] == "OK"
        assert usage(imap) == {"STORAGE": (9, 10), "MESSAGE": (5, 5)}
        imap.store("1", "+FLAGS", "(\\Deleted)")
        assert usage(imap)["MESSAGE"] == (5, 5)
        imap.expunge()
        assert usage(imap) == {"STORAGE": (5, 10), "MESSAGE": (4, 5)}
        assert (suite.maildir(user) / "maildirsize").read_text() == f"10240S,5C\n{4096 + 300} 4\n"
        # A folder that goes, with all that is in it.
        imap.create("Old")
        assert append(imap, "Old", 1000).startswith("OK")
        assert usage(imap)["MESSAGE"] == (5, 5)
        assert imap.delete("Old")[0] == "OK"
        assert usage(imap) == {"STORAGE": (5, 10), "MESSAGE": (4, 5)}
        # Delivery counts in the same file.
        suite.receive("a@elsewhere.example", [user], b"Subject: one\r\n\r\nx\r\n")
        assert usage(imap)["MESSAGE"] == (5, 5)
        suite.valija("user", "quota", user, "none", "--messages", "none")
        assert usage(imap) == {}
        assert append(imap, "INBOX", 50000).startswith("OK")


def test_replace_counts_what_goes(suite):
    """RFC 8508 3.4: only what REPLACE adds counts; who has too much already may replace it by as much, and no more."""
    user = suite.new_user("limits")
    with suite.imap(user=user) as imap:
        assert append(imap, "INBOX", 4000, 4000).startswith("OK")

        def replace(size):
            imap.select("INBOX")
            tag = imap._new_tag()
            imap.send(tag + b" REPLACE 1 INBOX {%d+}\r\n%s\r\n" % (size, message(size)))
            line = imap.readline()
            while not line.startswith(tag):
                line = imap.readline()
            return line[len(tag) + 1:].decode()
        suite.valija("user", "quota", user, "6000", "--messages", "1")
        assert replace(4001).startswith("NO [OVERQUOTA]")
        for size in (4000, 4000, 3000, 3000):
            assert replace(size).startswith("OK"), size
        assert usage(imap) == {"STORAGE": (6, 5), "MESSAGE": (2, 1)}
        suite.valija("user", "quota", user, "8000", "--messages", "1")
        assert replace(4500).startswith("OK")       # one message more than allowed, as before
        assert append(imap, "INBOX", 100).startswith("NO [OVERQUOTA]")


def test_quota_of_the_next_login(suite):
    """A limit that was set while nobody was there counts, too, and what another program put in is seen."""
    user = suite.new_user("limits")
    suite.valija("user", "quota", user, "5000")
    for _ in range(2):
        suite.receive("a@elsewhere.example", [user], message(2000))
    with suite.imap(user=user) as imap:
        used, most = usage(imap)["STORAGE"]
        assert used in (4, 5) and most == 4     # units of 1024 octets
        assert imap.getquota("elsewhere")[0] == "NO"
        assert append(imap, "INBOX", 1500).startswith("NO [OVERQUOTA]")
