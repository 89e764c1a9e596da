"""The dashboard: what the marts say, drawn on one page that holds all it needs.

It reads the published warehouse and nothing else, so it shows what every other reader of the marts sees.
"""
