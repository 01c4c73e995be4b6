"""The forms that are fitted: surfaces, power laws and parabolas."""
