"""Runs a function in a fork whose every write to a folder is seen, and can be made to go wrong.

The fork gives the kernel a filter (seccomp) that stops it at each system call that changes files,
whoever makes it: Python, NumPy, TensorFlow's C++, any thread and any child process. This process,
its tracer (ptrace), looks at the call, and lets it be, has it fail, cuts it short, or kills the
fork right before it or in the middle of it. See seccomp(2) and ptrace(2); Linux on x86-64.
"""

import ctypes
import dataclasses
import errno
import os
import pathlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_LIBC.ptrace.restype = ctypes.c_long

# Of ptrace.h.
_TRACEME, _CONT, _GETREGS, _SETREGS, _SYSCALL = 0, 7, 12, 13, 24
_SETOPTIONS, _GETEVENTMSG = 0x4200, 0x4201
_FORK, _VFORK, _CLONE, _SECCOMP = 1, 2, 3, 7
# Stops at calls are told from signals; forks are traced; the filter stops; all end if we do.
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x80 | 0x100000
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_WALL = 0x40000000

# Of seccomp.h and filter.h.
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_NUMBER_AT, _SECOND_AT, _THIRD_AT = 0, 24, 32

# Numbers of x86-64. What is written to a descriptor, with the size as the third argument.
_WRITES = {1: "write", 18: "pwrite"}
# Other changes of an open file, by its descriptor.
_ON_DESCRIPTORS = {
    **{20: "write", 296: "write", 74: "sync", 75: "sync", 77: "truncate", 285: "allocate"},
    91: "change mode",
}
# What has the path as its first argument.
_ON_PATHS = {76: "truncate", 82: "rename", 83: "make", 84: "remove", 85: "create", 87: "remove"}
# What has a folder's descriptor, and the path below it.
_BELOW_FOLDERS = {258: "make", 263: "remove", 264: "rename", 316: "rename"}
# Opening, where it creates or truncates; the number says which argument has the flags.
_OPEN, _OPENAT = 2, 257
_CHANGING = os.O_CREAT | os.O_TRUNC
_AT_CWD = -100
_PATH_BYTES = 4096

WRITE, CREATE, SYNC, RENAME, REMOVE = "write", "create", "sync", "rename", "remove"
# What needs room on a disk.
NEEDS_ROOM = frozenset({WRITE, CREATE, "pwrite", "make", "allocate"})
# What needs the permission to change a folder or to open a file.
NEEDS_PERMISSION = frozenset({CREATE, "make", RENAME, REMOVE})


class _Registers(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_ulong)
        for name in (
            *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8"),
            *("rax", "rcx", "rdx", "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp"),
            *("ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
        )
    )


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


@dataclasses.dataclass(frozen=True)
class Operation:
    """One change of the watched folder.

    Attributes:
      kind: What is done, such as `write`.
      path: To what, relative to the folder.
      size: The bytes to be written, where the call says them.
      target: What is renamed gets this path.
    """

    kind: str
    path: str
    size: int = 0
    target: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.path}" + (f" ({self.size} bytes)" if self.size else "")


