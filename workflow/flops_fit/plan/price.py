"""What training costs, in FLOPs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flops_fit.study.study import Study

if TYPE_CHECKING:
    from flops_fit.user_code.flops import SizeMeasure


def flops_per_unit(study: Study, size: SizeMeasure) -> float:
    """Return the training FLOPs of one unit by the account of ``plan.flops``."""
    if study.plan.flops == "6ND":
        # Kaplan et al. 2020 (arXiv 2001.08361), section 2.1: C = 6 N D without embeddings.
        return 6.0 * size.n_params_non_embedding
    return size.flops_per_unit
