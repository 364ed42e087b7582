"""What a step of the training shows, from an output to a figure.

modules, first_call       hooks on modules; what a module is, seen at its first call
catalogue, elementwise    the role, activation and names of a module
outputs                   captures: the places where outputs and gradients are copied
parameters, witness       values and gradients around the optimiser's step, and what happened to gradients before it
copies                    from a tensor to an array; of a large tensor only a part
figures                   from the arrays to the figures of the step
losses, targets           the losses that the user hands over, and the targets that gradients of logits show
looker, wholeness, looks  some steps are looked at whole: with functions, arguments and the loss's graph
functions, entrances      the functions of torch that are called, and the parts of a model that the user calls
held_out, evaluations     passes on held-out data, and how their losses are joined
guard, compiled, scaling, optimisers, closures, belonging, sharding, replicas   each handles one special case
"""
