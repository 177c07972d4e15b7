"""How the learning rate follows the size of the network."""
