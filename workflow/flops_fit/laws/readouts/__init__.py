"""What people ask of a fit, from its stored draws: pure functions on a `Landscape`."""
