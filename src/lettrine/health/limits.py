"""What counts as saturated, dead, too large or too small: every threshold of the health check, with its source.

The sentences that a user reads are formatted from these constants, so text and code cannot disagree. Which outputs of an
activation are saturated or dead is in the table of `lettrine.activations`; one without an entry is never judged by its values.
"""

from __future__ import annotations

from typing import Final

# The limits of the checks. A comment begins with the unit of its number: "of the run" is a share of the run's steps, "times" a
# factor. "clinic" is benchmarks/clinic: healthy and sick networks with several seeds, where each limit lies between the worst
# healthy figure and the mildest sick one.

LATE_FROM: Final = 0.2  # of the run: what comes before is warm-up, in which ratios are legitimately large
STUDY: Final = "makemore part 3 (Karpathy 2022)"
GLOROT: Final = "Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks"
HE: Final = "He et al. 2015, Delving deep into rectifiers"

INITIAL_LOSS_EXCESS: Final = 1.0  # nats above ln(classes); logits of std s cost s**2 / 2 more, so this is a spread of 1.4
INITIAL_WASTED: Final = 10  # steps; a start that costs fewer is a remark. Published: the first thousand of 200,000 steps
INITIAL_COST: Final = 0.12  # of the run: a run that learned half of what there is, and recovered sooner, lost little by its start
INITIAL_HEAD: Final = 3.0  # times 1/sqrt(fan-in): He's, the widest usual draw, has 1.4; a head this wide is named as the cause
INITIAL_TABLE: Final = 0.5  # std of an embedding, or more: nn.Embedding draws with 1, and language models with 0.02
INITIAL_PART: Final = 0.5  # of the spread of the answers: what a layer gives that adds so much to them is a cause too
INITIAL_FAR: Final = 100.0  # times the loss of the best single answer: answers ten times as far apart as the targets
INITIAL_LOGIT_STD: Final = 0.3  # the spread a remedy aims at: 0.045 nats above ln(classes)

SATURATED_SHARE: Final = 0.40  # published tanh nets that train well show up to 30 %, the badly initialised 46 % or more
SATURATED_SHIFT: Final = (
    2.0  # standard deviations from 0: beyond it all inputs of an activation lie on one side, and their size is not the cause
)
SATURATED_CRITICAL: Final = 0.90  # hardly any gradient passes such a layer
HEALTHY_PREACTIVATION: Final = 1.0  # std a remedy aims at; tanh is saturated beyond 2.1

DEAD_STEPS: Final = 5  # sampled steps without a break, and
DEAD_ROWS: Final = 256  # examples in them, before a unit is called dead: rarely used units are not dead
DEAD_SHARE: Final = 0.40  # clinic: healthy up to 3 %, disturbed ones 38 %; a tenth is common (Lu et al. 2019)
DEAD_NOTED: Final = 0.10  # mentioned from here on
DEAD_CRITICAL: Final = 0.90  # almost nothing passes
DEAD_LAST: Final = 3  # sampled steps, up to the last one, at which most units of a layer are dead: they do not come back
DEAD_SETTLED: Final = 20  # steps; before them only such a layer is named, since narrow layers begin half dead and recover

SCALE_LAYERS: Final = 3  # layers of a kind needed to speak of a trend with depth
SCALE_GROWTH: Final = 5.0  # at the start, last to first; 7.2 published for gain 5/3 without tanh, 1.0 for gain 1
SCALE_SHRINKAGE: Final = 15.0  # at the start, first to last; 16 published for gain 0.5; torch's default for tanh reaches 15
SCALE_SHRINKAGE_RECTIFIER: Final = 45.0  # the same for ReLU and its like, which torch's default shrinks up to 26 times
SCALE_LATER: Final = 60.0  # after warm-up, either way; training moves scales: healthy 3, overfitted 8, squashed outputs 18
SCALE_CRITICAL: Final = 1_000.0
GRADIENT_RATIO: Final = 30.0  # between the layers of a kind, after warm-up; clinic: healthy up to 4.1, the mildest sick 95
GRADIENT_RATIO_START: Final = 1_000.0  # the same before; torch's default reaches 500 in eight ReLU layers, and recovers
GRADIENT_CRITICAL: Final = 1e5
MOVED_ALIKE: Final = (
    10.0  # times, between update:data of layers that learn at one pace; SGD moves layers as unequally as their gradients
)
GRADIENT_DATA_RATIO: Final = 50.0  # one matrix against the median of the others; published healthy up to 7 after 1,000 steps
GRADIENT_DATA_RATIO_START: Final = 500.0  # in the first steps; published 20 to 200 there, in a net that trains well
SIZES_ALIKE: Final = 4.0  # times, between the std of one matrix and of the others; clinic: sick from 15
GRADIENT_DATA_LAYERS: Final = 4  # matrices needed to say that one is far from the others
MARKS: Final = 1e3  # std of a matrix with entries such as -10,000 for what must never be chosen; drawn weights stay below 100

