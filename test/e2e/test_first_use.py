"""What a stranger does first: a fresh clone, `make run`, the commands that it prints; and the packages.

Each clone is built anew, so all of this is long.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

import valija

pytestmark = pytest.mark.long
NOBODY = 65534
PATH = "/usr/lib/ccache:" + os.environ["PATH"] + ":/usr/sbin:/sbin"


class Clone:
    """The sources as git has them, in a directory of its own, used by one user."""

    def __init__(self, place, ordinary):
        self.dir, self.who = place / "valija", {}
        subprocess.run(["git", "clone", "-q", valija.TOP, self.dir], check=True, capture_output=True)
        self.env = {"PATH": PATH, "HOME": str(place), "LANG": "C.UTF-8", "MAKEFLAGS": "-j2"}
        if "CCACHE_DIR" in os.environ and not ordinary:
            self.env["CCACHE_DIR"] = os.environ["CCACHE_DIR"]
        if ordinary:
            self.who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", place], check=True)

    def run(self, *argv, code=0, seconds=1500):
        done = subprocess.run(argv, cwd=self.dir, env=self.env, timeout=seconds, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self.who)
        assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout[-3000:]}"
        return done.stdout

    def processes(self):
        """Whose program lies below this clone."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(entry / "exe").startswith(str(self.dir)):
                    found.append((entry.name, os.readlink(entry / "exe")))
            except OSError:
                pass
        return found


@pytest.fixture(params=["root", "ordinary user"])
def clone(request):
    if os.getuid() != 0 and request.param == "root":
        pytest.skip("needs root to be root")
    # Not below pytest's own directory, which is closed to other users.
    place = pathlib.Path(tempfile.mkdtemp(prefix="valija-first-"))
    place.chmod(0o755)
    clone = Clone(place, request.param == "ordinary user" and os.getuid() == 0)
    yield clone
    subprocess.run(["make", "stop"], cwd=clone.dir, env=clone.env, capture_output=True)
    shutil.rmtree(place, ignore_errors=True)


def block(said, begin, end):
    """The indented lines between two others: what is to be typed."""
    return said.split(begin, 1)[1].split(end, 1)[0]


def test_make_run(clone):
    """Twice in a row; the commands that are printed work as they are; nothing is left running, nothing else changed."""
    said = clone.run("make", "run")
    for word in ("user ", "password ", "receiving ", "sending ", "log "):
        assert f"    {word}" in said, said[-3000:]
    mail = clone.run("sh", "-ec", block(said, "Send a message to yourself, and read it:", "Processes:"))
    assert "Subject: first" in mail and "Hello." in mail
    status = clone.run("sh", "-ec", re.search("Processes: (.*)", said).group(1))
    assert "smtpd/0" in status and "imap-login/0" in status
    again = clone.run("make", "run")
    assert "(it was running already)" in again
    assert "stopped" in clone.run("make", "stop")
    valija.wait_until(lambda: not clone.processes(), what=f"their end: {clone.processes()}")
    assert clone.run("git", "status", "--short") == ""
    # What was there is there again: user, password, mail.
    third = clone.run("make", "run")
    said = said.replace(re.search(r"password +(\w+)", said).group(1), "")
    assert "running already" not in third
    mail = clone.run("sh", "-ec", block(third, "Send a message to yourself, and read it:", "Processes:"))
    assert "Hello." in mail
    clone.run("make", "stop")
    assert "not running" in clone.run("make", "stop")
    valija.wait_until(lambda: not clone.processes(), what="their end")


def programs(sources):
    """What the Makefile builds, beside the two commands."""
    text = (sources.dir / "Makefile").read_text().replace("\\\n", " ")
    mains = re.findall(r"^MAINS \+?:?= (.*)$", text, re.M)
    names = {f"valija-{pathlib.Path(main).stem}" for line in mains for main in line.split()}
    names -= {"valija-valija", "valija-sendmail"}
    assert len(names) > 15, names
    return names


def pages(sources):
    return {path.name for path in (sources.dir / "man").iterdir()}


def check_contents(paths, sources):
    """Every program and every page is in the package, and what starts them."""
    names = {pathlib.Path(p).name for p in paths}
    assert programs(sources) <= names, programs(sources) - names
    lacking = {page for page in pages(sources) if not {page, f"{page}.gz", re.sub(r"\.(\d)$", r".valija.\1", page) + ".gz",
                                                       re.sub(r"\.(\d)$", r".valija.\1", page)} & names}
    assert not lacking, lacking
    for path in ("/usr/sbin/valija", "/etc/init.d/valija", "/lib/systemd/system/valija.service", "/etc/pam.d/valija",
                 "/usr/share/valija/hooks/dns-update", "/etc/fail2ban/filter.d/valija.conf", "/etc/logrotate.d/valija",
                 "/etc/ufw/applications.d/valija"):
        assert any(p.endswith(path) for p in paths), path


def unpacked_suite_works(root, libexec, sources):
    """The programs of the package, as they lie there, serve."""
    done = subprocess.run([root / "usr/sbin/valija", "version"], capture_output=True, text=True)
    assert done.returncode == 0 and re.match(r"valija \d", done.stdout), done.stdout + done.stderr
    for program in programs(sources):
        ldd = subprocess.run(["ldd", root / libexec / program], capture_output=True, text=True).stdout
        assert "not found" not in ldd, ldd


@pytest.fixture
def sources(tmp_path_factory):
    place = tmp_path_factory.mktemp("package")
    yield Clone(place, False)
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.skipif(not shutil.which("dpkg-buildpackage"), reason="needs dpkg-buildpackage")
def test_make_deb(sources, tmp_path):
    sources.env["DEB_BUILD_OPTIONS"] = "nocheck"
    sources.run("make", "deb")
    (package,) = sources.dir.glob("build/valija_*.deb")
    paths = [line.split()[5].lstrip(".") for line in sources.run("dpkg", "-c", package).splitlines()]
    check_contents(paths, sources)
    assert not [path for path in paths if re.search(r"/man/man[1-8]/[^/]*[^z]$", path)], "a page that is not compressed"
    sources.run("dpkg", "-x", package, tmp_path / "root")
    unpacked_suite_works(tmp_path / "root", "usr/libexec/valija", sources)
    if shutil.which("lintian"):
        said = sources.run("lintian", "--fail-on", "error", "--allow-root",
                           "--suppress-tags", "bogus-mail-host,bogus-mail-host-in-debian-changelog", package)
        assert "E: " not in said, said


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs rpmbuild")
def test_make_rpm(sources, tmp_path):
    sources.run("make", "rpm")
    (package,) = sources.dir.glob("build/valija-*.rpm")
    check_contents(sources.run("rpm", "-qpl", package).splitlines(), sources)
    scripts = sources.run("rpm", "-qp", "--scripts", package)
    for user in ("_smtpd", "_imapd", "_auth", "_tlskey", "_tls", "_queue", "_dns", "_relay", "_log", "vmail"):
        assert user in scripts, user


def test_make_install_below_a_directory(sources, tmp_path):
    """The deployment chapter of README, as far as it goes without taking over this machine."""
    sources.run("make", "configure")
    sources.run("./configure", "--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--runstatedir=/run")
    sources.run("make")
    root = tmp_path / "root"
    sources.run("make", "install", f"DESTDIR={root}")
    paths = ["/" + str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()]
    names = {pathlib.Path(p).name for p in paths}
    assert programs(sources) <= names and pages(sources) <= names
    sources.run("make", "uninstall", f"DESTDIR={root}")
    left = ["/" + str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()]
    assert set(left) <= {"/etc/pam.d/valija"}, left
