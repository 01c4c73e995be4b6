"""Train one experiment and write its record; started by ``accelerate launch`` only."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flops_fit.errors import Interrupted, InterruptedAlone, UserError, is_trouble_of_the_machine
from flops_fit.files.patience import seconds_from, write_patiently
from flops_fit.launch.leases import hold_use
from flops_fit.launch.signals import INTERRUPTED, Warned, end_with_agent, follow, leave
from flops_fit.plan.planned_files import read_job
from flops_fit.records.experiment_files import clear_checkpoints, held_experiment, weights_file
from flops_fit.records.run_record import store_record, use_stored_record
from flops_fit.train.checkpoint import write_weights
from flops_fit.train.loop import train_experiment
from flops_fit.train.progress import LOG, open_log

# Environment variable: for so many seconds a record that cannot be written is tried again.
RECORD_PATIENCE = "FLOPS_FIT_RECORD_PATIENCE"
DEFAULT_RECORD_PATIENCE = 600


def main() -> None:
    """Parse the launcher's arguments, train, and let the main process write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study-folder", type=Path, required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--gpus", type=int, required=True, help="GPUs leased for all processes")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads of this process")
    options = parser.parse_args()
    warned = Warned().listen()
    hold_use(os.environ)
    process = int(os.environ.get("RANK", "0"))
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    trained = threading.Event() if alone else end_with_agent()
    try:
        open_log(options.log, process)
        patience = seconds_from(os.environ, RECORD_PATIENCE, DEFAULT_RECORD_PATIENCE)
        job = read_job(options.study_folder / "specs.json", options.id)
        weights = {} if job.keep_checkpoint else None
        place = {
            "gpus": options.gpus,
            "threads": options.threads,
            "study_folder": options.study_folder,
            "warned": warned,
            "weights": weights,
        }
        if process != 0:
            train_experiment(options.id, job, **place)
        else:
            held = held_experiment(options.study_folder, options.id, asked_to_leave=warned.asked)
            with held:
                if alone and use_stored_record(options.study_folder, options.id):
                    return
                record = train_experiment(options.id, job, **place)
                trained.set()
                if weights:
                    keep_weights(weights, weights_file(options.study_folder, options.id), patience)
                store_record(record, options.study_folder, patience=patience, complain=LOG.warning)
                clear_checkpoints(options.study_folder, options.id)
                LOG.info("%s: %s, loss %s", options.id, record["status"], record["loss"])
    except Interrupted as left:
        if process == 0:
            LOG.warning("%s", left)
        leave(INTERRUPTED, together=not isinstance(left, InterruptedAlone))
    except UserError as error:
        LOG.error("error: %s", error)
        leave(1)
    except Exception as error:
        if is_trouble_of_the_machine(error):
            LOG.error("error: %s; run snakemake again once that is mended", error)
            leave(1)
        follow()
        LOG.exception("the experiment %s failed", options.id)
        sys.exit(1)  # the agent knows of a process that was killed, and says so


def keep_weights(weights: dict, path: Path, patience: float) -> None:
    """Write the final weights; where that is impossible, the record is worth more than they are."""
    try:
        write_patiently(lambda: write_weights(path, weights), "its weights", patience, LOG.warning)
    except Exception as error:  # whatever it is, no training is lost for it
        LOG.warning(
            "%s: the weights cannot be written (%s) and are lost; to have them, delete the record, "
            "and a rerun trains the experiment again",
            path, error,
        )  # fmt: skip


if __name__ == "__main__":
    main()
