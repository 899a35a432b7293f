"""Executors: how a list of runs gets done."""
