"""The planner: which experiments tell most about the optimum at a target, per FLOP."""
