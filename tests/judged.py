"""Judgements of a fit by code, since tests do not depend on their wording."""

from __future__ import annotations


def found(judged, code, approach=...):
    """Return the values of every judgement `code` of a fit.json, or of a list of judgements."""
    if isinstance(judged, dict):
        entries = [(j["code"], j["approach"], j["values"]) for j in judged["judgements"]]
    else:
        entries = [(j.code, j.approach, j.values) for j in judged]
    return [v for c, a, v in entries if c == code and approach in (..., a)]


def only(judged, code, approach=...):
    """Return the values of the one judgement `code`."""
    (values,) = found(judged, code, approach)
    return values


def codes(judged):
    """Return all codes, in order."""
    if isinstance(judged, dict):
        return [entry["code"] for entry in judged["judgements"]]
    return [judgement.code for judgement in judged]
