"""Kill a small study at random moments, again and again, and count what was lost: nothing.

    PYTHONPATH=workflow:tests python benchmarks/faults.py --kills 50 --seed 1

Each round takes a planned study of six experiments (of one and of two processes) and sends SIGKILL
to Snakemake, a launcher, accelerate, a training process, or a training process that writes a
checkpoint or a record or is about to rename it, until it is finished; then a plain rerun (after
`snakemake --unlock` where Snakemake itself was killed) has to complete it with the runs.csv of an
undisturbed study, byte for byte, without having trained a finished experiment again.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
from collections import Counter
from pathlib import Path

from fault_campaign import Campaign, fresh_copy, run_undisturbed


def main() -> None:
    """Run rounds until there were enough kills, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    rng = random.Random(options.seed)
    kills: Counter[str] = Counter()
    starts = unlocked = rounds = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planned, expected = run_undisturbed(folder)
        while sum(kills.values()) < options.kills:
            rounds += 1
            campaign = Campaign(fresh_copy(planned, folder / f"round{rounds}"), expected, rng)
            campaign.run(options.kills - sum(kills.values()))
            kills += campaign.kills
            starts += campaign.starts
            unlocked += campaign.unlocked
            print(f"round {rounds}: {sum(kills.values())} kills so far", flush=True)
    print(f"seed {options.seed}: {sum(kills.values())} kills in {rounds} studies, {starts} starts")
    for victim, count in sorted(kills.items()):
        print(f"  {victim:<24} {count:4d}")
    print(
        f"unlocked {unlocked} times; every study ended with the runs.csv of an undisturbed one; no "
        "finished experiment was trained again"
    )


if __name__ == "__main__":
    main()
