"""The design of a sweep: the sizes of each budget, their settings, the runs that these are trained in, their cost."""
