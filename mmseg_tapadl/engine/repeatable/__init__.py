"""What makes a run repeatable: random streams, positions, names of samples, the facts of a run."""
