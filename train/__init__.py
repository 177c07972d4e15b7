"""Training: behavioural cloning of expert games, and reinforcement learning of experts (`train.rl`)."""
