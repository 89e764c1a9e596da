"""Governed objects: their documents, the step language, versions, and the relational store they are kept in.

What does not belong here: running anything, deciding anything.
"""