UPDATE_AIM: Final = 1e-3  # makemore part 3: the line at -3
UPDATE_LARGE: Final = 5e-2  # makemore part 3 calls 1e-2 high; steady AdamW and batch norm nets reach 2e-2 in the clinic
UPDATE_LARGE_EARLY: Final = 0.2  # at any time; clinic: healthy first steps up to 0.05, those of a rate 60 times too high 0.4
THROWN: Final = 3.0  # times its start and guessing: a loss that rises so far within
THROWN_STEPS: Final = 20  # steps shows that the first steps destroyed the network
UPDATE_AIM_EARLY: Final = 1e-2  # usual in the first steps
UPDATE_LARGE_ONE: Final = 0.5  # one matrix alone: a step of half its own size
CLIPPED_SMALL: Final = 0.05  # norm that gradients are clipped to; 0.1 to 10 is usual
CLIPPED_LOOKS: Final = 5  # sampled steps with that norm
CLIPPED_EVEN: Final = 0.05  # relative difference of that norm from step to step; it is estimated from a part of each gradient
UPDATE_SMALL: Final = 1e-4  # clinic; 2e-5 to 7e-5 published for a learning rate 100 times too low
UPDATE_TIMID: Final = (
    3e-4  # half a decade below the aim: a network that moves so little and does not learn should move more first
)
UNTRAVELLED: Final = 0.05  # of their size, in a whole run: a usual rate moves weights so far in 50 steps
UNTRAVELLED_STEPS: Final = 300  # steps, the least of such a run
NEARLY_CONSTANT: Final = 0.1  # std relative to rms, below which weights are nearly equal to one another
UPDATE_RECORDS: Final = 3  # sampled steps needed to judge updates

NO_GRADIENT_RECORDS: Final = 3  # zero gradients at one step may come from a zero-initialised head
UNSEEN: Final = 1e-6  # of its size: a smaller step is lost in the digits of float32, 1.2e-7 of the largest weight
SYMMETRIC_SHARE: Final = 0.5  # of a matrix's rows equal to another row
ONE_NUMBER: Final = 1e-5  # std relative to rms: rounding
ONE_NUMBER_MATRICES: Final = 2  # one alone may be a head that begins so

