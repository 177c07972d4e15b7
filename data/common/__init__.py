"""Shared by all packages: command lines, atomic files, worker processes, safe reading of torch files."""
