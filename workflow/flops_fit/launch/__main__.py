"""`python -m flops_fit.launch`: what the train rule calls."""

import sys
from contextlib import suppress
from typing import NoReturn

from flops_fit.errors import UserError, is_trouble_of_the_machine
from flops_fit.launch.launcher import main, parse


def end_with(sentence: str) -> NoReturn:
    """Leave a sentence on standard error and at the end of the experiment's log."""
    with suppress(OSError):
        log = parse(None).log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{sentence}\n")
    sys.exit(sentence)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        end_with(f"error: {error}")
    except OSError as error:
        if not is_trouble_of_the_machine(error):
            raise
        end_with(f"error: {error}; run snakemake again once that is fixed")
