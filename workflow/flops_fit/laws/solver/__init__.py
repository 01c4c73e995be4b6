"""Numerical minimisation; knows objectives, and nothing of approaches."""
