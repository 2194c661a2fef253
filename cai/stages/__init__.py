"""The stages between prompts and data: async functions from record to record."""
