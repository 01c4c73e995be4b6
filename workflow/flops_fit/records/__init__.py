"""What was measured: the record of a run, the merged table, and imported tables."""
