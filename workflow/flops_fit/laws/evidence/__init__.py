"""How far a fit may be trusted: judgements, resampling, intervals, hold-out."""
