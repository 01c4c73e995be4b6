"""One training process: from the launcher's arguments to the record and the exit status."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flops_fit.errors import Interrupted, InterruptedAlone, UserError, is_trouble_of_the_machine
from flops_fit.files.patience import seconds_from, write_patiently
from flops_fit.launch.leases import hold_use
from flops_fit.launch.signals import INTERRUPTED, Warned, end_with_agent, follow, leave
from flops_fit.plan.files import read_job, read_trunk
from flops_fit.plan.trunk_record import nothing_to_share, store_trunk
from flops_fit.records.experiment_files import clear_checkpoints, held_experiment, weights_file
from flops_fit.records.run_record import RunRecord, store_record, use_stored_record
from flops_fit.train.checkpoint import write_weights
from flops_fit.train.experiment import train_experiment
from flops_fit.train.progress import LOG, open_log
from flops_fit.train.trunk import train_trunk

if TYPE_CHECKING:
    import torch  # elsewhere it comes after launch.signals, which remembers this process's parent

# Environment variable: for how many seconds writing a record is retried.
RECORD_PATIENCE = "FLOPS_FIT_RECORD_PATIENCE"
DEFAULT_RECORD_PATIENCE = 600


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one experiment as the process that the environment describes, and exit.

    The exit status, 0 or 1, is for ``accelerate launch``; `leave` tells the launcher the real one.
    """
    options = parse(arguments)
    warned = Warned().listen()
    hold_use(os.environ)
    rank = int(os.environ.get("RANK", "0"))
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    trained = threading.Event() if alone else end_with_agent()
    try:
        open_log(options.log, rank)
        if options.trunk:
            train_and_store_trunk(options, warned, trained, is_main=rank == 0, alone=alone)
        else:
            train_and_store(options, warned, trained, is_main=rank == 0, alone=alone)
    except Interrupted as left:
        if rank == 0:
            LOG.warning("%s", left)
        leave(INTERRUPTED, together=not isinstance(left, InterruptedAlone))
    except UserError as error:
        LOG.error("error: %s", error)
        leave(1)
    except Exception as error:
        if is_trouble_of_the_machine(error):
            LOG.error("error: %s; run snakemake again once that is fixed", error)
            leave(1)
        follow()
        LOG.exception("the %s %s failed", "trunk" if options.trunk else "experiment", options.id)
        sys.exit(1)  # the agent reports it if another process was killed


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the launcher's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study-folder", type=Path, required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--trunk", action="store_true", help="the id is that of a trunk")
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--gpus", type=int, required=True, help="GPUs leased for all processes")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads of this process")
    return parser.parse_args(arguments)


def train_and_store(
    options: argparse.Namespace,
    warned: Warned,
    trained: threading.Event,
    *,
    is_main: bool,
    alone: bool,
) -> None:
    """Train the experiment; the main process holds its lock and writes the results.

    Parameters
    ----------
    trained
        Set once this process no longer needs the others.
    alone
        Whether it is the only process of the training.
    """
    patience = seconds_from(os.environ, RECORD_PATIENCE, DEFAULT_RECORD_PATIENCE)
    study_folder = options.study_folder
    job = read_job(study_folder / "specs.json", options.id)
    weights: dict[str, torch.Tensor] | None = {} if job.keep_checkpoint else None

    def train() -> RunRecord:
        return train_experiment(
            job,
            gpus=options.gpus,
            threads=options.threads,
            study_folder=study_folder,
            warned=warned,
            weights=weights,
        )

    if not is_main:
        train()
        return
    with held_experiment(study_folder, job.id, asked_to_leave=warned.asked):
        if alone and use_stored_record(study_folder, job.id):
            return
        record = train()
        trained.set()
        if weights:
            keep_weights(weights, weights_file(study_folder, job.id), patience)
        store_record(record, study_folder, patience=patience, complain=LOG.warning)
        clear_checkpoints(study_folder, job.id)
        LOG.info("%s: %s, loss %s", job.id, record.status, record.loss)


def train_and_store_trunk(
    options: argparse.Namespace,
    warned: Warned,
    trained: threading.Event,
    *,
    is_main: bool,
    alone: bool,
) -> None:
    """Train what branches share; the main process holds the trunk's lock and writes its record."""
    study_folder, trunk = options.study_folder, options.id
    jobs = read_trunk(study_folder / "specs.json", trunk)

    def train() -> dict[str, Any]:
        return train_trunk(
            jobs,
            gpus=options.gpus,
            threads=options.threads,
            study_folder=study_folder,
            warned=warned,
        )

    if not is_main:
        train()
        return
    with held_experiment(study_folder, trunk, asked_to_leave=warned.asked):
        if alone and nothing_to_share(jobs, study_folder):
            store_trunk(jobs, study_folder)
            return
        training = train()
        trained.set()
        write_patiently(
            lambda: store_trunk(jobs, study_folder, training),
            "the record",
            seconds_from(os.environ, RECORD_PATIENCE, DEFAULT_RECORD_PATIENCE),
            LOG.warning,
        )
        clear_checkpoints(study_folder, trunk)
        LOG.info("trunk %s: %d branches go on from it", trunk, len(training["branches"]))


def keep_weights(weights: dict[str, torch.Tensor], path: Path, patience: float) -> None:
    """Write the final weights; a failure only warns, as the record matters more."""
    try:
        write_patiently(lambda: write_weights(path, weights), "its weights", patience, LOG.warning)
    except Exception as error:  # no failure here may cost the training's record
        LOG.warning(
            "%s: the weights cannot be written (%s) and are lost; to have them, delete the record, "
            "and a rerun trains the experiment again",
            path, error,
        )  # fmt: skip
