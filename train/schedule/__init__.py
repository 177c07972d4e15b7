"""Learning-rate schedules of a run: the trunk, its decay branches, and where they start."""
