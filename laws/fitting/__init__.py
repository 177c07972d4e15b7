"""Scaling laws fitted to result rows: isoFLOP parabolas, power laws, L(N, D) and bootstrap intervals."""
