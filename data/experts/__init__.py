"""Players of the games that agents imitate: scripted and trained."""
