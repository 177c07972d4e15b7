"""Expert policies that agents imitate, scripted and trained."""
