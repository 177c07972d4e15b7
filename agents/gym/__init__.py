"""Agents for Gymnasium environments: a multilayer perceptron, and convolutions where an image is observed."""
