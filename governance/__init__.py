"""Deciding: whether a proposal may become current, by gates that prove it and reviewers who answer for it.

What does not belong here: how a version is written (`registry.publication`), and which rows it asks for
(`registry.gates`).
"""
