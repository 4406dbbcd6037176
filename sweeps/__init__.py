"""What to run: one file per experiment, each with its SWEEP."""
