"""What a statistician says about a fit: a judgement as data, and its text."""
