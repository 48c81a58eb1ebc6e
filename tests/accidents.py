"""What happens to files and processes: a system that refuses, a kill, bytes that change."""

import os
from unittest.mock import Mock

from hypothesis import strategies as st


def refuse(number):
    """Stands in for a call that the system refuses with this error."""
    return Mock(side_effect=OSError(number, os.strerror(number)))


def is_killed(work):
    """Whether SIGKILL ends `work()`, which a child of this process does."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@st.composite
def mutated(draw, data, files):
    """A file's content after one to four mutations; of any of `files` a part may follow."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = int(draw(st.floats(0, 1)) ** draw(st.sampled_from([1, 3])) * len(data))  # headers are at the beginning
        width = draw(st.sampled_from([1, 1, 2, 4, 4, 16, 200]))
        kind = draw(st.sampled_from(["flip", "write", "extreme", "drop", "repeat", "cut", "splice"]))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "write":
            data[at : at + width] = draw(st.binary(min_size=width, max_size=width))
        elif kind == "extreme":
            data[at : at + width] = draw(st.sampled_from([b"\xff", b"\0", b"\x7f", b"\x80"])) * width
        elif kind == "drop":
            del data[at : at + width]
        elif kind == "repeat":
            data[at:at] = data[at : at + width] * draw(st.integers(1, 50))
        elif kind == "cut":
            del data[at:]
        elif kind == "splice":
            other = draw(st.sampled_from(files))
            data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)
