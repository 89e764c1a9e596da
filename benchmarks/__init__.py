"""Speed, as ratios against a limit measured in the same run: what the same rows cost with nothing done to them."""
