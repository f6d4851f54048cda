"""Runs inside a guest whose clock may be set (test_clock.py): prints a line for each thing that works."""

import imaplib
import json
import os
import pathlib
import smtplib
import ssl
import sys
import time
import traceback

import mails
import valija

DAY = 86400
failed = 0


def check(name):
    def run(test):
        global failed
        try:
            test()
            print(f"GUEST ok {name}", flush=True)
        except BaseException:
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print(f"GUEST failed {name}", flush=True)
        return test
    return run


def jump(seconds):
    """init sets the clock as the file says, and removes it."""
    before = time.time()
    pathlib.Path("/tmp/jump.new").write_text(str(int(before) + seconds))
    os.rename("/tmp/jump.new", "/tmp/jump")
    valija.wait_until(lambda: not os.path.exists("/tmp/jump"), 60, "the clock", 0.2)
    assert abs(time.time() - before - seconds) < 100


def context():
    """Certificates that are of no day yet are none of our matter here."""
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def flows(word, to):
    """Mail goes in, and for users here it can be read."""
    smtp = smtplib.SMTP_SSL("127.0.0.1", suite.port("submissions"), timeout=120, context=context())
    smtp.login(user, suite.passwords[user])
    smtp.sendmail(user, [to], mails.plain(user, to, word))
    smtp.quit()
    if to == user:
        box = imaplib.IMAP4_SSL("127.0.0.1", suite.port("imaps"), ssl_context=context(), timeout=120)
        box.login(user, suite.passwords[user])
        box.select("INBOX")
        assert len(box.search(None, "SUBJECT", word)[1][0].split()) == 1
        box.logout()


def listed():
    return json.loads(suite.valija("queue", "list", "--json", seconds=200).stdout)


def tries():
    return suite.log().count("status=deferred")


with valija.Instance(settings={"queue_days": 1, "delay_warning_hours": 0}) as suite:
    user = suite.new_user("guest")
    (suite.conf.parent / "transport").write_text("far.example smtp:[127.0.0.1]:1\n")
    suite.valija("map", "transport", seconds=200)
    flows("before", "x@far.example")
    valija.wait_until(tries, 60, "the first try")

    for n, (name, seconds) in enumerate([("a day on", DAY), ("two days back", -2 * DAY), ("a year on", 366 * DAY)]):
        @check(f"{name}: mail flows, what waits still waits, and nobody tries without pause")
        def _():
            jump(seconds)
            before = tries()
            valija.wait_until(lambda: suite.log().count("clock-was-set") == n + 1, 60, "a word about it", 0.5)
            suite.valija("queue", "retry", "--all", seconds=200)
            valija.wait_until(lambda: tries() > before, 60, "a try", 0.5)
            flows(f"word{n}", user)
            time.sleep(5)
            assert tries() <= before + 2, tries() - before
            assert [m["state"] for m in listed()] == ["deferred"]
            assert len(suite.delivered(user)) == n + 1, "a report"

    if failed:
        print(suite.log()[-6000:])
    died = [p for p in suite.status() if p["restarts"]]
    print("GUEST", "failed" if died else "ok", "nobody died", died, flush=True)
print("GUEST end", flush=True)
