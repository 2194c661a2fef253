"""Measurements: our engine beside other clients, memory, in-process tokens and start-up.

``make bench`` runs the client workloads; docs/performance.md says what each part measures.
"""
