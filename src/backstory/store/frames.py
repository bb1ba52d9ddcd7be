"""Frames between a process and its helper, over a pipe or a socket: eight bytes of length, then the bytes."""

from __future__ import annotations

import gc
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO

_LENGTH = struct.Struct(">Q")


def frame(data: bytes) -> bytes:
    """Some data as one frame."""
    return _LENGTH.pack(len(data)) + data


def write_frame(stream: IO[bytes], data: bytes) -> None:
    """Send one frame."""
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes:
    """Receive one frame.

    Raises:
        EOFError: the other side has ended.
    """
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        raise EOFError("the other process's stream ended")
    (size,) = _LENGTH.unpack(length)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("the other process's stream ended within a frame")
    return data


def serve_frames(answer: Callable[[bytes], Iterable[bytes]]) -> None:
    """Answer each frame on standard input with frames on standard output, until the input ends."""
    gc.disable()  # nothing here makes cycles, and there is a lot of everything else
    try:
        while True:
            for data in answer(read_frame(sys.stdin.buffer)):
                write_frame(sys.stdout.buffer, data)
    except EOFError:
        return
    except BrokenPipeError:
        # Nobody reads the answer any more; the interpreter must not try to flush it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def take_frames(buffer: bytearray) -> Iterator[bytes]:
    """The frames at the start of a buffer that are whole; they are taken out of it."""
    while len(buffer) >= _LENGTH.size:
        end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
        if len(buffer) < end:
            return
        yield bytes(memoryview(buffer)[_LENGTH.size : end])
        del buffer[:end]
