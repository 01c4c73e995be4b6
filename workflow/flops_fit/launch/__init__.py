"""One planned experiment as running processes: leases, signals, SLURM, `accelerate launch`."""
