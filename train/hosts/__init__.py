"""Training by several processes: how they find each other, agree, and keep a run's folder from others."""
