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
INITIAL_COST: Final = 0.12  # of the run: what learned half of what there is, and was back sooner, lost little by its start
INITIAL_HEAD: Final = (
    3.0  # times 1/sqrt(fan-in): the widest usual draw, He's, has 1.4; what weights so large do at the start is named
)
INITIAL_LOGIT_STD: Final = 0.3  # the spread a remedy aims at: 0.045 nats above ln(classes)

SATURATED_SHARE: Final = 0.40  # published tanh nets that train well show up to 30 %, the badly initialised 46 % or more
SATURATED_SHIFT: Final = (
    2.0  # standard deviations from 0 at which inputs of an activation lie on one side: their size is not the cause
)
SATURATED_CRITICAL: Final = 0.90  # hardly any gradient passes such a layer
HEALTHY_PREACTIVATION: Final = 1.0  # std a remedy aims at; tanh is saturated beyond 2.1

DEAD_STEPS: Final = 5  # sampled steps without a break, and
DEAD_ROWS: Final = 256  # examples in them, before a unit is called dead: rarely used units are not dead
DEAD_SHARE: Final = 0.40  # clinic: healthy up to 3 %, disturbed ones 38 %; a tenth is common (Lu et al. 2019)
DEAD_NOTED: Final = 0.10  # mentioned from here on
DEAD_CRITICAL: Final = 0.90  # next to nothing passes
DEAD_SETTLED: Final = 20  # steps; before them only such a layer is named, since narrow ones are born half dead and heal

SCALE_LAYERS: Final = 3  # layers of a kind needed to speak of a trend with depth
SCALE_GROWTH: Final = 5.0  # at the start, last to first; 7.2 published for gain 5/3 without tanh, 1.0 for gain 1
SCALE_SHRINKAGE: Final = 15.0  # at the start, first to last; 16 published for gain 0.5; torch's default for tanh reaches 15
SCALE_SHRINKAGE_RECTIFIER: Final = 45.0  # the same for ReLU and its like, which torch's default shrinks up to 26 times
SCALE_LATER: Final = 60.0  # after warm-up, either way; training moves scales: healthy 3, overfitted 8, squashed outputs 18
SCALE_CRITICAL: Final = 1_000.0
GRADIENT_RATIO: Final = 30.0  # between the layers of a kind, after warm-up; clinic: healthy up to 4.1, the mildest sick 95
GRADIENT_RATIO_START: Final = 1_000.0  # the same before; torch's default reaches 500 in eight ReLU layers, and heals
GRADIENT_CRITICAL: Final = 1e5
MOVED_ALIKE: Final = 10.0  # between update:data of layers that learn at one pace; SGD moves them as far apart as gradients are
GRADIENT_DATA_RATIO: Final = 50.0  # one matrix against the median of the others; published healthy up to 7 after 1,000 steps
GRADIENT_DATA_RATIO_START: Final = 500.0  # in the first steps; published 20 to 200 there, in a net that trains well
GRADIENT_DATA_LAYERS: Final = 4  # matrices needed to say that one is far from the others

UPDATE_AIM: Final = 1e-3  # makemore part 3: the line at -3
UPDATE_LARGE: Final = 5e-2  # makemore part 3 calls 1e-2 high; steady AdamW and batch norm nets reach 2e-2 in the clinic
UPDATE_LARGE_EARLY: Final = 0.2  # at any time; clinic: healthy first steps up to 0.05, those of a rate 60 times too high 0.4
THROWN: Final = 3.0  # times its start and guessing that a loss rises within
THROWN_STEPS: Final = 20  # steps: they threw the network away
UPDATE_AIM_EARLY: Final = 1e-2  # usual in the first steps
UPDATE_LARGE_ONE: Final = 0.5  # one matrix alone: a step of half its own size
UPDATE_SMALL: Final = 1e-4  # clinic; 2e-5 to 7e-5 published for a learning rate 100 times too low
UPDATE_TIMID: Final = (
    3e-4  # half a decade below the aim: a network that moves so little and does not learn should move more first
)
TRAVELLED: Final = 0.01  # of its size, by a matrix drawn at random: in healthy programs of others 0.6 to 1.6 after as many steps
TRAVEL_STEPS: Final = 400
NEARLY_CONSTANT: Final = 0.1  # std relative to rms, below which weights are nearly equal to one another
UPDATE_RECORDS: Final = 3  # sampled steps needed to judge updates

