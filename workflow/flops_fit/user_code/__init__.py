"""The user's model, dataset, loss and optimizer: found, held to their contracts, and measured."""
