"""The answer for reading: tables and figures made from `fit.json` and `runs.csv`."""
