"""The library side of the workflow: what its rules and scripts call."""
