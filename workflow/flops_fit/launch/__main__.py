"""`python -m flops_fit.launch`: what the train rule calls."""

import sys

from flops_fit.errors import UserError, is_trouble_of_the_machine
from flops_fit.launch.launcher import main

if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        if not is_trouble_of_the_machine(error):
            raise
        sys.exit(f"error: {error}; run snakemake again once that is fixed")
