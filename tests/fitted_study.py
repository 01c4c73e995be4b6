"""What becomes of a fit in which the runs give no answer."""

from __future__ import annotations


def without_answer(fit: dict, why: str) -> dict:
    """Take the answer away, as where no layout of runs gives one."""
    fit["answer"] |= {
        "method": None, "why": why, "form_error": None, "points": [], "predictions": [], "law": None
    }  # fmt: skip
    fit["answer"]["if_form_is_exact"] = {"approach": None, "why": why, "predictions": []}
    return fit
