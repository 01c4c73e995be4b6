"""Training of one experiment: the only part of the library that imports accelerate."""
