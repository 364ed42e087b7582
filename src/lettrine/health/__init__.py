"""Is this network healthy? Measurements, a trace of them, checks, findings.

Knows nothing of language models: the same checks read the engines of lettrine and any torch module.
"""
