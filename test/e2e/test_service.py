"""What starts the suite at boot: the init script, by the actions and exit codes of LSB, and the systemd unit."""

import shutil
import subprocess

import pytest

import valija


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The init script as it is installed, but for an instance of its own."""
    places = tmp_path_factory.mktemp("places")
    with valija.Instance(start=False) as instance:
        command = places / "sbin/valija"
        command.parent.mkdir()
        command.write_text('#!/bin/sh\nexec %s "$@"\n' % " ".join(map(str, instance.argv())))
        command.chmod(0o755)
        (places / "etc").mkdir()
        (places / "etc/valija").symlink_to(instance.conf.parent)
        text = (valija.TOP / "contrib/valija.init.in").read_text()
        for word, place in (("sbindir", "sbin"), ("sysconfdir", "etc"), ("runstatedir", "run")):
            text = text.replace(f"@{word}@", str(places / place))
        assert "@" not in text.replace("$@", "")
        (places / "init").write_text(text)

        def act(action):
            done = subprocess.run(["sh", places / "init", action], capture_output=True, text=True, timeout=60,
                                  stdin=subprocess.DEVNULL)
            return done.returncode, done.stdout + done.stderr

        act.instance = instance
        yield act


def test_init_script(script):
    """LSB Core 22.2: starting what runs and stopping what does not is no failure; 7 is "does not run", 3 the same of status."""
    instance = script.instance
    assert script("status") == (3, "valija is not running\n")
    assert script("stop")[0] == 0 and script("try-restart")[0] == 0 and script("force-reload")[0] == 0
    code, said = script("reload")
    assert code == 7 and "not running" in said
    for _ in range(2):
        assert script("start")[0] == 0
        assert script("status") == (0, "valija is running\n")
    master = instance.master_pid()
    assert script("reload")[0] == 0 and script("force-reload")[0] == 0 and instance.master_pid() == master
    assert script("restart")[0] == 0 and instance.master_pid() != master
    assert script("unknown")[0] == 2
    assert script("stop")[0] == 0 and not instance.pids()


def test_init_script_and_a_wrong_configuration(script):
    """What runs goes on; 6 is "not configured"."""
    instance, good = script.instance, script.instance.conf.read_text()
    assert script("start")[0] == 0
    master = instance.master_pid()
    try:
        instance.conf.write_text(good + "colour = red\n")
        for action in ("restart", "try-restart", "reload"):
            code, said = script(action)
            assert code == 6 and 'there is no option "colour"' in said, (action, code, said)
        assert instance.master_pid() == master
        assert script("stop")[0] == 0
        code, said = script("start")
        assert code == 6 and 'there is no option "colour"' in said
        instance.conf.unlink()
        assert script("start")[0] == 6
    finally:
        instance.conf.write_text(good)
        script("stop")


def test_init_script_when_the_suite_cannot_be_asked(script):
    """Something runs: that is not told as "not running", and stop is no success."""
    instance = script.instance
    assert script("start")[0] == 0
    control = instance.dir / "run/control"
    control.rename(control.with_name("away"))
    try:
        assert script("stop")[0] == 1
        assert instance.pids()
    finally:
        control.with_name("away").rename(control)
        assert script("stop")[0] == 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_unit(tmp_path):
    """systemd understands every line of it."""
    text = (valija.TOP / "contrib/valija.service.in").read_text()
    for word, place in (("sbindir", valija.TOP / "build/bin"), ("sysconfdir", "/etc"), ("runstatedir", "/run")):
        text = text.replace(f"@{word}@", str(place))
    unit = tmp_path / "valija.service"
    unit.write_text(text)

    def complaints():
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
        return [line for line in (done.stdout + done.stderr).splitlines() if "valija.service" in line]

    assert complaints() == []
    unit.write_text(text.replace("ProtectClock=yes", "ProtectClok=yes"))
    assert any("ProtectClok" in line for line in complaints())
