"""A run's data as the rows of other programs: hard pairs and conversations, as files."""
