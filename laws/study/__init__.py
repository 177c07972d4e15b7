"""Complete scaling law studies, each run by one command."""