LEARNING_STEPS: Final = 100  # fewer say nothing about learning
PLATEAU_STEPS: Final = 200  # steps for which a healthy network may stay at the loss of guessing; clinic: convolutions 150
FLAT_SHARE: Final = 0.01  # of the starting loss
CHANCE_SHARE: Final = 0.99  # of the loss of guessing
GAIN_NOISE: Final = 2.0  # standard errors that are added to the measured gain from looking at the input
LEAK_SHARE: Final = 0.05  # of the loss of guessing: a fresh network falls below it within
LEAK_STEPS: Final = 100  # steps only if the input holds the answer
LEAK_CLASSES: Final = 20  # with so many classes, as in language, these apply:
LEAK_SHARE_MANY: Final = 0.10
LEAK_STEPS_MANY: Final = 150
LEAK_DEV: Final = 0.5  # of the loss of guessing, on held-out data: above it the training data were memorised, not leaked
DIVERGED_SHARE: Final = 0.5  # of what had been learned, lost again; and of the first loss, if nothing had been
LEARNED_SHARE: Final = 0.05  # of the first loss, or of guessing, by which the loss must have fallen to speak of learning
NOISE: Final = 5.0  # standard errors; a change must exceed so many to be called one
OUTLIER: Final = 5.0  # robust standard deviations of the losses around: one above it is not typical of them
SPIKE_NOISE: Final = 10.0  # robust standard deviations of the losses before, and
SPIKE_LOSS: Final = 0.2  # of what had been learned is lost and not regained; a converged loss jumps near 0 without harm
SPIKE_CLIMB: Final = 1.5  # times the jump; a loss that rises further is a divergence, not a spike
SPIKE_RISE: Final = 0.25  # of their level, that one step must add
OSCILLATION_POINTS: Final = 60  # losses needed
OSCILLATION_SMOOTH: Final = 0.3  # correlation of the loss with itself one step later; sampling noise gives 0
OSCILLATION_HALF: Final = -0.1  # and somewhere within the period, or less
OSCILLATION_FULL: Final = 0.4  # and a whole period later, or more; clinic: healthy up to 0.25, sorted by class mostly above 0.43
OSCILLATION_FALL: Final = 3.0  # times the standard deviation of the swing: what undoes itself does not get so far
OSCILLATION_SHARE: Final = 0.01  # size of the swing relative to the loss
OSCILLATION_HARM: Final = 0.1  # of the loss: a text read in its order swings by 3 to 5 %, and lower rates make it worse
OSCILLATION_PASS: Final = 0.2  # of its period: how far it may be from a pass over shuffled data, which makes losses swing too
OSCILLATION_FROM: Final = 0.4  # of the losses that are kept one by one: earlier swings may settle
OSCILLATION_LATE: Final = 0.6  # of them: where a long first fall hides the swing, the losses after this place are judged alone,
OSCILLATION_FULL_LATE: Final = 0.6  # with a higher correlation: smoothed losses reach 0.4 by chance in one run of 25
OVERFITTING_RISE: Final = 0.10  # of the best loss on held-out data
OVERFITTING_POINTS: Final = 4  # evaluations needed
HELD_OUT_CHANCE: Final = 0.98  # of the loss of guessing: a network above it has learned nothing that holds for other data
HELD_OUT_LEARNED: Final = 0.90  # of the loss of guessing: below it the training loss shows that something was learned
HELD_OUT_BY_HEART: Final = 0.45  # of the loss of guessing: below it the training data may be memorised
HELD_OUT_EARLY: Final = 0.6  # of the loss of guessing: above it the training data are not memorised yet
HELD_OUT_RECENT: Final = 20  # training losses that give the level at an evaluation
HELD_OUT_MIRROR: Final = 0.4  # rise per fall; clinic: memorised 0.03 to 0.13, other labels 0.8 to 3

NORM_GAP: Final = 0.5  # batch standard deviations between running and batch mean, beyond what a batch's noise explains
NORM_VARIANCE: Final = 1.8  # times, either way; clinic: healthy up to 1.1
NORM_START: Final = 0.5  # of running statistics, or more, is their start: they hold hardly anything of the data
NORM_START_STEPS: Final = 20  # with fewer no network is judged by its held-out loss; torch's momentum of 0.1 leaves 0.12 by then
# Noise of the running mean in batch standard deviations: sqrt(momentum / (2 - momentum) / batch). With a momentum of 0.1 that is
# 0.08 for batches of 8 and 0.11 for 4. Wu & He 2018 (Group normalization) report that batch norm's error grows as batches shrink.
# In their ResNet-50 it equals that of group norm, which knows no batch, at usual sizes, and is 10.6 % higher with 2 images.
NORM_NOISE: Final = 0.1
NORM_BATCH_LEAST: Final = 4  # below it the places of a convolution do not help: the 10.6 % were lost with a convolution
NORM_LAST: Final = 0.9  # of a batch norm's statistics come from the last batch, or more: elsewhere this is a momentum of 0.1
NORM_BATCH: Final = 8  # with fewer examples the statistics are too noisy, whatever the momentum

EVAL_SHARE: Final = 0.5  # of the late sampled steps, or more
LEFTOVER_SHARE: Final = 0.5  # of the sampled steps after the first
LEFTOVER_PART: Final = 0.2  # of them: gradients are cleared at some steps only; who clears at each step has none
LEFTOVER_LOOKS: Final = 4  # steps that showed it

