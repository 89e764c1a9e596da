"""Orchestration: assets, checks, jobs, partitions and resources, one file per concept.

Bodies are thin: read, call one function of a room, return metadata. Domain logic belongs to the rooms before this one.
"""
