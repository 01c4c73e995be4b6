"""The exceptions used throughout the library; `UserError` is for a user's mistakes."""

from __future__ import annotations

import errno

# Numbers of OSErrors that are not a defect of the program: no space, or no permission.
_TROUBLE_OF_THE_MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE,
)  # fmt: skip


class UserError(ValueError):
    """A mistake that the user can fix: the message is one sentence that says how.

    Scripts print the message and leave with exit status 1; everything else that is raised is a
    defect of flops-fit and keeps its traceback.
    """


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """The training has stopped between two steps because it was asked to; the message says so."""


class InterruptedAlone(Interrupted):
    """Only this process of the training has stopped, before it joined the others."""


def is_trouble_of_the_machine(error: BaseException) -> bool:
    """Return whether an error means a full disk, a read-only folder or too many open files."""
    return isinstance(error, OSError) and error.errno in _TROUBLE_OF_THE_MACHINE