NO_GRADIENT_RECORDS: Final = 3  # zero gradients at one step may come from a zero-initialised head
UNSEEN: Final = 1e-6  # of its size: a smaller step is lost in the digits of float32, 1.2e-7 of the largest weight
SYMMETRIC_SHARE: Final = 0.5  # of a matrix's rows equal to another row

LEARNING_STEPS: Final = 100  # fewer say nothing about learning
PLATEAU_STEPS: Final = 200  # so long a healthy network may linger at the loss of guessing; clinic: convolutions 150
FLAT_SHARE: Final = 0.01  # of the starting loss
CHANCE_SHARE: Final = 0.99  # of the loss of guessing
GAIN_NOISE: Final = 2.0  # standard errors that what looking at the input gains may be larger than it was found
LEAK_SHARE: Final = 0.05  # of the loss of guessing: below it within
LEAK_STEPS: Final = 100  # steps, only an input that holds the answer brings a fresh network
LEAK_CLASSES: Final = 20  # with so many classes, as in language, these are more telling:
LEAK_SHARE_MANY: Final = 0.10
LEAK_STEPS_MANY: Final = 150
LEAK_DEV: Final = 0.5  # of the loss of guessing, on held-out data: what is above was learned by heart, not leaked
DIVERGED_SHARE: Final = 0.5  # of what had been learned, lost again; and of the first loss, if nothing had been
LEARNED_SHARE: Final = 0.05  # of the first loss, or of guessing, that it must have fallen to speak of learning
NOISE: Final = 5.0  # standard errors; a change must exceed so many to be called one
SPIKE_NOISE: Final = 10.0  # robust standard deviations of the losses before, and
SPIKE_LOSS: Final = 0.2  # of what had been learned is lost for good; a converged loss jumps about near 0 without harm
SPIKE_CLIMB: Final = 1.5  # times the jump; what goes on to more than that is a divergence, not a spike
SPIKE_RISE: Final = 0.25  # of their level, that one step must add
OSCILLATION_POINTS: Final = 60  # losses needed
OSCILLATION_SMOOTH: Final = 0.3  # correlation of the loss with itself one step later; sampling noise gives 0
OSCILLATION_HALF: Final = -0.1  # and somewhere within the period, or less
OSCILLATION_FULL: Final = 0.4  # and a whole period later, or more; clinic: healthy up to 0.25, sorted by class mostly 0.43 on
OSCILLATION_SHARE: Final = 0.01  # size of the swing relative to the loss
OSCILLATION_PASS: Final = 0.2  # of its period, by which it may differ from a pass over shuffled data, which makes losses swing
OSCILLATION_FROM: Final = 0.4  # of the losses kept one by one: swings at the beginning may settle
OSCILLATION_LATE: Final = 0.6  # of them: where the first fall was so long that it hides the swing, the rest is looked at alone,
OSCILLATION_FULL_LATE: Final = 0.6  # and must echo more: smoothed losses reach 0.4 by luck in one run of 25, 0.6 in one of 300
OVERFITTING_RISE: Final = 0.10  # of the best loss on held-out data
OVERFITTING_POINTS: Final = 4  # evaluations needed
HELD_OUT_CHANCE: Final = 0.98  # of the loss of guessing: what is not below has learned nothing that holds
HELD_OUT_LEARNED: Final = 0.90  # of the loss of guessing: a training loss below has learned something
HELD_OUT_BY_HEART: Final = 0.45  # of the loss of guessing: a training loss below may be learned by heart
HELD_OUT_EARLY: Final = 0.6  # of the loss of guessing: above it what the training loss shows has not been learned by heart yet
HELD_OUT_RECENT: Final = 20  # losses that tell the level at an evaluation
HELD_OUT_MIRROR: Final = 0.4  # rise per fall; clinic: learned by heart 0.03 to 0.13, other labels 0.8 to 3

