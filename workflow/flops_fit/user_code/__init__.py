"""The user's model, dataset, loss and optimizer: imported, checked and measured."""
