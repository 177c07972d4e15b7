"""Scaling laws through result rows: isoFLOP parabolas, power laws, L(N, D), bootstrap intervals."""
