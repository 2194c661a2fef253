"""`cai serve`: a model of this process behind OpenAI's HTTP interface."""

from cai.serve.server import serve_until_stopped, serving

__all__ = ["serve_until_stopped", "serving"]
