"""Makes a running process perform a system call of our choice, as somebody would who captured it.

Only so can be shown what confinement forbids: the process itself never tries. ptrace, x86-64 only.
"""

import ctypes
import os
import platform
import signal
import time
import struct

ATTACH, DETACH, GETREGS, SETREGS, SINGLESTEP = 16, 17, 12, 13, 9
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
             "fs_base gs_base ds es fs gs").split()
SYSCALLS = {"read": 0, "write": 1, "open": 2, "socket": 41, "connect": 42, "execve": 59, "setuid": 105, "chroot": 161,
            "openat": 257, "ptrace": 101, "kill": 62}
AT_FDCWD = -100
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Killed(Exception):
    """The kernel ended the process for this call, by this signal."""


def supported():
    return platform.machine() == "x86_64" and os.getuid() == 0


def _ptrace(request, pid, data=None):
    if libc.ptrace(request, pid, None, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace {request}: {os.strerror(error)}")


def _registers(pid):
    buffer = ctypes.create_string_buffer(8 * len(REGISTERS))
    _ptrace(GETREGS, pid, ctypes.cast(buffer, ctypes.c_void_p))
    return dict(zip(REGISTERS, struct.unpack(f"{len(REGISTERS)}Q", buffer.raw)))


def _set_registers(pid, registers):
    packed = struct.pack(f"{len(REGISTERS)}Q", *(registers[r] & (2**64 - 1) for r in REGISTERS))
    buffer = ctypes.create_string_buffer(packed, len(packed))
    _ptrace(SETREGS, pid, ctypes.cast(buffer, ctypes.c_void_p))


def _wait_stop(pid):
    _, status = os.waitpid(pid, 0x40000000)   # __WALL
    if os.WIFSIGNALED(status):
        raise Killed(signal.Signals(os.WTERMSIG(status)).name)
    if os.WIFEXITED(status):
        raise Killed("exit")
    return os.WSTOPSIG(status)


class Awake(Exception):
    """The process did not sleep in a system call when it was stopped."""


def call(pid, name, *arguments):
    """Process `pid` performs call `name` when next it sleeps in a system call; bytes among the
    arguments are put on its stack. Returns what the kernel said: >= 0, or -errno. Raises Killed."""
    for _ in range(200):
        try:
            return _call(pid, name, *arguments)
        except Awake:
            time.sleep(0.01)
    raise AssertionError("the process never sleeps in a system call")


def _call(pid, name, *arguments):
    _ptrace(ATTACH, pid)
    try:
        _wait_stop(pid)
        before = _registers(pid)
        stack = (before["rsp"] - 8192) & ~15
        registers = dict(before, rax=SYSCALLS[name], orig_rax=-1)
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            # It was stopped in a call: the instruction itself stands just before.
            memory.seek(before["rip"] - 2)
            if memory.read(2) != b"\x0f\x05":
                raise Awake
            for register, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments):
                if isinstance(value, bytes):
                    stack -= (len(value) + 32) & ~15
                    memory.seek(stack)
                    memory.write(value + b"\0")
                    value = stack
                registers[register] = value
        registers["rip"] = before["rip"] - 2
        _set_registers(pid, registers)
        _ptrace(SINGLESTEP, pid)
        stopped_by = _wait_stop(pid)
        if stopped_by == signal.SIGSYS:
            # Delivered after the call was refused: let it die of it.
            libc.ptrace(DETACH, pid, None, ctypes.c_void_p(signal.SIGSYS))
            raise Killed("SIGSYS")
        said = ctypes.c_long(_registers(pid)["rax"]).value
        _set_registers(pid, before)
        _ptrace(DETACH, pid)
        return said
    except Killed:
        raise
    except BaseException:
        libc.ptrace(DETACH, pid, None, None)
        raise
