"""Constitutional AI: from a constitution in YAML to data, trained models and a report."""

__version__ = "0.1.0"
