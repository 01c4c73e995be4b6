"""Loads samples by index, collates them, and moves them to the Accelerator's device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, default_collate

from flops_fit.launch.signals import leave_signals_to_the_trainer, signals_held_back

_MOST_WORKERS = 4


class Batches:
    """Loads batches for one experiment.

    Parameters
    ----------
    accelerator
        Its device is where the tensors go.
    dtype
        Type to which floating-point inputs and targets are cast; None leaves them as they are.
    threads
        CPU threads of this process. On a GPU, all threads but one load samples; with a single
        thread, the process itself loads them while its GPU works on earlier batches.
    """

    def __init__(
        self, accelerator: Accelerator, dtype: torch.dtype | None = None, threads: int = 1
    ) -> None:
        self.accelerator = accelerator
        self.dtype = dtype
        self.workers = min(_MOST_WORKERS, max(0, threads - 1))

    def load(
        self,
        dataset: Dataset,
        index_lists: Iterable[list[int]],
        begin: Callable[[], None] | None = None,
    ) -> Iterator[Any]:
        """Yield one placed batch ``(inputs, targets)`` per list of dataset indices.

        ``begin`` is called before the first sample is loaded, and after the loader has drawn a seed
        for its workers from torch's generator.
        """
        on_gpu = self.accelerator.device.type != "cpu"
        loader = DataLoader(
            dataset,
            batch_sampler=index_lists,
            num_workers=self.workers if on_gpu else 0,
            pin_memory=on_gpu,
            worker_init_fn=leave_signals_to_the_trainer,
        )
        with signals_held_back():
            batches = iter(loader)
        if begin is not None:
            begin()
        for batch in batches:
            yield self._place(batch)

    def one(self, dataset: Dataset, indices: list[int]) -> Any:
        """Return one placed batch, loaded by this process itself."""
        return self._place(default_collate([dataset[i] for i in indices]))

    def _place(self, batch: Any) -> Any:
        batch = send_to_device(batch, self.accelerator.device, non_blocking=True)
        if self.dtype is None:
            return batch
        return tree_map(
            lambda x: x.to(self.dtype) if torch.is_tensor(x) and x.is_floating_point() else x, batch
        )
