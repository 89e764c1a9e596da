"""The skills' adapters. `simulated` stands in for outside systems in demonstrations and sandboxes."""
