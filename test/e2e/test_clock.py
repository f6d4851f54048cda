"""A clock that is set while the suite runs: in a guest, where that harms nobody else (guest_clock.py; see test_kernel_tls.py)."""

import os
import re
import shutil

import pytest

from test_kernel_tls import KERNEL, QEMU, boot, initial_file_system

SET_CLOCK = """(while sleep 0.2; do if [ -f /tmp/jump ]; then date -s @$(cat /tmp/jump) >/dev/null; rm -f /tmp/jump; fi; done) &
"""


@pytest.mark.long
@pytest.mark.skipif(not QEMU or os.uname().machine != "x86_64", reason="qemu-system-x86_64 is not installed")
@pytest.mark.skipif(not KERNEL, reason="no cloud kernel in /boot (linux-image-cloud-amd64)")
@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not installed")
def test_a_clock_that_jumps(tmp_path):
    archive = initial_file_system(KERNEL.name.removeprefix("vmlinuz-"), script="guest_clock.py", modules=[], before=SET_CLOCK)
    said = boot(tmp_path, archive)
    assert "GUEST end" in said and "GUEST failed" not in said, said[-8000:]
    assert len(re.findall("GUEST ok .*mail flows", said)) == 3, said[-8000:]
