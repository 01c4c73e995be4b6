"""The lines of `flops-fit explain` for one experiment."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from flops_fit.pipeline.explain import Explained, Place, duration
from flops_fit.records.run_record import RunRecord
from flops_fit.study.train_settings import LrScaling, TrainSettings

Rows = Sequence[tuple[str, str]]

_GIB = 2**30
_PRECISIONS = {"no": "float32"}
# What fields of a record mean, where their names do not say it.
_MEANINGS = {
    "git.dirty": "whether there were changes since that commit",
    "content_fingerprint": "of the dataset's samples",
    "micro_batch": "samples at once in each process",
    "gradient_accumulation": "passes per step in each process",
    "resumed": "whether it went on from a checkpoint",
    "start": "UTC",
    "end": "UTC",
}


def lines_of_one(explained: Explained) -> list[str]:
    """Return what an id means, for reading on a terminal."""
    places = explained.places
    several = len(places) > 1
    lines = [f"{explained.id}  {title(explained)}".rstrip(), "", *aligned(_overview(explained))]
    lines += ["", *_spec_lines(explained)]
    for place in places:
        of = f" ({place.study})" if several else ""
        lines += ["", f"where it stands{of}", *aligned(_standing(place))]
        if place.record is not None:
            unit = unit_of(place)
            lines += ["", f"what it measured{of}", *aligned(_measured(place.record, unit))]
            trained = [(name, _with_meaning(name, value)) for name, value in circumstances(place)]
            lines += ["", f"what it was trained with{of}", *aligned(trained)]
    return lines


def title(explained: Explained) -> str:
    """Return the experiment's name for people, empty where nothing tells it."""
    for place in explained.places:
        if place.row is not None:
            return place.row.title
    for place in explained.places:
        if place.record is not None:
            spec = place.record.spec
            return f"C={place.record.C:.3g} size={spec.size:g} seed={spec.seed} lr={spec.lr:g}"
    return ""


def unit_of(place: Place) -> str:
    """Return what D counts, in the singular; a record alone tells tokens from others."""
    if place.job is not None:
        return place.job.unit
    return "token" if place.record is not None and place.record.C_6nd is not None else "unit"


