"""Learning: what the recorded runs tell, and what could be done about it.

Proposals leave this room as rows of the publication queue; whether one is published is not decided here.
"""
