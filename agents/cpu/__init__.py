"""What makes small networks fast on a CPU: im2col convolutions, microbatches, one device per core."""
