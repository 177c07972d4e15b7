"""NetHack games in worker processes, which share memory with their parent and import no JAX."""
