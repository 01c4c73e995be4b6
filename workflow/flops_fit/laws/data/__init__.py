"""The runs as numbers: table, budgets, noise, FLOPs per unit."""
