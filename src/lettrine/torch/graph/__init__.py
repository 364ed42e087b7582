"""Reads autograd's graph and recorded calls: which module fed another, the terms of a loss, the tensors that operations saved.

`torch.watch` imports the files that hold readers of looks (`capture.looks.reader`). So every watch has all readers.
"""
