"""Data sets as Parquet folders that TRL and `datasets.load_dataset` read as they are."""
