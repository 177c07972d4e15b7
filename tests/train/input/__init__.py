"""Tests of `train.input`."""
