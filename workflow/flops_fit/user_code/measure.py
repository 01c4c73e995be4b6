"""Parameters and FLOPs of every size, measured on the user's own model, data and loss."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import default_collate

from flops_fit.errors import UserError
from flops_fit.study.study import Study
from flops_fit.user_code.content_fingerprint import check_content
from flops_fit.user_code.dataset_contract import open_splits, unit_name, units_per_sample
from flops_fit.user_code.dataset_meta import DatasetMeta
from flops_fit.user_code.flops import Batch, SizeMeasure, count_of, measure_size
from flops_fit.user_code.import_path import named_error
from flops_fit.user_code.importable import check_importable
from flops_fit.user_code.loss_contract import loss_function, loss_sum_and_count
from flops_fit.user_code.model_contract import BuildError, model_factory
from flops_fit.user_code.references import UserCode

_log = logging.getLogger(__name__)

_APART = math.log(1.1)
"""Steps in log N that a design chooses among: it goes up to a factor 6 from the optimum."""
_NEAREST = _APART * 0.75
_SAMPLES = 2  # one is too few for layers that normalise over the batch


def measure_sizes(
    study: Study, data_folder: Path, meta: DatasetMeta | None = None
) -> dict[float, SizeMeasure]:
    """Measure each of the study's sizes on a small batch of its own data, in ascending order.

    Of a dense range it measures those that lie about 10% apart in N. This also checks the user's
    code, as the last step before anything is planned. If the model cannot run on the meta device,
    there is a single warning for all its sizes.

    Parameters
    ----------
    meta
        What was measured when the dataset was prepared; None compares it with nothing.

    Raises
    ------
    UserError
        If the user's code breaks its contract (names the part and the size), or the dataset has
        changed since it was prepared.
    """
    code = UserCode.of_study(study)
    check_importable(code)
    if meta is not None:
        source = f"{code.source}: dataset: {data_folder}"
        check_content(lambda: open_splits(code, data_folder), meta, source)
    train = open_splits(code, data_folder)["train"]
    samples = [train[i] for i in range(min(_SAMPLES, len(train)))]
    units = len(samples) * units_per_sample(train)
    batch = _collated(samples, code)
    returned_by, build = loss_function(code), model_factory(code)

    def loss(outputs: Any, targets: Any) -> Tensor:  # checked as in the trainer
        return loss_sum_and_count(returned_by(outputs, targets), units, code.loss)[0]

    measures: dict[float, SizeMeasure] = {}
    for size in sizes_apart(build, code) if study.model.dense else code.sizes:
        with _mistakes_at(size, code):
            measure = measure_size(
                lambda size=size: build(size), batch, loss, units, unit_name(train)
            )
        warned = any(earlier.refused_by_meta_device for earlier in measures.values())
        if measure.refused_by_meta_device and not warned:
            _log.warning(
                "%s: %s or %s cannot run on the meta device (%s); sizes are built in memory to be "
                "measured.",
                code.source,
                code.model.path,
                code.loss,
                measure.refused_by_meta_device,
            )
        measures[size] = measure
    return measures


def sizes_apart(build: Callable[[float], nn.Module], code: UserCode) -> list[float]:
    """Return those of the sizes that lie about 10% apart in N, or all where they are coarser.

    Models are built only where N is not yet known to grow by less than that.
    """
    sizes = code.sizes

    @cache
    def log_N(i: int) -> float:
        with _mistakes_at(sizes[i], code):
            return math.log(count_of(lambda: build(sizes[i])).non_embedding)

    def between(low: int, high: int) -> Iterator[int]:
        if high - low > 1 and log_N(high) - log_N(low) > _APART:
            middle = (low + high) // 2
            yield from between(low, middle)
            yield middle
            yield from between(middle, high)

    last = len(sizes) - 1
    kept = [0]
    for i in between(0, last):
        if min(log_N(i) - log_N(kept[-1]), log_N(last) - log_N(i)) >= _NEAREST:
            kept.append(i)
    return [sizes[i] for i in [*kept, last]]


def _collated(samples: list[Any], code: UserCode) -> Batch:
    try:
        return tuple(default_collate(samples))
    except Exception as error:
        raise UserError(
            f"{code.source}: dataset.target: the first samples of {code.dataset.path} do not make "
            f"a batch ({named_error(error)}); expected tensors of equal shape"
        ) from error


@contextmanager
def _mistakes_at(size: float, code: UserCode) -> Iterator[None]:
    """Turn errors in the user's code into a sentence that names the size."""
    call = f"{code.model.path}({code.size_param}={size})"
    try:
        yield
    except BuildError as error:
        raise UserError(str(error)) from error
    except UserError as error:
        raise UserError(f"{code.source}: {call}: {error}") from error
    except Exception as error:
        raise UserError(
            f"{code.source}: {call}: a forward and backward pass over a batch of the dataset with "
            f"{code.loss} failed with {named_error(error)}; expected model, dataset and loss to "
            "fit together"
        ) from error
