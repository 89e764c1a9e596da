"""What a table is, and how it is kept: specs, months, the Delta store, the served warehouse.

What the rows mean is no business of this room.
"""
