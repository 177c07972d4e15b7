"""Sweeps: the runs that answer a question about scaling, planned by FLOPs, and run wherever there are machines."""