# What became of learning (checks/consequence.py): without harm a symptom is a remark.
CONSEQUENCE_STEPS: Final = 50  # fewer do not show where a loss goes
WASTED_SHARE: Final = 0.05  # of the run: a bad start that was undone within it cost nothing, if the rest went well
LEARNED_WELL: Final = 0.3  # of the loss of guessing: a run that ends below it has learned most of what there is
OVERFITTING_LOST: Final = 0.7  # of what held-out data had gained over guessing, or of the best loss where guessing is not known
OVERFITTING_HEART: Final = 0.35  # the same where the training examples are memorised: a held-out loss of
OVERFITTING_FAR: Final = 10.0  # times the training loss or more
SHORT_STEPS: Final = 30  # fewer do not show how a loss falls
SHORT_RUN: Final = 150  # steps: a longer run whose loss still falls may end on a plateau; a shorter one is too short
SLOW_FALL: Final = 0.02  # of the loss, from the second third of a short run to the last: the run ends too soon
SLOW_RISING: Final = 1 / 3  # of a run without a better held-out loss: more steps would not help
SLOW_FARTHEST: Final = 4.0  # times the length of a run: the last pace is not extrapolated further
SLOW_UNREACHED: Final = 2.0  # times the loss of guessing: a whole run that did not even reach the best single answer
SLOW_ENOUGH: Final = 400  # steps, twice those for which a healthy network may stay above it; a shorter run is only not judged
SLOW_STEEP: Final = 0.1  # of the loss, in the last 2/15 of a run: however it slowed down, it has not come to rest
SLOW_EVEN: Final = 0.7  # of the earlier pace, or more: a loss that still falls like a line
DEV_SCALE: Final = 4.0  # times; dropout and augmentation make the training loss up to about twice the other
DEV_SCALE_BELOW: Final = 8.0  # the same below it: mixup and smoothing raise only the training loss, about 5 times
DEV_SCALE_EVEN: Final = 1.5  # highest ratio by lowest: a constant factor, while overfitting makes the losses drift apart
DEV_SCALE_FAR: Final = 20.0  # times below the training loss: no dropout, augmentation or smoothing comes near, so
DEV_SCALE_EVEN_FAR: Final = 4.0  # the ratio may drift as the training loss does
DEV_SCALE_POINTS: Final = 3
DEV_MADE: Final = 1.8  # times the mean of the losses it is made of: weights and a shorter last batch change less
DEV_MADE_EVEN: Final = 0.02  # largest difference of that factor between evaluations, and
DEV_MADE_SHARE: Final = 0.2  # of the difference of the losses themselves: a root or a perplexity differs by half of it and more
DEV_MADE_SAME: Final = 1e-4  # rounding
DEV_SUMMED: Final = 3.0  # outputs whose errors are summed in training, and
DEV_SUMMED_NEAR: Final = 0.25  # largest difference of the held-out loss times their number from the training loss
DEV_FAR: Final = 3.0  # times guessing at every evaluation, from the first on; what overfits begins near guessing
ENDS_KEPT: Final = 0.2  # of next states: episodes of 1.25 steps on average; those that are longer keep more
ENDS_VALUES: Final = 200  # next states seen
HANDED_POINTS: Final = 3  # looks, or losses handed over; fewer say nothing
HANDED_SPREAD: Final = 0.1  # halvings by which the ratio of one loss to the other may scatter,
HANDED_ALIKE: Final = 0.75  # in so many of the steps or more,
HANDED_SCALES: Final = 2  # around as many values: the scale of mixed precision before and after it changed
JUDGED_STEPS: Final = LEARNING_STEPS  # with fewer the verdict cannot be healthy
SEEN_SHARE: Final = 0.5  # of the sampled steps, and of the modules: at fewer, most was missed
REMEDY_FACTOR: Final = 10.0  # largest factor on a learning rate in one remedy; after that one looks again
REMEDY_SHRINK: Final = 50.0  # a larger spread does not come from the weights: the inputs are not scaled
UNBENT_LAYERS: Final = 3  # least weights without a non-linearity between them; two may be a factorisation on purpose
UNBENT_LOOKS: Final = 3
HARDLY_LEARNED: Final = 0.8  # of the loss of guessing: a run that ends above it has learned little
TRAINED_BEFORE: Final = 0.5  # of the loss of guessing: a network that begins below it was trained before
# The check-up: what an experiment must show.
CHECKUP_SAME: Final = 1e-9  # of the answers' size, in float64: rounding is 1e-16, and 1e-13 after a thousand operations
CHECKUP_SAME_SINGLE: Final = 1e-3  # the same in float32, whose rounding is 1e-7: only large differences count
CHECKUP_MATTERS: Final = 1e-6  # of the loss, in float64: a smaller change by a perturbation counts as none
CHECKUP_NORM_STEPS: Final = 60  # steps: by then running statistics of momentum 0.1 have forgotten their start (0.9**60 = 0.002)
CHECKUP_FIT_STEPS: Final = 60  # steps at each of several rates before a network is said to be unable to fit one batch
CHECKUP_FIT_SHARE: Final = 0.9  # of the loss of the best constant answer: a network above it has learned nothing from its input
CHECKUP_START: Final = 3.0  # times the loss of the best constant answer, at the start; and it must cost steps
TRIAL_ERRORS: Final = 3.0  # standard errors that a remedy's gain must exceed in a trial, and
TRIAL_SHARE: Final = 0.05  # of the loss without it
TRIAL_STEPS: Final = 40  # of each training of a trial
CHECKUP_FIT_GOAL: Final = 0.1  # of the loss of the best constant answer: one batch is fitted
CHECKUP_FELL: Final = 0.98  # of the first loss: without a known reference, a loss above it has not fallen
CHECKUP_STUCK: Final = 0.9  # of the best constant answer's loss: a training below it learns nevertheless
CHECKUP_SCALE: Final = 30.0  # std or mean of inputs or targets, or one over the std of inputs, above which scaling is tried
CHECKUP_SORTED: Final = 0.6  # of the entropy that the classes of a shuffled batch have
CHECKUP_REPEATS: Final = 0.25  # of the batches that are a copy of another one, unless all are
TRAINED_ON_LEAST: Final = 8  # held-out examples seen in training before: a few are alike by nature
TRAINED_ON_CHANCE: Final = 2.0  # times what chance brings at most
TRAINED_ON_SHARE: Final = 0.05  # of the held-out examples; below it, as where a few rows come twice in the data, a remark
CHECKUP_LEAK_ROWS: Final = 64  # examples needed before one feature is said to hold the answer
CHECKUP_TELLS: Final = 0.95  # of what can be known of the target, that a probe of one feature alone gets right: worth a remark
CHECKUP_DEPTH: Final = (
    30.0  # times: a smaller change of the spread of outputs, from the first layer to the last but one, is not tried
)
CHECKUP_START_LOST: Final = 0.5  # of what better weights learn, and these do not, for a warning
CHECKUP_RISES: Final = 1.05  # times the first losses: above it at the end of a trial, the task's own rate is doubted
CHECKUP_DECAY: Final = 0.01  # of the weights at each step, by decay apart from the gradient: half in 70; usual is 1e-5 to 1e-3
CHECKUP_CALLS: Final = 32  # calls of a training step without a step of its optimizer: few accumulate over more batches
CHECKUP_LEFT: Final = 0.01  # of the gradients: those of earlier steps among them; the same step repeated gives 0
CHECKUP_RESCALED: Final = 8.0  # times the norm, where the scale is 256 times lower: rounding in float16 changes it by less than 2
CHECKUP_DIED: Final = 0.5  # of a module's ReLU units, that give 0 for all examples after some steps and did not before them
CHECKUP_RATE_RUN: Final = 3_000  # steps of a long run: a rate that is too low does not reach what a better one reaches in a trial
CHECKUP_NORM_RUN: Final = 5_000  # steps, an epoch of ImageNet at a batch of 256: torchvision's MNASNet averages over 3,300
CHECKUP_CRAWL: Final = 500  # steps of a trial of higher rates, where the present one hardly moves the weights: 40 show nothing
CHECKUP_EPS: Final = 1e-6  # Adam's eps above it is tried at 1e-8 where steps are too small: torch has 1e-8, Keras 1e-7
CHECKUP_RATE_STEPS: Final = 120  # steps of the range test, and
CHECKUP_RATE_LEAST: Final = 45  # at least; fewer cannot tell a rate from its neighbours
CHECKUP_ROUNDING: Final = 0.01  # of the answers: float32 against float64; healthy networks stay below 1e-4
CHECKUP_BACKWARD: Final = 0.02  # of the slope: difference of a custom backward from finite differences in float64
CHECKUP_TIE: Final = 1.0  # standard errors above the largest correlation that chance gives among so many: a tie
CHECKUP_CHANCE: Final = 0.01  # of random orders of the targets: if fewer fit as well as the true one, inputs tell something
CHECKUP_SHUFFLED_ROWS: Final = 400  # examples needed before it is said that nothing ties targets to inputs

