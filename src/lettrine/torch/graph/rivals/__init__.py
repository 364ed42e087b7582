"""Losses in which networks judge, teach or follow each other: policies and values, generators and judges."""
