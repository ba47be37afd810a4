"""Finds things: in configs, in the classes that they name, in built datasets and models."""
