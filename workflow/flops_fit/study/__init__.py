"""From a configuration file to a study: typed settings, identity, and its claim on a folder."""
