"""Reading autograd and calls: what fed a module, what a loss is made of, what the operations saved.

The files that hold readers of looks (`capture.looks.reader`) are imported by `torch.watch`, so that every watch has them.
"""
