"""Attacks against defences: matrices of detection, with their statistics."""
