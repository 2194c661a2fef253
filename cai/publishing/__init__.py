"""A run's data sets and models on the hub: what would be sent, and sending it."""
