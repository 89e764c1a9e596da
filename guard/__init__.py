"""Protection that several rooms need: canonical JSON and hashes, redaction, identifiers.

What belongs here is pure: values in, values out. What does not: deciding, storing.
"""