NORM_GAP: Final = 0.5  # batch standard deviations between running and batch mean, beyond what a batch's noise explains
NORM_VARIANCE: Final = 1.8  # times, either way; clinic: healthy up to 1.1
# Noise of the running mean in batch standard deviations: sqrt(momentum / (2 - momentum) / batch). With a momentum of 0.1 that is
# 0.08 for batches of 8 and 0.11 for 4. Wu & He 2018 (Group normalization) report that batch norm's error grows as batches shrink.
# In their ResNet-50 it equals that of group norm, which knows no batch, at usual sizes, and is 10.6 % higher with 2 images.
NORM_NOISE: Final = 0.1
NORM_BATCH_LEAST: Final = 4  # below it places of a convolution make up for nothing: those 10.6 % were lost in spite of them
NORM_LAST: Final = 0.9  # of a batch norm's statistics from the last batch, or more: what other frameworks call a momentum of 0.1
NORM_BATCH: Final = 8  # fewer examples give no statistics worth the name, whatever the momentum

EVAL_SHARE: Final = 0.5  # of the late sampled steps, or more
LEFTOVER_SHARE: Final = 0.5  # of the sampled steps after the first

# What became of learning (checks/consequence.py): without harm a symptom is a remark.
CONSEQUENCE_STEPS: Final = 50  # fewer tell nothing of where a loss goes
WASTED_SHARE: Final = 0.05  # of the run: a start undone within it cost nothing where the rest went well
LEARNED_WELL: Final = 0.3  # of the loss of guessing: what ends below has learned most of what there is
OVERFITTING_LOST: Final = 0.7  # of what was gained on held-out data over guessing, or of the best loss where that is not known
OVERFITTING_HEART: Final = 0.35  # the same where the training examples are known by heart: a held-out loss of
OVERFITTING_FAR: Final = 10.0  # times the training loss or more
OVERFITTING_GREW: Final = 1.4  # times the best held-out loss: of healthy programs of others known by heart, the most is 1.3, and
OVERFITTING_HIGH: Final = 1 / 3  # of the loss of guessing: where little is left, few examples make a large share of it
SHORT_STEPS: Final = 30  # fewer tell nothing of how a loss falls
SHORT_RUN: Final = 150  # steps: a loss still falling then is no sign of a plateau that is long in coming
SLOW_FALL: Final = 0.02  # of the loss, from the second third of a short run to the last: it ends before the loss has come to rest
SLOW_RISING: Final = 1 / 3  # of a run, since when the loss on held-out data has not been better: more steps would not help
SLOW_FARTHEST: Final = 4.0  # times the length of a run, to which its last pace is drawn on
SLOW_UNREACHED: Final = 2.0  # times the loss of guessing: a whole run in which not even the best single answer was reached
SLOW_ENOUGH: Final = 400  # steps, twice those that a healthy network may linger above it; within fewer it is only not judged
SLOW_EVEN: Final = 0.7  # of the earlier pace, or more: a loss that still falls like a line
DEV_SCALE: Final = 4.0  # times; dropout and augmentation make the training loss up to about twice the other
DEV_SCALE_BELOW: Final = 8.0  # the same below it: mixup and smoothing put a floor of about 5 times under the training loss alone
DEV_SCALE_EVEN: Final = 1.5  # highest ratio by lowest: a constant factor, while what overfits drifts apart
DEV_SCALE_FAR: Final = 20.0  # times below the training loss: no dropout, augmentation or smoothing comes near, so that
DEV_SCALE_EVEN_FAR: Final = 4.0  # the ratio may drift as the training loss does
DEV_SCALE_POINTS: Final = 3
DEV_MADE: Final = 1.8  # times the mean of what it is made of: weights and a shorter last batch change less
DEV_MADE_EVEN: Final = 0.02  # by which that factor may differ between evaluations, and
DEV_MADE_SHARE: Final = 0.2  # of what the losses themselves differ by: a root or a perplexity differs by half of it and more
DEV_MADE_SAME: Final = 1e-4  # rounding
DEV_SUMMED: Final = 3.0  # outputs whose errors are summed in training, and
DEV_SUMMED_NEAR: Final = 0.25  # by which the held-out loss times their number may differ from the training loss
DEV_FAR: Final = 3.0  # times guessing at every evaluation, from the first on; what overfits begins near guessing
HANDED_POINTS: Final = 3
HANDED_SPREAD: Final = 0.1  # halvings by which the ratio of one loss to the other may scatter,
HANDED_ALIKE: Final = 0.75  # in so many of the steps or more,
HANDED_SCALES: Final = 2  # around as many values: the scale of mixed precision before and after it changed
JUDGED_STEPS: Final = LEARNING_STEPS  # fewer give no clean bill of health
HEARD_SHARE: Final = 0.5  # of the sampled steps, and of the modules: what was heard at fewer was mostly missed
REMEDY_FACTOR: Final = 10.0  # largest factor on a learning rate that a remedy names at once; then one looks again
REMEDY_SHRINK: Final = 50.0  # a spread beyond is not the weights': what comes in is not scaled
HARDLY_LEARNED: Final = 0.8  # of the loss of guessing: what ends above has learned little
TRAINED_BEFORE: Final = 0.5  # of the loss of guessing: what begins below has learned before
# The check-up: what an experiment must show.
CHECKUP_SAME: Final = 1e-9  # of the answers' size, in float64: rounding is 1e-16, and 1e-13 after a thousand operations
CHECKUP_SAME_SINGLE: Final = 1e-3  # the same in float32, whose rounding is 1e-7: only what is plain to see
CHECKUP_MATTERS: Final = 1e-6  # of the loss, in float64: a smaller change by a perturbation is none
CHECKUP_GROUP_SHIFT: Final = 0.01  # of the loss: a dropout or a sampling that moves it by less does no harm worth a warning
CHECKUP_NORM_STEPS: Final = 60  # steps: by then running statistics of momentum 0.1 have forgotten their start (0.9**60 = 0.002)
CHECKUP_FIT_STEPS: Final = 60  # steps at each of several rates before a network is said to be unable to fit one batch
CHECKUP_FIT_SHARE: Final = 0.9  # of the loss of the best constant answer: what stays above has learned nothing from its input
CHECKUP_START: Final = 3.0  # times the loss of the best constant answer, at the start; and it must cost steps
TRIAL_ERRORS: Final = 3.0  # standard errors that a remedy's gain must exceed in a trial, and
TRIAL_SHARE: Final = 0.05  # of the loss without it
TRIAL_STEPS: Final = 40  # of each training of a trial
CHECKUP_FIT_GOAL: Final = 0.1  # of the loss of the best constant answer: one batch is fitted
CHECKUP_FELL: Final = 0.98  # of the first loss: where no reference is known, what stays above has not fallen
CHECKUP_STUCK: Final = 0.9  # of the best constant answer's loss: a training below that learns all the same
CHECKUP_SCALE: Final = 30.0  # std or mean of inputs or targets, or one over the std of inputs, from which on scaling is tried
CHECKUP_SORTED: Final = 0.6  # of the entropy that the classes of a shuffled batch have
CHECKUP_REPEATS: Final = 0.25  # of the batches that are another one's copy, unless all are
CHECKUP_LEAK_ROWS: Final = 64  # examples needed before one feature is said to hold the answer
CHECKUP_TELLS: Final = (
    0.95  # of what there is to tell of the target, that a probe of one feature alone gets right: worth a remark
)
CHECKUP_DEPTH: Final = 30.0  # times, by which the spread of outputs may change from the first layer to the last but one untried
CHECKUP_START_LOST: Final = 0.5  # of what is learned from better weights that is not learned from these, for a warning
CHECKUP_RISES: Final = 1.05  # times the first losses: the last ones of a trial at the task's own rate, for the rate to be doubted
CHECKUP_RATE_RUN: Final = 3_000  # steps, a long run: at a rate that is too low it would not do what a better one does in a trial
CHECKUP_RATE_STEPS: Final = 120  # steps of the range test, and
CHECKUP_RATE_LEAST: Final = 45  # at least; fewer cannot tell a rate from its neighbours
CHECKUP_ROUNDING: Final = 0.01  # of the answers: float32 against float64; healthy networks stay below 1e-4
CHECKUP_BACKWARD: Final = 0.02  # of the slope, between a custom backward and finite differences in float64
CHECKUP_TIE: Final = 1.0  # standard errors of a correlation, beyond what the largest of so many by chance has: a tie
CHECKUP_SHUFFLED_ROWS: Final = 400  # examples needed before it is said that nothing ties targets to inputs

