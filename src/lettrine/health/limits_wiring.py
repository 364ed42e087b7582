"""Limits of the checks of wiring and of optimisation, with their sources; as `limits`, of which this is a part."""

from __future__ import annotations

from typing import Final

UNHELD_STEPS: Final = 20  # steps for which a parameter in the graph does not change before it is called unheld
FIXED_TRAINED: Final = 0.5  # of the matrices that no optimiser holds, or more, have rows more alike than a random draw
LOST_STEPS: Final = 3  # steps looked at before a report says that gradients are lost or missing at all of them
LOST_SHARE: Final = 0.5  # of the steps looked at, or more
GROWN_LOOKS: Final = 5  # looks in a row that reach back beyond the look before: with the default schedule up to step 9 at least
GROWN: Final = 1.5  # times as many nodes as at the first of them
KEPT_STEPS: Final = 15  # that the graph of a loss outlives its backward pass, as those of all losses since do
FROZEN_STEPS: Final = 20  # steps that a frozen matrix stays as it was drawn
FROZEN_LITTLE: Final = 0.03  # of the values of all matrices: a first stage that is random on purpose, as random features are
FROZEN_FINE: Final = 0.05  # of the loss of guessing: a network that ends below it did not need those layers

EVAL_LOOKS: Final = 3  # in a row with a module in eval mode under a model in training mode
NORM_PLACES_GAP: Final = (
    1.0  # standard deviations between the means of two places; twins of one network differ by a batch's noise
)
NORM_PLACES_RATIO: Final = 4.0  # of their variances
NORM_PLACES_LOOKS: Final = 2
MOVED_FITTED: Final = 0.5  # standard deviations between held-out inputs and the statistics that fit them
NORM_HELD_OUT: Final = 1.5  # times the training loss: held-out losses below it show that the statistics fit

MASK_LOOKS: Final = 2  # looks with an inverted mask

