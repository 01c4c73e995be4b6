"""Evidence for and against a fit: judgements, resampling, intervals."""
