"""Reads autograd's graph and recorded calls: which module fed another, the terms of a loss, the tensors that operations saved.

Most files hold a reader of looks (`capture.looks.reader`) and begin with the evidence it gives; `readers` imports them all, so
every watch has them. What several rooms use lies here: `reading` and `walks` (the graph), `leaves`, `makers`.

    losses: what a loss is made of, and which way it pulls.
    rivals: networks that judge, teach or follow each other.
    data: inputs and targets.
    layers: what happens inside a network.
    steps: what becomes of gradients.
"""
