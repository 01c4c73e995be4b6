"""Ways to lay out a sweep: one module each, whose ``lay_out`` returns a `Layout`."""
