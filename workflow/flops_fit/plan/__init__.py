"""The sweep that a study asks for: its experiments, checks, price and files."""
