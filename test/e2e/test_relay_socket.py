"""lmtp:unix:/SOCKET: master connects to the sockets that lmtp_sockets names, and to no others; one reply for each recipient;
servers that die or are away. And lmtp to HOST:PORT."""

import os
import re
import shutil
import tempfile

import pytest

import mails
import peer
import valija

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="relay's user is another one only where root starts Valija")


STAGES = ["greeting", "ehlo", "mail", "rcpt", "data", "end"]


@pytest.fixture(scope="module")
def world():
    place = tempfile.mkdtemp(prefix="valija-lmtp-", dir="/tmp")
    os.chmod(place, 0o755)
    names = {n: f"{place}/{n}" for n in ("one", "One", *STAGES, "absent", "private/shut", "unnamed", "linked")}
    listed = ", ".join(f'"{p}"' for n, p in names.items() if n != "unnamed")
    with valija.Instance(settings={"lmtp_sockets": f"{{{listed}}}", "relay_loopback": "yes", "relay_reply_seconds": "5"}) as suite:
        yield suite, names, suite.new_user("sender")
        assert not [p for p in suite.status() if p["restarts"]], suite.log_tail(60)
    shutil.rmtree(place)


def transport(suite, *lines):
    table = suite.conf.parent / "transport"
    table.write_text("".join(f"{line}\n" for line in lines))
    suite.valija("map", "transport")


def send(suite, user, *recipients):
    before = len(re.findall(r": accepted .*?message=(\w+)", suite.log()))
    with suite.smtp(user) as smtp:
        smtp.sendmail(user, list(recipients), mails.plain(user, recipients[0], "by a socket"))
    return valija.wait_until(lambda: re.findall(r": accepted .*?message=(\w+)", suite.log())[before:], 5, "its id")[-1]


def outcome(suite, message, count=1):
    def told():
        lines = [l for l in suite.log().splitlines() if f"message={message}" in l and re.search(r": (?:not-)?delivered ", l)]
        return len(lines) >= count and lines
    lines = valija.wait_until(told, 10, f"an outcome of {message}")
    found = [dict((k, v.strip('"')) for k, v in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', l)) for l in lines]
    return sorted(found, key=lambda f: f["to"])


def test_each_recipient_has_its_own_reply(world):
    suite, names, user = world
    transport(suite, f"box.example lmtp:unix:{names['one']}", f"Box2.example lmtp:unix:{names['One']}")
    replies = {"a": "250 2.1.5 in", "b": "550 5.2.1 shut", "c": "452 4.2.2 full"}
    answer = lambda line: next(r for who, r in replies.items() if f"<{who}@" in line)
    with peer.Peer(path=names["one"], lmtp=True, answers={"end": answer}) as there, peer.Peer(path=names["One"], lmtp=True) as other:
        told = outcome(suite, send(suite, user, "a@box.example", "b@box.example", "c@box.example"), 3)
        assert [(t["status"], t["dsn"]) for t in told] == [("sent", "2.1.5"), ("bounced", "5.2.1"), ("deferred", "4.2.2")]
        assert told[0]["relay"] == names["one"]
        assert there.commands[0].startswith("LHLO ")
        # Names of files differ where they differ in case alone, also for the connection that is kept.
        for _ in range(2):
            assert outcome(suite, send(suite, user, "d@box2.example"))[0]["relay"] == names["One"]
        assert len(other.messages) == 2 and other.connections == 1


@pytest.mark.parametrize("stage", STAGES)
def test_a_server_that_dies(world, stage):
    suite, names, user = world
    transport(suite, f"{stage}.example lmtp:unix:{names[stage]}")
    with peer.Peer(path=names[stage], lmtp=True, answers={stage: None}) as there:
        told = outcome(suite, send(suite, user, f"x@{stage}.example"))[0]
        assert (told["status"], told["dsn"]) == ("deferred", "4.4.2") and not there.messages


def test_nobody_listens(world):
    suite, names, user = world
    transport(suite, f"absent.example lmtp:unix:{names['absent']}")
    told = outcome(suite, send(suite, user, "x@absent.example"))[0]
    assert (told["status"], told["dsn"]) == ("deferred", "4.4.1") and "No such file" in told["reason"]


def test_a_socket_that_the_configuration_does_not_name(world):
    """The table alone opens no socket; valija check address says why."""
    suite, names, user = world
    with peer.Peer(path=names["unnamed"], lmtp=True) as there:
        transport(suite, f"unnamed.example lmtp:unix:{names['unnamed']}")
        with suite.smtp(user) as smtp:
            smtp.ehlo()
            smtp.mail(user)
            assert smtp.rcpt("x@unnamed.example")[0] == 451
        valija.wait_until(lambda: "lmtp_sockets does not name this socket" in suite.log(), what="the log")
        assert there.connections == 0


@needs_root
def test_master_connects_as_the_user_of_relay(world):
    """A link that the owner of a directory plants leads no further than relay's user may go."""
    suite, names, user = world
    if suite.as_user:
        pytest.skip("not started by root")
    os.makedirs(os.path.dirname(names["private/shut"]), mode=0o700, exist_ok=True)
    os.symlink(names["private/shut"], names["linked"])
    with peer.Peer(path=names["private/shut"], lmtp=True) as there:
        transport(suite, f"shut.example lmtp:unix:{names['private/shut']}", f"linked.example lmtp:unix:{names['linked']}")
        for domain in ("shut.example", "linked.example"):
            told = outcome(suite, send(suite, user, f"x@{domain}"))[0]
            assert (told["status"], told["dsn"]) == ("deferred", "4.4.1") and "Permission denied" in told["reason"]
        assert there.connections == 0
    status = valija.proc_status(suite.master_pid())
    assert set(status["Uid"].split()) == {"0"} and status["CapEff"] == status["CapPrm"]


def test_lmtp_by_address(world):
    suite, _, user = world
    with peer.Peer(lmtp=True, answers={"end": lambda line: "550 5.2.1 shut" if "<b@" in line else ...}) as there:
        transport(suite, f"port.example lmtp:127.0.0.1:{there.port}")
        told = outcome(suite, send(suite, user, "a@port.example", "b@port.example"), 2)
        assert [t["status"] for t in told] == ["sent", "bounced"] and there.commands[0].startswith("LHLO ")


def test_mistakes_in_the_list(world):
    suite, names, _ = world
    for wrong in ("relative/socket", "/" + 107 * "a"):
        suite.configure(lmtp_sockets=f'{{"{wrong}"}}')
        done = suite.valija("check", check=False)
        assert done.returncode != 0 and "lmtp_sockets" in done.stdout + done.stderr
    suite.configure(lmtp_sockets=f'{{"/{106 * "a"}"}}')
    suite.valija("check")
