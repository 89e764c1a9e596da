"""Everything that comes in: the landing zone, validation, dead letters, imported event logs, and the demonstration's
stream.

What happens to an accepted event belongs to the rooms after this one.
"""
