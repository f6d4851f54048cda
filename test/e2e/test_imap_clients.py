"""IMAP clients of people and of scripts, each doing what it is for; and three that synchronise one mailbox at once. Long."""

import json
import os
import shlex
import shutil
import subprocess
import threading

import pytest

import mails
import valija

pytestmark = pytest.mark.long


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} here")


def home(tmp):
    return dict(os.environ, HOME=str(tmp), TERM="xterm", LC_ALL="C.UTF-8", COLUMNS="100", LINES="30")


def write(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def reader(suite):
    """A user with three messages, one of them flagged."""
    user = suite.new_user("reader")
    for n in range(3):
        suite.receive("a@elsewhere.example", [user], mails.plain("a@elsewhere.example", user, f"number {n}"))
    with suite.imap(user) as imap:
        imap.select("INBOX")
        imap.store("2", "+FLAGS", "(\\Flagged)")
    return user


@needs("fetchmail")
def test_fetchmail(suite, reader, tmp_path):
    """Takes all mail by IMAP and hands it to a program; on the server it is gone."""
    out = tmp_path / "got"
    out.mkdir()
    rc = write(tmp_path / "fetchmailrc",
               f'poll {suite.host} service {suite.port("imaps")} proto imap user "{reader}" password "{suite.passwords[reader]}" '
               f'ssl sslcertck sslcertfile "{suite.cafile}" fetchall nokeep mda "sh -c \'cat > {out}/$$\'"\n')
    done = subprocess.run(["fetchmail", "-f", rc, "--nosyslog", "--pidfile", tmp_path / "pid"], env=home(tmp_path), timeout=60,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.iterdir())) == 3
    assert all(any(f"number {n}" in p.read_text() for p in out.iterdir()) for n in range(3))
    with suite.imap(reader) as imap:
        assert imap.select("INBOX")[1] == [b"0"]


