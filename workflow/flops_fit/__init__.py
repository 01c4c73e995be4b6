"""flops-fit: compute-optimal model and data size, from measured IsoFLOP sweeps."""

__version__ = "0.1.0"
