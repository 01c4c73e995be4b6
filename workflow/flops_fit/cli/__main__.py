"""`python -m flops_fit.cli` is `flops-fit`."""

from __future__ import annotations

import sys

from flops_fit.cli import main

if __name__ == "__main__":
    sys.exit(main())
