"""What the runs say for and against a fit: judgements, resampling, intervals."""