SCHEDULE_LOW: Final = 0.01  # of the peak: a cosine is below in the last 7 % of its run, a line to zero in the last 1 %
SCHEDULE_TENTH: Final = 0.1  # of the peak: a cosine is below in the last 20 % of its run
SCHEDULE_SHARE: Final = 0.5  # of the run
SCHEDULE_FALL: Final = 0.02  # of the loss, from one half of the earlier stretch to the other: still falling
SCHEDULE_FINE: Final = 0.05  # of the loss of guessing: little was left to learn
SCHEDULE_EARLY: Final = 0.2  # of the run: a rate that falls so early leaves no time to learn, where
SCHEDULE_LITTLE: Final = 0.7  # of the loss of guessing, or more, is left at the end
SCHEDULE_NOTHING: Final = 1e-6  # of the peak: a step of a thousandth of a weight becomes less than float32 can hold
SCHEDULE_WASTED: Final = 0.1  # of the run: a schedule that ends at 0 is there for its last step only
SCHEDULE_STEPS: Final = 100  # steps before anything is said
DIVERGED_RATE: Final = 1.5  # times the learning rate before the loss rose
DIVERGED_GRADIENT: Final = 10.0  # times the gradient norm before: a harder task makes it about as much larger as the loss
SPIKE_ABOVE: Final = 1.5  # times the loss at first: a network that is sure of its old task is worse than untrained at a new one
SPIKE_MOVED: Final = 0.1  # of a weight's size, from one look to the next: a step that breaks a run is far larger
SPIKE_FASTER: Final = 3.0  # times as fast as between the two looks before
PLATEAU_DROPS: Final = 2  # of the rate, each because nothing was better than the first number told
PLATEAU_BETTER: Final = 0.9  # of the first held-out loss: it fell, so what was told is not this loss
DECAYED: Final = 0.1  # of its size at first: a matrix that only its gradient moves keeps its size
DECAYED_AWAY: Final = 1e-3  # of its size at first: beside the biases the output shows nothing of it
DECAY_USUAL: Final = {True: 0.1, False: 5e-4}  # decoupled (Loshchilov & Hutter 2019) or added to the gradient (He et al. 2016)
CLIP_SCALE: Final = 1_024.0  # above this scale, a norm clipped before unscaling and one clipped after it cannot be confused
CLIP_MOST: Final = 100.0  # people clip norms at less
CLIP_ROUND: Final = 2e-3  # relative distance from a number of two digits
CLIP_SPREAD: Final = 0.01  # of the norm from step to step, relative: a norm that is not clipped is never so constant
RESUMED: Final = 0.5  # of the loss of guessing: a network with a lower first loss was trained before
RESUMED_RISE: Final = 2.0  # times the first loss, within
RESUMED_STEPS: Final = 50  # steps, and by more than
RESUMED_LOST: Final = 0.05  # of the loss of guessing, as for learning (LEARNED_SHARE): the first losses of fine-tuning vary much
RESUMED_SWINGS: Final = 1.5  # times the highest mean of three losses later on
RESUMED_COST: Final = 0.1  # of the run: a loss that is back by then was lost for a moment only
STATE_LOST: Final = 0.5  # of the looks after the first: a state is also lost for each task or each client, but less often
STATE_BACK: Final = 2  # looks at which a state was certainly younger than it must be
POST_NORMS: Final = 12  # layer norms behind sums, two a layer: six layers train without warm-up, deeper ones mostly do not
WARM_SHARE: Final = 0.5  # of the peak rate, already at the first step: no warm-up
WARM_LEARNED: Final = 0.95  # of the loss of guessing, known from some batches only: little more than the frequencies was learned
KL_COLLAPSED: Final = 0.05  # nats an example, of all latent variables together: they carry no information
KL_STEPS: Final = 150  # steps before it is reported: the divergence starts near 0 and grows
PADDED_ROWS: Final = 0.5  # of the rows end in padding, and
PADDED_RUN: Final = 0.25  # of all places are padding at their ends
PADDED_MOST: Final = 0.5  # of all places: most of what counts is padding
AHEAD_LOOKS: Final = 2  # looks at which the targets were the input, shifted by one, and something could see them
WRAPPED_LITTLE: Final = 0.02  # of the targets are a row's own first token: of long rows one wrong target does little
REWRITTEN: Final = 2  # looks since which a copy was written and has the values it had at first, while the other part moved
ROUNDED_SHARE: Final = 0.5  # of the values stay as they are at a step, although they have a gradient: most of it is rounded away
ROUNDED_STEPS: Final = 3  # steps compared
STEPLESS_ROUNDS: Final = 32  # calls of the model without a step: more micro-batches are seldom gathered for the first one
FLEETING: Final = 0.5  # optimisers made for each step, or more: their averages are over two steps at most
DROPPED: Final = 0.8  # of the values: usual are 0.5, and 0.2 of inputs (Srivastava et al. 2014, section A.4)
MOMENTUM_HEAVY: Final = 0.99  # the most that is usual (Sutskever et al. 2013)
DECAY_MUCH: Final = 50.0  # times the usual weight decay of AdamW, which keeps it apart from the gradient
DECAYED_HALF: Final = 0.5  # of its size at first, under so much decay, where hardly anything was learned
PEAKED: Final = 0.7  # of a row's weight on one place, on average: fresh scores with a std of 1 give 0.3 among 8 places
PEAKED_SPREAD: Final = 4.0  # std of fresh scores in a row; divided by the root of their size they have 1 at most
WEIGHTS_LOOKS: Final = 3  # at which weights of log-probabilities have a graph
LATE_LOOKS: Final = 3  # at which weights of the examples met a mean
CHASED_LOOKS: Final = 3  # at which the target of a value had a graph
UNCLIPPED_LOOKS: Final = 3  # at which the smaller loss of a clipped and a free ratio was kept
REAL_LOOKS: Final = 2  # batches of data that a critic was shown
REAL_OUTSIDE: Final = 0.1  # of their values, far outside of what the generator can give: the rest cannot make up for it
HINGE_LOOKS: Final = 2  # at which a hinge could not be reached
COLLAPSED: Final = 0.02  # of their distance at first: vectors that are told apart keep a distance
COLLAPSED_FLAT: Final = 0.005  # relative difference of two losses: of vectors that differ, batches give losses that differ more
COLLAPSED_LEFT: Final = 0.2  # of the first loss, or more: vectors that are told apart leave next to nothing of a margin
ASKED_LOOKS: Final = 3  # at which a copy was asked for the values of actions
UNCOPIED_REMARK: Final = 400  # steps after which a copy that was never filled is remarked: usual are 100 to 1,000
UNCOPIED_STEPS: Final = 2_000  # steps after which it is a warning
ROWS_MOVED: Final = 8.0  # rows of inputs that came back among other rows: what holds them is drawn anew, and no order in time
VOLUME_LOOKS: Final = 4  # of a flow
VOLUME_VANISHED: Final = 0.05  # mean square of a code, where the prior says 1: a likelihood keeps it near that
VOLUME_FELL: Final = 1.0  # nats by which the log-volume fell meanwhile: a likelihood pays for each of them
VALUE_LOOKS: Final = 3  # with targets made of a reward and a value of the next state
RETURNS_LOOKS: Final = 3  # at which the returns of an episode could be read, all of them forwards
DRAWN_LOOKS: Final = 3  # at which a target was noise that nothing else was made of
TRIPLETS_ROWS: Final = 32  # anchors at the first looks
TRIPLETS_FARTHER: Final = 0.6  # of them lie nearer to the negative; of a pair of one class fresh vectors lie nearer than of two
TRIPLETS_LEFT: Final = 0.8  # of the first loss or of the margin, or more: a margin that is learned leaves next to nothing
UNBOUNDED: Final = 1e4  # times the size of the first loss, or of 1, below 0; densities of images reach some thousands
UNBOUNDED_GROWS: Final = 1.5  # times that of half the run before: a loss with a lowest value slows down
GAIN_ERRORS: Final = 3.0  # standard errors that the mean of gains may lie from 0, if they are draws around it
GAIN_SMALL: Final = 0.3  # size of a gain that makes the values of a norm small again; draws have 0.02 to 0.1
GAIN_SHARE: Final = 0.5  # of the norms
BLANK_LOOKS: Final = 4  # at all of which different examples were the same inside the network
