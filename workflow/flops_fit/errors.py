"""The one exception whose message is meant for the person at the terminal."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake that the user can mend: the message is one sentence that says how.

    Scripts print the message and leave with exit status 1; everything else that is raised is a
    defect of flops-fit and keeps its traceback.
    """
