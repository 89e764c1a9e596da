"""Compatibility of schema versions: pure, values in, reasons out."""
