"""Effects on other systems: journaled before and after, so that each happens once under its key."""
