"""How a watch works, from the optimiser's step to the trace; `torch.watch` makes one.

watch       what its user sees of it
probes      what listens to a model: its modules, its parameters, the loss, the calls of a step
steps       when: the hooks of the optimisers, and which steps are sampled
sampled     what: one sampled step, from "listen" to its figures
waiting     the last sampled step, until its loss has come
losses      the losses that the user hands over, and the step that each is of
audience    who is told while the training goes on
record      what was seen: the trace, the other ranks, and what a resumed run needs
reporting   the report, with experiments where a task was given
"""
