"""Reading autograd: what fed a module, what a loss is made of, what the operations saved."""