@needs("getmail")
def test_getmail(suite, reader, tmp_path):
    """To a program, which gets all of it; the second time there is nothing new."""
    out = tmp_path / "got"
    out.mkdir()
    script = write(tmp_path / "deliver", f"#!/bin/sh\ncat > {out}/$$\n")
    script.chmod(0o700)
    write(tmp_path / "getmailrc",
          f"[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = {suite.host}\nport = {suite.port('imaps')}\nusername = {reader}\n"
          f"password = {suite.passwords[reader]}\nmailboxes = ('INBOX',)\nca_certs = {suite.cafile}\n\n"
          f"[destination]\ntype = MDA_external\npath = {script}\nallow_root_commands = true\nunixfrom = false\n\n[options]\nread_all = false\ndelivered_to = false\nreceived = false\n")
    for _ in range(2):
        done = subprocess.run(["getmail", "--getmaildir", tmp_path, "--rcfile", "getmailrc"], env=home(tmp_path), timeout=60,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(list(out.iterdir())) == 3


@needs("offlineimap")
def test_offlineimap(suite, reader, tmp_path):
    """Both ways: what is on the server, then what was changed and added on the other side."""
    box = tmp_path / "mail"
    rc = write(tmp_path / "offlineimaprc",
               f"[general]\naccounts = a\nmetadata = {tmp_path}/meta\nui = quiet\n[Account a]\nlocalrepository = l\n"
               f"remoterepository = r\n[Repository l]\ntype = Maildir\nlocalfolders = {box}\n[Repository r]\ntype = IMAP\n"
               f"remotehost = {suite.host}\nremoteport = {suite.port('imaps')}\nremoteuser = {reader}\n"
               f"remotepass = {suite.passwords[reader]}\nssl = yes\nsslcacertfile = {suite.cafile}\n")

    def sync():
        done = subprocess.run(["offlineimap", "-o", "-c", rc], env=home(tmp_path), timeout=90, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    sync()
    files = [p for part in ("new", "cur") for p in (box / "INBOX" / part).glob("*")]
    assert len(files) == 3 and sum("F" in p.name.partition(":2,")[2] for p in files) == 1
    assert {"Sent", "Drafts", "Trash"} <= {p.name for p in box.iterdir()}
    (box / "INBOX/new/1700000000.M1P1.here").write_bytes(b"Subject: pushed\nFrom: <a@b.c>\n\nhello\n")
    next(p for p in files if "F" not in p.name.partition(":2,")[2]).unlink()
    sync()
    with suite.imap(reader) as imap:
        imap.select("INBOX")
        assert len(imap.search(None, "SUBJECT", "pushed")[1][0].split()) == 1
        assert len(imap.search(None, "ALL")[1][0].split()) == 3


@needs("imapfilter")
def test_imapfilter(suite, reader, tmp_path):
    """A filter in Lua: searches, marks, makes a mailbox, moves."""
    write(tmp_path / "config.lua",
          f'options.timeout = 30\noptions.create = true\noptions.certificates = false\n'
          f'a = IMAP {{ server = "{suite.host}", port = {suite.port("imaps")}, username = "{reader}", '
          f'password = "{suite.passwords[reader]}", ssl = "auto" }}\n'
          'found = a.INBOX:contain_subject("number 1")\nfound:mark_seen()\na:create_mailbox("Filtered")\n'
          'found:move_messages(a["Filtered"])\na.INBOX:is_flagged():unmark_flagged()\n')
    done = subprocess.run(["imapfilter", "-c", tmp_path / "config.lua", "-t", suite.cafile], env=home(tmp_path), timeout=60,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    with suite.imap(reader) as imap:
        assert imap.select("INBOX")[1] == [b"2"]
        assert imap.search(None, "FLAGGED")[1] == [b""]
        assert imap.select("Filtered")[1] == [b"1"]
        assert imap.search(None, "SEEN", "SUBJECT", '"number 1"')[1] == [b"1"]


@needs("imapfilter")
def test_imapfilter_between_users(suite, reader, tmp_path):
    """From another's mailbox to one's own, and the other way."""
    ana = suite.new_user("ana")
    with suite.imap(ana) as imap:
        imap.create("Work")
        for n in range(2):
            imap.append("Work", "(\\Flagged)", None, f"Subject: hers {n}\r\n\r\nx\r\n".encode())
        assert imap.setacl("Work", reader, "lrswite")[0] == "OK"
    write(tmp_path / "config.lua",
          f'options.timeout = 30\noptions.certificates = false\n'
          f'a = IMAP {{ server = "{suite.host}", port = {suite.port("imaps")}, username = "{reader}", '
          f'password = "{suite.passwords[reader]}", ssl = "auto" }}\n'
          f'work = a["user/{ana}/Work"]\nwork:contain_subject("hers 1"):move_messages(a.INBOX)\n'
          'a.INBOX:contain_subject("number"):copy_messages(work)\n')
    done = subprocess.run(["imapfilter", "-c", tmp_path / "config.lua", "-t", suite.cafile], env=home(tmp_path), timeout=60,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr
    with suite.imap(reader) as imap:
        assert imap.select("INBOX")[1] == [b"4"]
        assert len(imap.search(None, "FLAGGED", "SUBJECT", '"hers 1"')[1][0].split()) == 1
    with suite.imap(ana) as imap:
        assert imap.select("Work")[1] == [b"4"]
        assert imap.search(None, "SUBJECT", '"hers 1"')[1] == [b""]
        assert len(imap.search(None, "SUBJECT", "number")[1][0].split()) == 3


IMAPFLOW_VERSION = "imapflow@2.10.2"
IMAPFLOW = """
const { ImapFlow } = require('imapflow');
(async () => {
    const c = new ImapFlow({ host: process.env.HOST, port: +process.env.PORT, secure: true, logger: false,
        auth: { user: process.env.WHO, pass: process.env.WORD }, tls: { rejectUnauthorized: false } });
    await c.connect();
    const names = (await c.list()).map(m => m.path);
    const made = await c.mailboxCreate('Flowing');
    const lock = await c.getMailboxLock('INBOX');
    const subjects = [];
    for await (const m of c.fetch('1:*', { envelope: true, flags: true, bodyStructure: true, uid: true, source: true }))
        subjects.push(m.envelope.subject + (m.flags.has('\\\\Flagged') ? ' flagged' : '') + (m.source.length > 0 ? '' : ' empty'));
    const found = await c.search({ subject: 'number 1' }, { uid: true });
    await c.messageFlagsAdd(found, ['\\\\Seen'], { uid: true });
    const moved = await c.messageMove(found, 'Flowing', { uid: true });
    const added = await c.append('Flowing', 'Subject: added\\r\\n\\r\\nx\\r\\n', ['\\\\Seen']);
    lock.release();
    const status = await c.status('Flowing', { messages: true, unseen: true });
    await c.logout();
    console.log(JSON.stringify({ inbox: names.includes('INBOX'), created: made.created, subjects, moved: moved.uidMap.size, added: added.uid, status }));
})().catch(e => { console.error(e); process.exit(1); });
"""


@needs("node")
def test_imapflow(suite, reader, tmp_path):
    """Nodemailer's client: lists, makes a mailbox, reads all, searches, flags, moves, appends."""
    env = dict(home(tmp_path), HOST=suite.host, PORT=str(suite.port("imaps")), WHO=reader, WORD=suite.passwords[reader])
    there = ["node", "-e", "require('imapflow')"]
    if subprocess.run(there, env=env, capture_output=True, check=False).returncode:
        # No distribution has it: it comes from npm, beside what was built, or from where NODE_PATH says.
        modules = valija.BUILD / "node"
        env["NODE_PATH"] = str(modules / "node_modules")
        if not (modules / "node_modules/imapflow").exists() and shutil.which("npm"):
            subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(modules), IMAPFLOW_VERSION],
                           timeout=300, capture_output=True, check=False)
        if subprocess.run(there, env=env, capture_output=True, check=False).returncode:
            pytest.skip("there is no imapflow in NODE_PATH, and npm does not get it")
    done = subprocess.run(["node", "-e", IMAPFLOW], env=env, timeout=60, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["inbox"] and said["created"] and said["subjects"] == ["number 0", "number 1 flagged", "number 2"], said
    assert said["moved"] == 1 and said["added"] == 2, said
    assert said["status"]["messages"] == 2 and said["status"]["unseen"] == 0, said


@needs("neomutt")
def test_neomutt(suite, reader, tmp_path):
    """Reads, flags, deletes, and saves into another mailbox."""
    url = f"imaps://{suite.host}:{suite.port('imaps')}"
    rc = write(tmp_path / "rc",
               f'set folder="{url}/"\nset spoolfile="{url}/INBOX"\nset imap_user="{reader}"\nset imap_pass="{suite.passwords[reader]}"\n'
               f'set certificate_file="{tmp_path}/certificates"\nset ssl_ca_certificates_file="{suite.cafile}"\n'
               f'set ssl_force_tls=yes\nset confirmappend=no\nset confirmcreate=no\nset quit=yes\nset delete=yes\nset move=no\n'
               f'set resolve=no\nset wait_key=no\nset sort=mailbox-order\nset mbox_type=Maildir\nset header_cache=""\nset auto_tag=no\n'
               'push "<first-entry><flag-message><next-entry><delete-message><last-entry><save-message>=Archive<enter><sync-mailbox><quit>"\n')
    command = f"neomutt -F {shlex.quote(str(rc))}"
    valija.run(["script", "-qec", command, "/dev/null"], seconds=60, env=home(tmp_path))
    with suite.imap(reader) as imap:
        assert imap.select("INBOX")[1] == [b"1"]
        assert imap.search(None, "FLAGGED", "SUBJECT", '"number 0"')[1] == [b"1"]
        assert imap.select("Archive")[1] == [b"1"]


def mbsync(suite, user, tmp, box):
    """Both ways, INBOX, with a state of its own."""
    tmp.mkdir(exist_ok=True)
    box.mkdir(exist_ok=True)
    rc = write(tmp / "mbsyncrc",
               f"IMAPAccount a\nHost {suite.host}\nPort {suite.port('imaps')}\nUser {user}\nPass {suite.passwords[user]}\n"
               f"SSLType IMAPS\nCertificateFile {suite.cafile}\nSystemCertificates no\n\nIMAPStore far\nAccount a\n\n"
               f"MaildirStore near\nPath {box}/\nInbox {box}/INBOX\nSubFolders Verbatim\n\n"
               f"Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync All\nExpunge Both\nSyncState *\n")
    valija.run(["mbsync", "-c", rc, "c"], seconds=400, env=dict(os.environ, HOME=str(tmp)))
    return box / "INBOX"


def state(box):
    """{subject: flags} of a Maildir."""
    found = {}
    for path in (p for part in ("new", "cur") for p in (box / part).glob("*")):
        subject = next(l for l in path.read_bytes().split(b"\n") if l.startswith(b"Subject: "))
        assert subject not in found
        found[subject] = "".join(sorted(set(path.name.partition(":2,")[2])))
    return found


@needs("mbsync")
def test_three_clients_synchronise_five_thousand_messages_at_once(own_suite, tmp_path):
    """Each begins empty, then adds, flags and removes messages of its own; after rounds at the same time all have the same."""
    suite = own_suite
    user = suite.new_user("sync")
    with suite.imap(user, seconds=120) as imap:
        for first in range(0, 5000, 250):
            tag = imap._new_tag()
            letters = [b"Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\nbody of %d\r\n" % (n, n, n) for n in range(first, first + 250)]
            imap.send(tag + b" APPEND INBOX" + b"".join(b" {%d+}\r\n%s" % (len(l), l) for l in letters) + b"\r\n")
            line = imap.readline()
            while not line.startswith(tag):
                line = imap.readline()
            assert b" OK " in line, line
    tmps = [tmp_path / f"c{n}" for n in range(3)]
    failed = []

    def work(n):
        try:
            box = mbsync(suite, user, tmps[n], tmps[n] / "mail")
            files = sorted(p for part in ("new", "cur") for p in (box / part).glob("*"))
            assert len(files) == 5000, len(files)
            mine = [p for p in files if int(p.read_bytes().split(b"\n")[0][9:]) % 3 == n]
            for path in mine[:300]:
                path.unlink()
            for path in mine[300:600]:
                base, _, flags = path.name.partition(":2,")
                path.rename(box / "cur" / f"{base}:2,{''.join(sorted(set(flags) | {'F', 'S'}))}")
            for k in range(50):
                (box / "new" / f"17000000{n}{k:02}.M1P1.c{n}").write_bytes(b"Subject: from %d, %d\n\nx\n" % (n, k))
        except BaseException as error:      # pylint: disable=broad-except
            failed.append((n, error))

    def again(n):
        try:
            mbsync(suite, user, tmps[n], tmps[n] / "mail")
        except BaseException as error:      # pylint: disable=broad-except
            failed.append((n, error))
    for job in (work, again, again, again):
        threads = [threading.Thread(target=job, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed, failed
    states = [state(tmp / "mail" / "INBOX") for tmp in tmps]
    assert len(states[0]) == 5000 - 900 + 150
    assert states[0] == states[1] == states[2]
    assert sum("F" in flags and "S" in flags for flags in states[0].values()) == 900
    with suite.imap(user) as imap:
        assert int(imap.select("INBOX")[1][0]) == 4250
        assert len(imap.search(None, "FLAGGED")[1][0].split()) == 900
