"""How a watch works, from the optimiser's step to the trace; `torch.watch` makes one.

watch       what the user sees
probes      what observes a model: its modules, its parameters, the loss, the calls of a step
steps       when: the hooks of the optimisers, and which steps are sampled
sampled     what: one sampled step, from its first hook to its figures
waiting     the last sampled step, until its loss is known
successors  another optimiser that takes the place of the one that was given
stepless    a training that makes no step at all
losses      the losses that the user hands over, and the step of each
audience    who is told during the training
record      what was seen: the trace, the other ranks, and the state that a resumed run needs
reporting   the report, with experiments if a task was given
"""
