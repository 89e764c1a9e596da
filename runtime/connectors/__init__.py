"""Connectors: how skills reach outside systems."""
