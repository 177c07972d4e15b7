"""What all packages share: command lines, files written whole, worker processes, torch files read safely."""
