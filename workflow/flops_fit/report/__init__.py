"""Tables and figures for people, made from `fit.json` and `runs.csv`."""
