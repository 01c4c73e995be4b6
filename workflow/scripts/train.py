"""Train one experiment and write its record; started by ``accelerate launch`` only."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flops_fit.train.process import main

if __name__ == "__main__":
    main()