CONTRAST_SPREAD: Final = 0.02  # of their mean length: vectors brought to one length differ by rounding only
CONTRAST_MOST: Final = 100.0  # Radford et al. 2021 (CLIP) keep the scale of products of unit vectors below it
CONTRAST_FAR: Final = 3.0  # times ln(examples): unit vectors under a temperature of 0.05 start at twice that at most

# Data, targets and the head of the network. "wild" is benchmarks/wild: programs from public bug reports, and healthy ones.
TARGETS_LEAST: Final = 64  # numbers or labels seen before targets are judged
TARGETS_OUTSIDE: Final = 16  # rows of targets out of reach that are enough where fewer were seen, in batches of 1 to 4
OUT_OF_REACH: Final = 0.05  # of the targets' variance, lost to an activation that cannot reach them: noise at a border is less
OUT_OF_REACH_MUCH: Final = 0.2  # of it: most of what could be learned
SHARE_TOLERANCE: Final = 1e-3  # how far a probability may be outside [0, 1]: rounding
ROWS_OF_ONE: Final = 0.99  # of the rows with the sum 1: shares of classes
ROWS_OF_MANY: Final = 0.05  # of the rows, with two labels or more, before a softmax is called the wrong loss for them
ROWS_MIXED: Final = 0.5  # of the rows hold several numbers that are not whole: neither labels nor counts of words
ROWS_UNEVEN: Final = 0.1  # of the mean sum of a row: rows of shares have one sum
SCALE_APART: Final = 100.0  # size of the targets of one term of several, if answers late in the run are still almost 0
LATE_LOOK: Final = 0.4  # of the run: a look after it shows what became of the answers; looks lie a factor of about 2 apart
CONSTANT_LOOKS: Final = 5  # batches with one and the same target, and
CONSTANT_STEP: Final = 20  # least step of the last of them, before targets are called constant
CONSTANT_ROWS: Final = 256  # examples with one and the same number in one of several losses: it may be 0 for most
IGNORED_SHARE: Final = 0.02  # of the targets, at least, are ignored, where all others are one class: a class may be numbered so
CUT_LOGITS: Final = 0.25  # of the logits at 0 under a ReLU, without a gradient; it is half of them in a fresh network
SCALE_FAR: Final = 10.0  # times the usual 1, for inputs or targets; raw pixels have 255, prices thousands
SCALE_SPENT: Final = 0.5  # of the run, on the way from 0 to the mean of targets; DeepFD 45442843 spends 0.68, its cure 0.08
SCALE_UNEVEN: Final = 100.0  # times one feature above another
SCATTERED: Final = 5.0  # chi-squared by degrees of freedom of the classes in batches; 1 for shuffled data
SORTED_LOOKS: Final = 5  # batches
ALIKE_PAIRS: Final = 2  # pairs of batches with the same random numbers in them, beside others without
RESEEDED: Final = 4  # steps with one state of the random generator, and at most one with another: it never comes back by itself
REPEATED: Final = 0.5  # of the batches that follow one another directly
WRITTEN_OVER: Final = 0.02  # per step: weights loaded anew for each task; averages put in for evaluations are rarer
STORE_GROWN: Final = 1.5  # times as many different rows in the last batches as in the first: a replay buffer that fills
TOLD: Final = 4.0  # standard deviations over permuted targets: neighbours that belong to their targets reach 10 and more
TOLD_UNSURE: Final = 2.8  # of targets shuffled apart one in twenty reaches it, with the 24 permutations there are
TOLD_ROWS: Final = 2.0  # the same for rows and pictures of targets and for tokens: windows without their level still reach 2.8
TOLD_TORN: Final = 8.0  # the same in one of the two sets, training and held-out, while the other set is as by chance
AVERAGED_LEFT: Final = 0.1  # of the targets' variance, missed by the single answers under a loss of means
TOLD_LEAST: Final = 200  # examples that must be compared before a missing relation means anything
NEAR: Final = 0.6  # nearest neighbour / any other: 0.4 for digits and tables, 0.7 for 40 numbers drawn apart, where none is alike
CAME_AGAIN: Final = 10  # examples met twice, before they tell how many there are
TRAVELLED: Final = 0.3  # sum of update:data over a run, before a loss that stays says anything about the data
TOLD_RARE: Final = 50.0  # examples of another class than the answered one; fewer may agree by chance
NEAR_ZERO: Final = 1e-3  # of a root's, a logarithm's or a divisor's argument, with nothing added to it: 0 is not far
LOG_NEAR: Final = 0.1  # a probability that stays above, at the steps looked at, does not become 0 at once
SELECTION_LEFT: Final = 0.5  # of the number selected at first: a selection that shrinks so far may soon be empty
GROWN: Final = 10.0  # times their median, for the last loss or gradient norm, before the learning rate is suspected of a NaN
SCALE_ARRIVES: Final = 3.0  # root mean square of the first layer's outputs: fresh layers give about half of their inputs' size
SORTED_NEARLY: Final = 0.8  # of a batch, its commonest class, mean over batches that differ far more than by chance
SORTED_ROWS: Final = 8  # labels in a batch: fewer are of one class by chance
WORSE_THAN_SIMPLE: Final = 0.03  # nats above a simpler model: so much may be lost by weights fitted on a dozen held-out words
PAIRED: Final = 0.3  # of a loss's standard error: that of the difference of two losses on the same words, measured on names.txt
MEMORISED: Final = 0.6  # of the held-out loss: the lists on which dropout helps end below
UNDERFITTING_POINTS: Final = 4  # last evaluations that are read, a fifth of a run's
UNDERFITTING_GAP: Final = 0.01  # of the held-out loss, and
UNDERFITTING_NOISE: Final = 2.0  # standard errors of it
UNDERFITTING_PASSES: Final = 2.0  # over the training data; the rule of training/sizes.py takes 4 at least
UNDERFITTING_FALL: Final = 0.02  # of the held-out loss over those evaluations; a schedule's end alone brings 0.01
BLANK_ROWS: Final = 8  # rows of a batch, and
BLANK_VALUES: Final = 64  # values of it or more, which are not all 0 by chance
BLANK_LEAST: Final = 2  # such batches: a single one may be a trial of shapes
BLANK_MOST: Final = 0.5  # of all batches: if there are more, zeros are intended
REPEATED_WORDS: Final = 0.02  # of the held-out words
NOISY_ERROR: Final = 0.03  # of the held-out loss: more than the gain of any setting
PADDING_SHARE: Final = 0.01  # of the indices, and
PADDING_INSIDE: Final = 0.3  # of the padding alone between two other tokens; padding comes in runs at the ends of rows
BY_HEART: Final = 3.0  # times the training loss: a held-out loss above it shows that the training data were memorised
OFFSET_FAR: Final = 2.0  # standard deviations of the targets that the mean error is, late in the run
OFFSET_MOST: Final = 0.8  # of the squared error is the square of its mean: little else is left to learn
OFFSET_NEARLY_ALL: Final = 0.9  # the same beside unscaled inputs, however far the targets lie
OFFSET_MATTERS: Final = 1e-3  # of the variance of the targets that the squared error still is then
SCALE_TINY: Final = 0.03  # root mean square of the largest feature; images in 0 to 1 have 0.1 and more
SCALE_FAINT: Final = 20.0  # mean / std of all inputs; pictures in 0 to 1 have 0.5 to 3, ages and pulses 3 to 10
PATHS_ROWS: Final = 8  # words seen before it is said what ctc_loss cannot find
PATHS_BLANK: Final = 0.01  # of the letters are the blank: a few may be spaces of bad transcripts
PATHS_SHORT: Final = 0.2  # of the words need more frames than there are: a few long ones are usually left out on purpose
NEVER_SHOWN: Final = 0.12  # of the held-out examples are of classes that training did not show
NEVER_SHOWN_EXPECTED: Final = 15.0  # times a class would have come by its held-out share: chance misses it once in 3 million
NEVER_SHOWN_MOST: Final = 100  # classes that are listed
RENAMED: Final = 0.25  # of held-out answers that a fixed exchange of classes makes right, beyond the share of the commonest class
RESCALED_LEFT: Final = 0.5  # of the variance of held-out targets, left by a straight line of the answers
COPIED: Final = 0.99  # of the held-out targets are what one place of their inputs holds,
COPIED_SELDOM: Final = 0.6  # and at most so many of the training targets: chance gives the share of the commonest class
FEW_RIGHT: Final = 0.35  # of the held-out answers that the commonest class gets wrong: what tells classes apart gets half
INPUTS_APART: Final = 2.5  # times, between the std of held-out and training inputs; crops and noise change less
INPUTS_FAR: Final = 4.0  # times: one of both data sets was divided or standardised, and the other was not
RESCALED_HURTS: Final = 0.2  # of the loss of guessing, on held-out data of such inputs
INPUTS_MOVED: Final = 1.5  # of the larger std, between their means
FEW_RULE: Final = 0.98  # of the targets' squares are those of the farthest twentieth; 0.3 in a normal distribution
FEW_FAR: Final = 10.0  # times the std of the other targets, for the std of all
EMPTY: Final = 0.1  # of the examples with one value throughout,
EMPTY_SPREAD: Final = 0.5  # of the variance of all targets, in those of the empty ones
TINY_MISSED: Final = 2.0  # times the variance of tiny targets, for a loss at the end: only the scatter of the answers is larger
PADDING_FIXED: Final = 0.1  # of the indices, in the same places of all rows; a mark at the start of each row is one of many
HANDED_SHARE: Final = 0.5  # of the sum trained on: a single term below it describes less than the others do
PLATEAU_HIGH: Final = 0.5  # of the loss of guessing: a training loss that stops above it is not from memorised data
INPUTS_LARGE: Final = 3.0  # root mean square of the largest feature, usually 1: it explains first losses above guessing
FAR_ABOVE: Final = 1.5  # times guessing: the steps of a network that stays above are too large, so it needs no higher rate
MAJORITY_SHARE: Final = 0.8  # of the labels are one class: another answer then needs strong reasons
MAJORITY_ROWS: Final = 128  # examples that got this answer, and
MAJORITY_LOOKS: Final = 3  # looks in a row; a fresh network answers one class by chance
MAJORITY_OTHERS: Final = 6  # of them have another label, so that it matters
MAJORITY_LEFT: Final = 0.75  # of the loss of guessing: a classifier that ranks well is below it, whatever it answers
WEIGHTS_POWER: Final = 0.5  # of the number of labels, by which weights grow: the number itself has 1, its inverse -1
WEIGHTS_APART: Final = 3.0  # times as many labels, and WEIGHTS_APART ** WEIGHTS_POWER times the weight: it matters then
WEIGHTS_ROWS: Final = 256  # labels seen
WEIGHTS_RECALL: Final = 0.5  # of the rarest class is answered rightly, at most
OVERLAP_RIGHT: Final = 0.1  # of the pixels of a class are answered rightly, or fewer, under a loss of overlap, while
OVERLAP_SHARE: Final = 0.2  # of all pixels, or fewer, are of that class, and
OVERLAP_PIXELS: Final = 32  # of them or more were looked at,
OVERLAP_STEPS: Final = 50  # steps or more after the start: a fresh network answers one class by chance
MAJORITY_LEFT_SEVERAL: Final = 0.9  # of it, where each example has several rare labels: these are learned later
JUMP: Final = 6.0  # standard deviations above the losses around: means over 16 labels are near to normal
JUMP_USUAL: Final = 4.0  # where losses as far as this are as frequent, they are heavy-tailed
JUMP_STEPS: Final = 100  # losses kept one by one
JUMP_LEAST: Final = 3  # such steps
JUMP_MOST: Final = 0.05  # of all steps: more are another kind of data
JUMP_LEARNED: Final = 0.8  # of the loss that it jumps to: around it something had been learned
JUMP_LABELS: Final = 16  # in a batch
JUMP_PERIOD: Final = 4  # steps between them, or a multiple of more: a place in each pass over the data