CONTRAST_SPREAD: Final = 0.02  # of their mean length: vectors brought to one length differ by rounding only
CONTRAST_MOST: Final = 100.0  # Radford et al. 2021 (CLIP) keep the scale of products of unit vectors below it
CONTRAST_FAR: Final = 3.0  # times ln(examples): unit vectors under a temperature of 0.05 start at twice that at most

# Data, targets and the head of the network. "wild" is benchmarks/wild: programs from public bug reports, and healthy ones.
TARGETS_LEAST: Final = 64  # numbers or labels seen before targets are judged
OUT_OF_REACH: Final = 0.05  # of the targets' variance, lost to an activation that cannot reach them: noise at a border is less
OUT_OF_REACH_MUCH: Final = 0.2  # of it: most of what could be learned
SHARE_TOLERANCE: Final = 1e-3  # by which a probability may leave [0, 1]: rounding
ROWS_OF_ONE: Final = 0.99  # of the rows with the sum 1: shares of classes
ROWS_OF_MANY: Final = 0.05  # of the rows, with two labels or more, before a softmax is called the wrong loss for them
ROWS_MIXED: Final = 0.5  # of the rows, with several numbers that are not whole: no labels, and no counts of words
ROWS_UNEVEN: Final = 0.1  # of the mean sum of a row: rows of shares have one sum
SCALE_APART: Final = 100.0  # size of the targets of one term of several, where answers late in the run are next to nothing
LATE_LOOK: Final = 0.4  # of the run: a look there shows what the answers came to; looks lie a factor of about 2 apart
CONSTANT_LOOKS: Final = 5  # batches with one and the same target, and
CONSTANT_STEP: Final = 20  # the last of them so late, before targets are called constant
CUT_LOGITS: Final = 0.25  # of the logits at 0 under a ReLU, without a gradient; it is half of them in a fresh network
SCALE_FAR: Final = 10.0  # times the usual 1 that inputs or targets must be off; 255 for raw pixels, thousands for prices
SCALE_UNEVEN: Final = 100.0  # times one feature above another
SCATTERED: Final = 5.0  # chi-squared by degrees of freedom of the classes in batches; 1 for shuffled data
SORTED_LOOKS: Final = 5  # batches
REPEATED: Final = 0.5  # of the batches that follow one another directly
STORE_GROWN: Final = 1.5  # times as many different rows in the last batches as in the first: a store that fills as it is used
TOLD: Final = 4.0  # standard deviations over permuted targets: neighbours that belong to their targets tell 10 and more
TOLD_ROWS: Final = 2.0  # the same for rows and pictures of targets and for tokens: windows without their level still tell 2.8
TOLD_TORN: Final = 8.0  # the same in one of the two sets, training and held-out, where those of the other tell as chance does
AVERAGED_LEFT: Final = 0.1  # of the targets' variance, missed by the single answers under a loss of means
TOLD_LEAST: Final = 200  # examples compared before their silence says anything
TOLD_RARE: Final = 50.0  # of them of another class than the one that all are answered: fewer say nothing by chance
NEAR_ZERO: Final = 1e-3  # of a root's, a logarithm's or a divisor's argument, with nothing added to it: 0 is not far
GROWN: Final = 10.0  # times their median that the last loss or gradient norm must be before a rate is suspected of a NaN
DROWNED: Final = 0.5  # of the outputs behind the first layer are saturated all along: such inputs are hardly seen
SCALE_ARRIVES: Final = 3.0  # root mean square of the first layer's outputs: fresh layers give about half of their inputs' size
SORTED_ROWS: Final = 8  # labels in a batch: fewer are of one class by chance
WORSE_THAN_SIMPLE: Final = 0.03  # nats above a simpler model: what weights fitted on a dozen held-out words may lose
PAIRED: Final = 0.3  # of a loss's standard error is that of a difference of two losses on the same words, measured on names.txt
MEMORISED: Final = 0.6  # of the held-out loss: the lists on which dropout helps end below
UNDERFITTING_POINTS: Final = 4  # last evaluations that are looked at, a fifth of a run's
UNDERFITTING_GAP: Final = 0.01  # of the held-out loss, and
UNDERFITTING_NOISE: Final = 2.0  # standard errors of it
UNDERFITTING_PASSES: Final = 2.0  # over the training data; the rule of training/sizes.py takes 4 at least
UNDERFITTING_FALL: Final = 0.02  # of the held-out loss over those evaluations; a schedule's end alone brings 0.01
BLANK_ROWS: Final = 8  # rows of a batch, and
BLANK_VALUES: Final = 64  # values of it or more, which are not all 0 by chance
BLANK_LEAST: Final = 2  # of such batches: one may be a trial of shapes
BLANK_MOST: Final = 0.5  # of all batches: more than that are zeros that were asked for
REPEATED_WORDS: Final = 0.02  # of the held-out words
NOISY_ERROR: Final = 0.03  # of the held-out loss: more than the gain of any setting
PADDING_SHARE: Final = 0.01  # of the indices, and
PADDING_INSIDE: Final = 0.3  # of the padding alone between two other tokens; padding comes in runs at the ends of rows
BY_HEART: Final = 3.0  # times the training loss: held-out losses above are those of what was learned by heart
SCALE_TINY: Final = 0.03  # root mean square of the largest feature; images in 0 to 1 have 0.1 and more
NEVER_SHOWN: Final = 0.2  # of the held-out examples are of classes that training did not show
NEVER_SHOWN_EXPECTED: Final = 15.0  # times a class would have come by its held-out share: missed by chance once in 3 million
NEVER_SHOWN_MOST: Final = 100  # classes that are listed
RENAMED: Final = 0.25  # of held-out answers, that a fixed exchange of classes puts right, beyond the share of the commonest one
RESCALED_LEFT: Final = 0.5  # of the variance of held-out targets that a straight line from the answers leaves
INPUTS_APART: Final = 2.5  # times, between the std of held-out and training inputs; crops and noise change less
INPUTS_MOVED: Final = 1.5  # of the larger std, between their means
FEW_RULE: Final = 0.98  # of the targets' squares, of the farthest twentieth; 0.3 of a normal distribution's
FEW_FAR: Final = 10.0  # times the std of the other targets, that of all
EMPTY: Final = 0.1  # of the examples with one value throughout,
EMPTY_SPREAD: Final = 0.5  # of the variance of all targets, in those of the empty ones
TINY_MISSED: Final = 2.0  # times the variance of tiny targets that a loss ends at: nothing but the answers' own scatter is more
PADDING_FIXED: Final = 0.1  # of the indices, in the same places of all rows; a mark at the start of each row is one of many
HANDED_SHARE: Final = 0.5  # of the sum trained on: a single term below says less of it than the others do
PLATEAU_HIGH: Final = 0.5  # of the loss of guessing: a training loss at rest above has not been learned by heart
INPUTS_LARGE: Final = 3.0  # root mean square of the largest feature, of the usual 1: first losses above guessing come from it
FAR_ABOVE: Final = 1.5  # times guessing: a network that stays above is thrown about, and needs no higher rate
MAJORITY_SHARE: Final = 0.8  # of the labels are one class: no other is as likely without strong reasons
MAJORITY_ROWS: Final = 128  # examples that got this answer, and
MAJORITY_LOOKS: Final = 3  # looks in a row; a fresh network answers one class by chance
MAJORITY_OTHERS: Final = 6  # of them with another label, so that it matters
MAJORITY_LEFT: Final = 0.75  # of the loss of guessing: a classifier that ranks well is further below, whatever it answers
