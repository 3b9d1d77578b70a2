"""Transforms: from functions to graphs, and from graphs to graphs."""
