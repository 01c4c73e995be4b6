"""What the scripts of the workflow call."""
