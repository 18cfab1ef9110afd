"""Why a file cannot be opened or read just now, told apart from damage."""

from __future__ import annotations

import errno
import re

_NUMBER = re.compile(r"\berrno = (\d+)")
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
WAYS_OUT = {
    errno.EMFILE: "this process has no file handles left: raise their number (`ulimit -n`)",
    errno.ENFILE: "this machine has no file handles left: end other programs",
    errno.EACCES: "this user may not read it: ask its owner, or change its permissions",
    errno.EPERM: "this user may not read it: ask its owner, or change its permissions",
    errno.ENOMEM: "there is no memory left for it",
    errno.EISDIR: "a folder, not a file: name the file",
    errno.ENOENT: "no such file; it was there a moment ago",
    **dict.fromkeys(NO_LOCKS, "its file system has no locks: set HDF5_USE_FILE_LOCKING=FALSE, see docs/cluster.md"),
}


def obstacle(error: BaseException) -> str | None:
    """What is in the way of a file, and what to do; None where HDF5 finds fault with its content.

    The system numbers its errors, and HDF5 passes the numbers on: in the exception, or in its text. What is wrong with
    a file's content has none.

    >>> obstacle(OSError("Unable to open file (truncated file: eof = 96)")) is None
    True
    >>> obstacle(OSError("Can't read data (file read failed: errno = 5, error message = 'Input/output error')"))
    'its file system does not answer (errno 5, Input/output error): try again; it may be whole, delete nothing'
    """
    text = " ".join(str(error).split())
    match = _NUMBER.search(text)
    number = getattr(error, "errno", None) or (int(match[1]) if match else None)
    if number is None:
        return None
    if "lock" in text and number not in NO_LOCKS:
        why = "another process has locked it: wait until that has ended, or end the program that has it open"
    else:
        message = text.partition("error message = '")[2].partition("'")[0]
        said = f", {message}" if message else ""
        why = WAYS_OUT.get(number, f"its file system does not answer (errno {number}{said}): try again")
    return f"{why}; it may be whole, delete nothing"
