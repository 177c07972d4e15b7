"""Failures of training: steps that are not finite, damaged checkpoints, kernels that differ from run to run."""
