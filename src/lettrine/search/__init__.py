"""Searching for the network and training that fit a word list best: many trials, on one machine or on many, on Optuna."""
