"""The pages that people read, and what checks them: ``python -m docs.check``."""
