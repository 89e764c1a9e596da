"""Executing workflows: the set-based engine, the skills and the adapters they call.

What does not belong here: learning from what ran.
"""
