"""Players with a trained network, from the files of several trainers."""
