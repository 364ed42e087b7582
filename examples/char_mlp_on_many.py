"""CharMLP on several processes, each with its share of every batch: the loss and the weights are those of one process.

torchrun --nproc-per-node 2 examples/char_mlp_on_many.py names.txt
"""

import sys

import numpy as np
import torch
from torch import distributed
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from lettrine.model.config import MLPConfig
from lettrine.text.corpora import load_corpus
from lettrine.text.vocabulary import Vocabulary
from lettrine.text.windows import windows
from lettrine.text.words import read_words, split
from lettrine.torch.model import CharMLP


def train(words, steps=200, batch=256, dtype=torch.float32):
    """The mean loss of every step, and the model. One process, or as many as there are in the group."""
    ranks, rank = (distributed.get_world_size(), distributed.get_rank()) if distributed.is_initialized() else (1, 0)
    vocabulary = Vocabulary.from_words(words)
    train = windows(split(words).train, vocabulary, 8)
    torch.manual_seed(0)  # the same weights everywhere
    model = CharMLP(MLPConfig(vocabulary.size, context=8, embedding=24, hidden=(200,))).to(dtype)
    called = DistributedDataParallel(model) if ranks > 1 else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    rows, losses = np.random.default_rng(0), []  # the same batch everywhere, of which each takes its share
    for _ in range(steps):
        mine = rows.integers(0, len(train), batch)[rank::ranks]
        contexts, targets = torch.from_numpy(train.contexts[mine]), torch.from_numpy(train.targets[mine]).long()
        loss = functional.cross_entropy(called(contexts), targets)
        optimizer.zero_grad()
        loss.backward()  # DistributedDataParallel takes the mean of the gradients
        optimizer.step()
        mean = loss.detach() / ranks
        if ranks > 1:
            distributed.all_reduce(mean)
        losses.append(mean.item())
    return losses, model


if __name__ == "__main__":
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo")
    losses, _ = train(read_words(sys.argv[1]).words if len(sys.argv) > 1 else load_corpus("first-names").words)
    if not distributed.is_initialized() or distributed.get_rank() == 0:
        print(*(f"step {step:>4}  loss {losses[step]:.6f}" for step in (0, len(losses) // 2, len(losses) - 1)), sep="\n")
    if distributed.is_initialized():
        distributed.destroy_process_group()
