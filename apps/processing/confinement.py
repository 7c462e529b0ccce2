"""What a child that opens a stranger's file may not do, as far as the kernel holds it to that.

Resource limits hold everywhere. On Linux a seccomp filter also takes away the network, other programs and other
processes, and Landlock leaves it the Python libraries and its own file to read, and its own directory to write. Each
part is used where the kernel has it; `missing` says what it lacks.

Sources: setrlimit(2); seccomp(2); landlock(7); the kernel's `linux/landlock.h`, `linux/seccomp.h`, `linux/filter.h`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

OPEN_FILES: Final = 64  # besides the trees that are held open
O_PATH: Final = getattr(os, "O_PATH", os.O_RDONLY)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one file may cost: wall-clock and CPU seconds, bytes of address space, bytes of each file written."""

    seconds: float
    cpu_seconds: int
    memory_bytes: int
    output_bytes: int


class Trees:
    """Files and directories that may be read, each held open, so that a child need not look for it."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.rules = [(os.open(path, O_PATH | os.O_CLOEXEC), _rights(path, _READ_FILE | _READ_DIR)) for path in paths]


def limit(limits: Limits) -> None:
    """Hold this process to the limits from here on. The wall clock is its parent's to watch."""
    _lower(resource.RLIMIT_CORE, 0, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, limits.output_bytes, limits.output_bytes)
    # At the soft limit SIGXCPU ends the process, and its parent knows why; the hard one is a second behind.
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    _lower(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    _lower(resource.RLIMIT_AS, limits.memory_bytes, limits.memory_bytes)


def _lower(what: int, soft: int, hard: int) -> None:
    _, allowed = resource.getrlimit(what)
    if allowed != resource.RLIM_INFINITY:
        soft, hard = min(soft, allowed), min(hard, allowed)
    try:
        resource.setrlimit(what, (soft, hard))
    except (ValueError, OSError):
        if sys.platform == "linux":  # elsewhere some limits are known and cannot be set
            raise


def missing() -> str:
    """What this system cannot keep a child from, in words; nothing where it can keep it from all."""
    lacking = []
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        lacking.append("the network, other programs and other processes")
    if sys.platform != "linux" or _landlock_version(_libc()) < 1:
        lacking.append("other files")
    return ", and from ".join(lacking)


class Cage:
    """What takes from this process what it does not need, made ready as far as it can be before its file is known."""

    def __init__(self, readable: Trees) -> None:
        """It will read these trees, besides its file. Raises RuntimeError where the kernel refuses."""
        self._ruleset = -1
        self._filter: _Filter | None = None
        if sys.platform == "linux":
            _prctl(_libc(), PR_SET_NO_NEW_PRIVS, 1)
            self._ruleset = _ruleset(_libc(), readable)
            self._filter = _filter_of_this_process()

    def shut(self, *, file: Path, writable: Path) -> None:
        """From here on it reads the trees and the file, writes this directory, and has no network and no company.

        Raises OSError where the file or the directory is not there, RuntimeError where the kernel refuses.
        """
        if self._ruleset >= 0:
            _restrict(_libc(), self._ruleset, file, writable)
        if self._filter is not None:
            _seccomp(_libc(), self._filter)


def die_with_parent(parent: int) -> None:
    """Be killed by the kernel when the process that made this one ends (Linux; elsewhere its closed socket tells)."""
    if sys.platform == "linux":
        _prctl(_libc(), PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def be_first_to_go() -> None:
    """When the machine runs out of memory, the kernel is to end this process and not those that keep the record."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(libc: ctypes.CDLL, option: int, value: int, argument: bytes | None = None) -> bool:
    done: int = libc.prctl(
        option, ctypes.c_ulong(value), argument or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)
    )
    return done == 0


# --- seccomp -------------------------------------------------------------------------------------------------

PR_SET_PDEATHSIG: Final = 1
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
SECCOMP_MODE_FILTER: Final = 2
ALLOW: Final = 0x7FFF0000
REFUSE: Final = 0x00050000 | errno.EPERM
X32: Final = 0x40000000

# Numbers of system calls, by machine: (AUDIT_ARCH, {name: number}). Refused are the network, other programs, other
# processes, leaving its group (which is killed with it), kernel interfaces that can stand in for any of them
# (io_uring), and raising one's own limits.
_REFUSED_X86_64: Final = {
    "socket": 41, "socketpair": 53, "connect": 42, "bind": 49, "listen": 50, "accept": 43, "accept4": 288,
    "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
    "setpgid": 109, "setsid": 112,
    "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "pidfd_send_signal": 424,
    "pidfd_open": 434, "pidfd_getfd": 438, "io_uring_setup": 425, "bpf": 321, "perf_event_open": 298,
    "userfaultfd": 323, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
    "keyctl": 250, "add_key": 248, "request_key": 249, "open_by_handle_at": 304, "init_module": 175,
    "finit_module": 313, "kexec_load": 246, "reboot": 169, "swapon": 167, "setrlimit": 160, "personality": 135,
    "shmget": 29, "msgget": 68, "semget": 64, "mq_open": 240,
}  # fmt: skip
_REFUSED_AARCH64: Final = {
    "socket": 198, "socketpair": 199, "connect": 203, "bind": 200, "listen": 201, "accept": 202, "accept4": 242,
    "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
    "setpgid": 154, "setsid": 157,
    "kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "pidfd_send_signal": 424,
    "pidfd_open": 434, "pidfd_getfd": 438, "io_uring_setup": 425, "bpf": 280, "perf_event_open": 241,
    "userfaultfd": 282, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
    "keyctl": 219, "add_key": 217, "request_key": 218, "open_by_handle_at": 265, "init_module": 105,
    "finit_module": 273, "kexec_load": 104, "reboot": 142, "swapon": 224, "setrlimit": 164, "personality": 92,
    "shmget": 194, "msgget": 186, "semget": 190, "mq_open": 180,
}  # fmt: skip
_MACHINES: Final = {
    "x86_64": (0xC000003E, _REFUSED_X86_64, {"tgkill": 234, "prlimit64": 302}),
    "aarch64": (0xC00000B7, _REFUSED_AARCH64, {"tgkill": 131, "prlimit64": 261}),
}

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

_Instruction = tuple[int, int, int, int]


def _filter(arch: int, refused: Sequence[int], special: dict[str, int], pid: int) -> list[_Instruction]:
    """The program: refuse what is listed, signals to others (an abort is a signal to oneself), and new limits."""
    allow, refuse = (_RETURN, 0, 0, ALLOW), (_RETURN, 0, 0, REFUSE)
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        refuse,
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, X32),
        refuse,
    ]
    for number in refused:
        program += [(_EQUAL, 0, 1, number), refuse]
    program += [
        (_EQUAL, 0, 4, special["tgkill"]),
        (_LOAD, 0, 0, _ARGUMENTS),
        (_EQUAL, 0, 1, pid),
        allow,
        refuse,
        (_EQUAL, 0, 6, special["prlimit64"]),
        (_LOAD, 0, 0, _ARGUMENTS + 16),  # the low and the high half of the pointer to the new limit
        (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _ARGUMENTS + 20),
        (_EQUAL, 0, 1, 0),
        allow,
        refuse,
        allow,
    ]
    return program


_Filter = ctypes.Array[ctypes.c_char]


def _filter_of_this_process() -> _Filter | None:
    """The program as the kernel reads it; None where the machine's system calls are not known."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return None
    arch, refused, special = machine
    program = _filter(arch, sorted(refused.values()), special, os.getpid())
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    return ctypes.create_string_buffer(code, len(code))


def _seccomp(libc: ctypes.CDLL, code: _Filter) -> None:
    header = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(code))
    if not _prctl(libc, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header):
        raise RuntimeError(f"seccomp: {os.strerror(ctypes.get_errno())}")


# --- Landlock ------------------------------------------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_FILE_RIGHTS_OF: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}  # by version of the interface
_TRUNCATE: Final = 1 << 14


def _landlock_version(libc: ctypes.CDLL) -> int:
    version: int = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    return version


def _ruleset(libc: ctypes.CDLL, readable: Trees) -> int:
    """A descriptor of rules that let these trees be read; none, -1, where the kernel has no Landlock."""
    version = _landlock_version(libc)
    if version < 1:
        return -1
    handled = _FILE_RIGHTS_OF[min(version, 3)]
    attributes = struct.pack("<QQ", handled, 0b11) if version >= 4 else struct.pack("<Q", handled)  # and no TCP
    ruleset: int = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        raise RuntimeError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    for beneath, rights in readable.rules:
        _allow(libc, ruleset, beneath, rights)
    return ruleset


def _restrict(libc: ctypes.CDLL, ruleset: int, file: Path, writable: Path) -> None:
    write = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
    handled = _FILE_RIGHTS_OF[min(_landlock_version(libc), 3)]
    for path, rights in ((file, _READ_FILE), (writable, write & handled)):
        beneath = os.open(path, O_PATH | os.O_CLOEXEC)
        _allow(libc, ruleset, beneath, rights)
        os.close(beneath)
    if libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise RuntimeError(f"Landlock: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, beneath: int, rights: int) -> None:
    libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("<Qi", rights, beneath), 0)


def _rights(path: Path, rights: int) -> int:
    return rights if path.is_dir() else rights & (_READ_FILE | _WRITE_FILE)