@dataclasses.dataclass(frozen=True)
class Fault:
    """What goes wrong, and when.

    Attributes:
      at: Index of the operation at which it begins.
      kills: Whether the process is killed there.
      tears: Whether half of what is to be written there is written before.
      victim: Part of the command line of a descendant that is killed in its place.
      error: The error by which operations fail; None for none.
      kinds: The operations that fail.
      lasts: Whether later ones fail as well.
    """

    at: int
    kills: bool = False
    tears: bool = False
    victim: str = ""
    error: int | None = None
    kinds: frozenset[str] = NEEDS_ROOM
    lasts: bool = True

    def fails(self, index: int, operation: Operation) -> bool:
        """Whether an operation is one that fails."""
        is_due = index >= self.at if self.lasts else index == self.at
        return self.error is not None and is_due and operation.kind in self.kinds


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a traced process ended.

    Attributes:
      status: Its exit status, or minus the signal that killed it.
      operations: What it did to the folder, in order.
      survivors: Names of its descendants that lived on, and had to be killed.
    """

    status: int
    operations: tuple[Operation, ...]
    survivors: tuple[str, ...]


def find_obstacle() -> str | None:
    """Why processes cannot be traced here; None where they can."""
    if os.uname().machine != "x86_64":
        return "system calls are told by their numbers on x86-64"
    try:
        ended = trace(lambda: None, pathlib.Path("/nonexistent"), seconds=20.0)
    except OSError as error:
        return f"processes cannot be traced here: {error}"
    return None if ended.status == 0 else f"a traced process ended with {ended.status}"


def trace(
    function: Callable[[], None],
    folder: pathlib.Path,
    fault: Fault | None = None,
    before: Callable[[int, Operation], None] | None = None,
    strikes: Sequence[tuple[float, int]] = (),
    seconds: float = 600.0,
    patience: float = 10.0,
) -> Ended:
    """Runs a function in a fork of this process, and watches what it does to a folder.

    Args:
      function: Function that is run, and then the fork ends with 0, or as it exits.
      folder: The folder, by its real path.
      fault: What goes wrong; None for nothing.
      before: Called before each operation with its index, while the thread stands still.
      strikes: Signals that it gets, each with the seconds from its start.
      seconds: Time after which it is killed.
      patience: Time for which descendants may outlive it.

    Returns:
      How it ended.

    Raises:
      OSError: If this system does not allow it.
    """
    process = os.fork()
    if process == 0:
        _begin(function)
    _, status = os.waitpid(process, 0)
    if not os.WIFSTOPPED(status):
        raise OSError(errno.EPERM, "the fork could not be stopped or filtered")
    tracer = _Tracer(process, folder, fault, before)
    return tracer.run(strikes, seconds, patience)


def _begin(function: Callable[[], None]) -> None:
    """Never returns."""
    status = 1
    try:
        if _LIBC.ptrace(_TRACEME, 0, None, None) == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            _install_filter()
            function()
            status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(status)


def _install_filter() -> None:
    """Stops at calls that change files; all others run at full speed."""
    always = (*_WRITES, *_ON_DESCRIPTORS, *_ON_PATHS, *_BELOW_FOLDERS)
    program = [(_LOAD, 0, 0, _NUMBER_AT)]
    # A jump goes over so many instructions: to the last one.
    for place, number in enumerate(always):
        program.append((_EQUAL, len(always) - place + 6, 0, number))
    program += [
        (_EQUAL, 0, 2, _OPENAT),
        (_LOAD, 0, 0, _THIRD_AT),
        (_ANY_BIT, 4, 3, _CHANGING),
        (_EQUAL, 0, 2, _OPEN),
        (_LOAD, 0, 0, _SECOND_AT),
        (_ANY_BIT, 1, 0, _CHANGING),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _TRACE),
    ]
    instructions = (_Instruction * len(program))(*(_Instruction(*p) for p in program))
    loaded = _Program(len(program), instructions)
    if (
        _LIBC.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        or _LIBC.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(loaded)) != 0
    ):
        raise OSError(ctypes.get_errno(), "no filter of system calls")


def _read_command(process: int) -> str:
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


class _Tracer:
    """Follows a process and its descendants, which are all stopped at their birth."""

    def __init__(
        self,
        process: int,
        folder: pathlib.Path,
        fault: Fault | None,
        before: Callable[[int, Operation], None] | None,
    ) -> None:
        self._process, self._folder = process, f"{folder}/"
        self._fault, self._before = fault, before
        self._operations: list[Operation] = []
        self._alive = {process}
        # Threads that are to be killed at the end of the call that they are in.
        self._doomed: set[int] = set()
        self._status: int | None = None

    def run(self, strikes: Sequence[tuple[float, int]], seconds: float, patience: float) -> Ended:
        """Follows until all have ended."""
        self._ask(_SETOPTIONS, self._process, _OPTIONS)
        self._ask(_CONT, self._process)
        start, due, survivors = time.monotonic(), sorted(strikes), ()
        end = start + seconds
        while self._alive:
            while due and time.monotonic() > start + due[0][0] and self._status is None:
                os.kill(self._process, due.pop(0)[1])
            thread, status = os.waitpid(-1, _WALL | os.WNOHANG)
            if thread:
                self._handle(thread, status)
                if thread == self._process and self._status is not None:
                    end = min(end, time.monotonic() + patience)
                continue
            if time.monotonic() > end:
                survivors = self._end_all()
                end = time.monotonic() + patience
            time.sleep(0.0005)
        status = -signal.SIGKILL if self._status is None else self._status
        return Ended(status, tuple(self._operations), survivors)

    def _end_all(self) -> tuple[str, ...]:
        names = []
        for thread in self._alive:
            try:
                names.append(pathlib.Path(f"/proc/{thread}/comm").read_text().strip())
                os.kill(thread, signal.SIGKILL)
            except OSError:
                pass
        return tuple(names)

    def _handle(self, thread: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._alive.discard(thread)
            if thread == self._process:
                self._status = os.waitstatus_to_exitcode(status)
            return
        self._alive.add(thread)
        number, event, passed = os.WSTOPSIG(status), status >> 16, 0
        if event == _SECCOMP:
            if self._look(thread):
                return
        elif number == _SYSCALL_STOP:
            if thread in self._doomed:
                os.kill(self._process, signal.SIGKILL)
                return
        elif event == 0 and number not in (signal.SIGTRAP, signal.SIGSTOP):
            passed = number
        self._ask(_CONT, thread, passed)

    def _look(self, thread: int) -> bool:
        """Looks at a call; whether it has sent the thread on already, or killed it."""
        registers = _Registers()
        self._ask(_GETREGS, thread, ctypes.addressof(registers))
        operation = self._describe(thread, registers)
        if operation is None:
            return False
        index = len(self._operations)
        self._operations.append(operation)
        if self._before is not None:
            self._before(index, operation)
        fault = self._fault
        if fault is None:
            return False
        if fault.victim:
            if index == fault.at:
                self._kill_descendant(fault.victim)
            return False
        if fault.kills and index == fault.at:
            if not (fault.tears and operation.size):
                os.kill(self._process, signal.SIGKILL)
                return True
            registers.rdx = operation.size // 2
            self._ask(_SETREGS, thread, ctypes.addressof(registers))
            self._doomed.add(thread)
            self._ask(_SYSCALL, thread)
            return True
        if fault.fails(index, operation):
            # No call, and what it is to return.
            registers.orig_rax = ctypes.c_ulong(-1).value
            registers.rax = ctypes.c_ulong(-fault.error).value
            self._ask(_SETREGS, thread, ctypes.addressof(registers))
        return False

    def _kill_descendant(self, victim: str) -> None:
        found = [thread for thread in self._alive if victim in _read_command(thread)]
        assert found, f"no process has {victim} in its command line"
        for thread in found:
            os.kill(thread, signal.SIGKILL)

    def _describe(self, thread: int, registers: _Registers) -> Operation | None:
        """What a call does to the folder; None for nothing."""
        number = registers.orig_rax
        if number in _WRITES or number in _ON_DESCRIPTORS:
            path = self._read_link(thread, f"fd/{ctypes.c_int(registers.rdi).value}")
            size = registers.rdx if number in _WRITES else 0
            return self._create({**_WRITES, **_ON_DESCRIPTORS}[number], path, size)
        if number in _ON_PATHS or number == _OPEN:
            kind = _ON_PATHS.get(number, CREATE)
            path = self._read_path(thread, _AT_CWD, registers.rdi)
            second = _AT_CWD, registers.rsi
        else:
            kind = _BELOW_FOLDERS.get(number, CREATE)
            path = self._read_path(thread, ctypes.c_int(registers.rdi).value, registers.rsi)
            second = ctypes.c_int(registers.rdx).value, registers.r10
        target = self._read_path(thread, *second) if kind == RENAME else ""
        return self._create(kind, path, target=target)

    def _create(self, kind: str, path: str, size: int = 0, target: str = "") -> Operation | None:
        path = os.path.normpath(path) if path else ""
        if not f"{path}/".startswith(self._folder):
            return None
        if target:
            target = os.path.relpath(os.path.normpath(target), self._folder)
        return Operation(kind, os.path.relpath(path, self._folder), size, target)

    def _read_path(self, thread: int, folder: int, address: int) -> str:
        try:
            with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
                memory.seek(address)
                text = memory.read(_PATH_BYTES).split(b"\0")[0].decode()
        except OSError:
            return ""
        if text.startswith("/"):
            return text
        below = "cwd" if folder == _AT_CWD else f"fd/{folder}"
        return os.path.join(self._read_link(thread, below), text)

    def _read_link(self, thread: int, name: str) -> str:
        try:
            return os.readlink(f"/proc/{thread}/{name}")
        except OSError:
            return ""

    def _ask(self, request: int, thread: int, data: int = 0) -> None:
        # It may have been killed meanwhile.
        if _LIBC.ptrace(request, thread, None, data) == -1 and ctypes.get_errno() not in (
            0,
            errno.ESRCH,
        ):
            raise OSError(ctypes.get_errno(), "ptrace")