def flat(plain: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a nested object with its dotted name; an empty object is a value."""
    if not isinstance(plain, Mapping) or not plain:
        yield prefix, plain
        return
    for name, value in plain.items():
        yield from flat(value, f"{prefix}.{name}" if prefix else str(name))


def circumstances(place: Place) -> list[tuple[str, Any]]:
    """Return what a record holds of the code, the data and the machine, field by field."""
    record = place.record
    return [*flat(asdict(record.provenance)), *flat(asdict(record.world))]


def shown(value: Any) -> str:
    """Return a value as JSON spells it; text without quotes where it cannot be mistaken."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=not _is_printable(value))
    try:
        json.loads(value)
        mistaken = True
    except (ValueError, RecursionError):
        mistaken = value != value.strip() or not value
    return json.dumps(value) if mistaken or not value.isprintable() else value


def _is_printable(value: Any) -> bool:
    return json.dumps(value, ensure_ascii=False).isprintable()


def aligned(rows: Rows) -> list[str]:
    """Return names and values in two indented columns; further lines of a value stand below."""
    split = [(name, line) for name, value in rows for name, line in _one_a_line(name, value)]
    return [f"  {line}" for line in columns(split)]


def _one_a_line(name: str, value: str) -> list[tuple[str, str]]:
    return [("" if i else name, line) for i, line in enumerate(value.split("\n"))]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows of a table as aligned lines."""
    rows = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _printable(text: str) -> str:
    """Replace what would move the cursor of a terminal, or what it cannot spell."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _overview(explained: Explained) -> Rows:
    place, rows = explained.place, []
    names = ", ".join(one.study for one in explained.places)
    rows.append(("studies" if len(explained.places) > 1 else "study", names))
    planned = next((one for one in explained.places if one.row is not None), place)
    row, record = planned.row, place.record
    if row is not None:
        rows.append(("budget C", f"{row.budget:.6g} FLOPs (the plan spends {row.C:.4g})"))
    if explained.spec is not None:
        model = explained.spec.get("model")
        name = model.get("size_param") if isinstance(model, Mapping) else "size"
        rows.append(("size", f"{name} = {shown(explained.spec.get('size'))}"))
    source = row or record
    if source is not None:
        counts = f"{source.n_params_non_embedding:,} non-embedding parameters"
        rows.append(("N", f"{counts}, {source.n_params:,} in total"))
    if row is not None:
        rows.append(("D", f"{row.D:,} {unit_of(planned)}s"))
        rows.append(("steps", f"{row.steps:,}, with {row.batch:,} {unit_of(planned)}s in each"))
        if math.isfinite(row.epochs):
            rows.append(("epochs", f"{row.epochs:.4g}"))
    return rows


def _spec_lines(explained: Explained) -> list[str]:
    if explained.spec is None:
        return remarks_on_spec(explained)
    fields = dict(flat(explained.spec))
    units = {"units": f"{unit_of(explained.place)}s"}
    units["value of size_param"] = f"value of {fields.get('model.size_param')}"
    rows = []
    for name, value in fields.items():
        of = _unit_in_schema(name) if isinstance(value, int | float) else ""
        of = _PRECISIONS.get(value, "") if name == "precision" else units.get(of, of)
        rows.append((name, f"{shown(value)}{f' ({of})' if of else ''}"))
    head = "the spec, from which the id follows"
    return [head, *aligned(rows), *(f"  {remark}" for remark in remarks_on_spec(explained))]


def remarks_on_spec(explained: Explained) -> list[str]:
    """Return sentences on what is wrong with a spec, usually none."""
    if explained.spec is None:
        return [f"no file holds the spec of {explained.id}"]
    if explained.derived != explained.id:
        gives = f"gives the id {explained.derived}" if explained.derived else "gives no id"
        return [f"the spec of {explained.id} is damaged: it {gives}"]
    return []


def _unit_in_schema(name: str) -> str:
    """Return the unit of a field of the spec, as the study's keys have it, or nothing."""
    if name in ("D", "dataset.units_per_sample"):
        return "units"
    if name == "size":
        return "value of size_param"
    section, _, last = name.rpartition(".")
    keys = {"": TrainSettings, "lr_scaling": LrScaling}.get(section)
    if keys is None or last not in keys.model_fields:
        return ""
    return keys.model_fields[last].json_schema_extra["unit"]


def _standing(place: Place) -> Rows:
    rows = [("state", f"{place.state}{': ' if place.reason else ''}{place.reason}")]
    rows += [("remark", remark) for remark in place.remarks]
    rows += [("log ends", place.said)] if place.said else []
    return rows + [(name, str(path)) for name, path in place.files.items()]


def _measured(record: RunRecord, unit: str) -> Rows:
    rows = [("loss", loss_text(record, unit))]
    rows.append(("D", f"{record.D:,} {unit}s in {record.steps:,} steps"))
    rows.append(("C", f"{record.C:.6g} FLOPs"))
    if record.C_6nd is not None:
        ratio = f" (C is {record.C / record.C_6nd:.3g} times this)" if record.C_6nd else ""
        rows.append(("C_6nd", f"{record.C_6nd:.6g} FLOPs{ratio}"))
    rows += [(name, _speed(name, value, unit)) for name, value in flat(asdict(record.throughput))]
    return rows


def loss_text(record: RunRecord, unit: str) -> str:
    """Return the loss with its standard error."""
    if record.loss is None:
        return "none, it diverged"
    error = "" if record.loss_std_err is None else f" +- {record.loss_std_err:.2g}"
    return f"{record.loss:.6g}{error} nats per {unit}"


def _speed(name: str, value: Any, unit: str) -> str:
    """Return one field of the throughput; nothing has checked that it is a number."""
    if value is None:
        return "not known"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return shown(value)
    if name == "units_per_second":
        return f"{value:.4g} {unit}s/s"
    if name == "flops_per_second":
        return f"{value:.4g} FLOP/s"
    if name == "mfu":
        return f"{100 * value:.3g}% of the peak"
    if name.endswith("_seconds"):
        return duration(value)
    if name.endswith("_bytes"):
        return f"{value / _GIB:.3g} GiB"
    return shown(value)


def _with_meaning(name: str, value: Any) -> str:
    if value is None or value == {}:
        return "not recorded"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    meaning = _PRECISIONS.get(value) if name == "precision" else _MEANINGS.get(name)
    return f"{shown(value)}{f' ({meaning})' if meaning else ''}"
