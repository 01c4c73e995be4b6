"""A trunk: the beginning of experiments that differ in their length alone, trained once.

With a warm-up in steps, a constant learning rate and a data order that follows from (seed, step),
the states before the shortest one's decay are the same in all of them, bit for bit. The trunk
leaves each experiment (a branch) the very checkpoint that it would have written itself at that
step. So a branch is an ordinary experiment, and trains to the same record if that checkpoint is
lost.

The trunk ends where the last branch but one leaves it: the longest goes on by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from flops_fit.launch.signals import Warned
from flops_fit.plan.job import Job
from flops_fit.records.experiment_files import TRUNK_STATE, state_folder, waits_for_trunk
from flops_fit.train.accelerator import all_hosts, device_name, start_accelerator
from flops_fit.train.branch import Branch, state_of_branch
from flops_fit.train.experiment import checked
from flops_fit.train.loop import Trainer
from flops_fit.train.progress import LOG
from flops_fit.train.provenance import now
from flops_fit.train.resuming import begin_or_resume
from flops_fit.train.saving import Saver
from flops_fit.train.state import Attempts


class TrunkTrainer(Trainer):
    """The training of the longest of some experiments, as long as it is that of another one, too.

    Parameters
    ----------
    jobs
        The experiments that wait for the trunk, the shortest first.
    """

    def __init__(
        self, jobs: Sequence[Job], accelerator: Accelerator, attempts: Attempts, threads: int = 1
    ) -> None:
        *shorter, longest = jobs
        super().__init__(longest, accelerator, attempts, threads)
        self.run_id = longest.trunk
        self.title = f"trunk of {longest.spec.model.size_param}={longest.spec.size}"
        self.state.is_trunk = True
        self.state.branches = [Branch(job, accelerator.device) for job in shorter]
        self._last_step = (shorter or jobs)[-1].spec.decay_start

    @property
    def last_step(self) -> int:
        """Steps after which no two branches go on together."""
        return self._last_step

    def check_branches(self) -> None:
        """Add the step just taken to what the branches know of it; drop those that diverge."""
        step, branches = self.state.step, self.state.branches
        lr = self.spec.lr * self.lr_factor(step - 1)
        for branch in branches:
            branch.check(step, lr, self.accelerator)
        self.state.branches = [branch for branch in branches if not branch.diverged]


class TrunkSaver(Saver):
    """Keeps the checkpoints of a trunk, and leaves the branches theirs."""

    def __init__(self, trainer: TrunkTrainer, study_folder: Path, warned: Warned) -> None:
        super().__init__(trainer.job, trainer.state, trainer.accelerator, study_folder, warned)
        self.trainer, self.study_folder = trainer, study_folder
        self.run_id, self.title = trainer.run_id, trainer.title
        self.folder = state_folder(study_folder, trainer.run_id)
        self.left: dict[str, int] = {}  # branch -> step

    def after_step(self) -> None:
        """Store the states of the branches that leave here, then do as for any training."""
        self.trainer.check_branches()
        self.leave_branches()
        super().after_step()

    def leave_branches(self) -> None:
        """Store the states of the branches that leave the trunk after this step."""
        here = [branch.id for branch in self.state.branches if branch.step == self.state.step]
        if here:
            self._leave(here)
            kept = [branch for branch in self.state.branches if branch.id not in here]
            self.state.branches = kept

    def after_training(self) -> None:
        """Leave the longest branch the state of the end: it goes on alone from there."""
        if not self.state.diverged:
            self._leave([self.trainer.job.id])

    def _leave(self, run_ids: Sequence[str]) -> None:
        with self.state.stopwatch.timing_a_save():
            state = self.state.collect()
            for run_id in run_ids if state is not None and not self.cannot_save else ():
                left = {"id": self.run_id, "step": self.state.step}
                path = state_folder(self.study_folder, run_id) / TRUNK_STATE
                if self._written(path, {**state_of_branch(state, run_id), "trunk": left}):
                    self.left[run_id] = self.state.step
                    LOG.info("%s: %s leaves it after step %d", self.title, run_id, left["step"])


def train_trunk(
    jobs: Sequence[Job],
    *,
    gpus: int,
    threads: int = 1,
    study_folder: Path,
    warned: Warned | None = None,
) -> dict[str, Any]:
    """Train a trunk with all processes of this launch, and store the states of its branches.

    Parameters
    ----------
    jobs
        Its branches, the shortest first.
    gpus, threads, warned
        As in `train_experiment`.

    Returns
    -------
    dict
        One entry of ``trainings`` in the trunk's record.

    Raises
    ------
    Interrupted
        On every process, if one was asked to leave before the end.
    UserError
        As in `train_experiment`.
    """
    start = now()
    accelerator = start_accelerator(jobs[-1], gpus)
    waiting = [job for job in jobs if waits_for_trunk(study_folder, job.id)]
    (ids,) = broadcast_object_list([[job.id for job in waiting]])
    waiting = [job for job in jobs if job.id in ids]
    place = [device_name(accelerator.device), accelerator.num_processes]
    attempts = Attempts(start=start, place=place)

    def make() -> Trainer:
        return TrunkTrainer(waiting, accelerator, attempts, threads)

    trainer = begin_or_resume(lambda: checked(make, jobs[-1], attempts, study_folder), study_folder)
    saver = TrunkSaver(trainer, study_folder, warned or Warned())
    saver.leave_branches()
    trainer.train(saver.after_step)
    saver.after_training()
    training = _training(trainer, saver)
    saver.warned.finish()
    # Without an orderly shutdown, processes joined by gloo occasionally crash at exit.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return training


def _training(trainer: TrunkTrainer, saver: TrunkSaver) -> dict[str, Any]:
    """Return what was trained, and for whom (a collective call)."""
    state, job = trainer.state, trainer.job
    D = state.step * job.spec.batch
    return {
        "steps": state.step,
        "D": D,
        "C": job.flops_per_unit * D,
        "branches": saver.left,  # id -> step after which it leaves
        "diverged": state.diverged,
        "train_seconds": state.stopwatch.training,
        "checkpoint_seconds": state.stopwatch.saving,
        "num_processes": trainer.accelerator.num_processes,
        "device": device_name(trainer.accelerator.device),
        "hosts": all_hosts(),
        "resumed": state.attempts.resumed,
        "start": state.attempts.start,
        "end": now(),
    }
