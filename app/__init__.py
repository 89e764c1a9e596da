"""The `rwcm` command: parse, call a room or run assets, print. Nothing is decided here."""
