"""Names of the published laws, by themselves: whoever reads a configuration needs no numpy."""

LAW_NAMES = ("chinchilla", "hoffmann", "llama3", "deepseek")
"""Those that `published` has the figures of."""
