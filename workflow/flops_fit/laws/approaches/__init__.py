"""One module per approach."""
