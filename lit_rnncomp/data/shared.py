"""Decoded pictures in memory that a process has in common with those it forks."""

import mmap
import multiprocessing
from contextlib import AbstractContextManager

import numpy as np

_UNKNOWN, _COMING, _HERE = 0, 1, 2


class SharedPictures:
    """Pictures `(H, W, 3)` uint8 by number, kept once for a process and all that it forks later, up to a number of
    bytes; the memory is given back when the last of them ends, however that happens.

    Args:
        count: of the pictures that there may be.
        room: bytes; those that no picture was written to cost nothing.
    """

    def __init__(self, count: int, room: int) -> None:
        # Anonymous maps: no file is left behind, and `/dev/shm`, of 64 MB in many containers, does not limit them.
        self._bytes = np.frombuffer(mmap.mmap(-1, max(1, room)), np.uint8)
        table = np.frombuffer(mmap.mmap(-1, 32 * (count + 1)), np.int64).reshape(count + 1, 4)
        self._rows, self._used = table[:-1], table[-1, :1]  # a row: state, offset, height, width
        self._lock: AbstractContextManager[object] = multiprocessing.Lock()

    def read(self, number: int) -> np.ndarray | None:
        """The picture, without a copy of it; None when it is not kept."""
        with self._lock:
            state, offset, height, width = self._rows[number].tolist()
        if state != _HERE:
            return None
        picture = self._bytes[offset : offset + height * width * 3].reshape(height, width, 3)
        picture.flags.writeable = False
        return picture

    def keep(self, number: int, picture: np.ndarray) -> None:
        """Keeps a picture if there is room for it, unless another process does so already."""
        with self._lock:
            offset = int(self._used[0])
            if self._rows[number, 0] != _UNKNOWN or offset + picture.nbytes > len(self._bytes):
                return
            self._used[0] = offset + picture.nbytes
            self._rows[number] = _COMING, offset, *picture.shape[:2]
        self._bytes[offset : offset + picture.nbytes] = picture.ravel()
        with self._lock:
            self._rows[number, 0] = _HERE


def can_share() -> bool:
    """Whether processes are forked here, as on Linux: those that are started anew, as on Windows and macOS, cannot
    share."""
    return multiprocessing.get_start_method() == "fork"
