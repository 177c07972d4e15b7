"""Episodes of Minari datasets: reading a dataset, and for each family of games how its observations become steps."""
