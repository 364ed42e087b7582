"""Programs on which remedies are tried: for each finding two or more in which it is made, by their own held-out scores.

`python -m benchmarks.wild --mode followed` follows them; docs/remedies.md keeps the table.
"""

from __future__ import annotations

from typing import Final

TRIED: Final[dict[str, tuple[str, ...]]] = {
    "activation-scale": ("nine_layers_of_small_weights", "energies_as_they_were_computed"),
    "batch-mixing": ("walks_attended_to_across_walkers", "film_read_across_the_batch"),
    "broadcast": ("squeezed_logits_against_a_column", "values_against_the_returns_of_all"),
    "clip-before-unscale": ("flat_curve_of_clipped_scaled_gradients", "clipped_while_scaled"),
    "collapsed-kl": ("divergence_of_the_whole_batch", "mean_of_errors_sum_of_divergences"),
    "dead-units": ("depths_are_all_below_nought", "second_layer_below_nought", "biases_drawn_far_below_zero"),
    "detached-generator": ("judgement_detached_for_the_generator", "critic_sees_a_detached_fake"),
    "dev-scale": ("held_out_loss_added_up", "divided_by_the_batch_of_training"),
    "eps-underflow": ("captions_in_half_precision", "reward_model_in_half"),
    "eval-dropout": ("attention_drops_out_in_use", "attention_of_pairs_dropped_for_ever"),
    "frozen-random": ("weights_that_did_not_match", "initialised_after_it_was_loaded"),
    "future-leak": ("encoder_that_writes", "decoder_that_builds_no_causal_mask"),
    "gradient-scale": ("sigmoids_all_the_way",),
    "gradients-cleared": ("cleared_for_each_small_batch", "parts_of_a_batch_wiped"),
    "growing-graph": ("running_loss_keeps_its_graph",),
    "held-out-labels": ("folders_in_another_order", "the_way_from_a_few_films", "kinds_numbered_by_each_folder"),
    "initial-loss": ("embeddings_left_at_unit_scale", "letters_by_loud_first_weights"),
    "input-scale": ("sound_as_whole_numbers", "mean_and_deviation_over_255"),
    "missing-zero-grad": ("critic_never_cleared", "keywords_without_zero_grad"),
    "never-moved": ("rate_rounded_down_to_nought", "step_that_returns_nothing"),
    "no-gradient": ("log_probabilities_in_a_new_tensor", "extractor_that_detaches"),
    "no-warmup": ("deep_post_norm_at_full_rate",),
    "non-finite": ("cross_entropy_by_hand", "root_of_a_distance_to_itself"),
    "norm-statistics": ("statistics_that_never_move", "momentum_of_another_library"),
    "not-optimised": ("layers_replaced_after_the_optimiser", "optimiser_of_the_original"),
    "optimiser-state-lost": ("new_adam_for_each_epoch", "resumed_without_moments"),
    "other-loss": ("last_term_logged_as_total", "likelihood_without_a_logarithm", "two_amounts_by_categorical_cross_entropy"),
    "overfitting": ("opinions_learnt_by_heart", "few_rows_many_weights"),
    "padding-counted": ("places_of_padding_counted_as_tags", "mean_over_padding"),
    "padding-mask": ("labels_that_attend_to_the_padding", "mask_the_wrong_way_round", "last_step_is_padding"),
    "probabilities-as-logits": ("nodes_matched_through_a_softmax", "attention_over_examples_through_two_softmaxes"),
    "raw-contrast": ("contrast_of_features_as_they_are",),
    "relu-logits": ("relu_on_the_logits", "nobody_lives_anywhere"),
    "repeated-batch": ("replay_of_one_episode", "first_of_a_new_iterator"),
    "saturation": ("weights_between_nought_and_one", "letters_by_loud_first_weights", "gauges_in_their_own_units"),
    "schedule-to-zero": ("rate_cut_at_each_batch", "tenth_of_the_rate_after_each_few_batches"),
    "shared-norm": ("norms_shared_with_the_layers", "one_norm_for_all_steps"),
    "shuffled-targets": ("questions_shuffled_answers_not", "returns_of_another_episode", "masks_listed_in_another_order"),
    "softmax-axis": ("log_softmax_down_the_batch", "attention_of_one_to_each_moment"),
    "sorted-data": ("file_sorted_by_label", "films_one_task_after_the_other"),
    "symmetry": ("belief_net_from_zeros", "widened_by_copies"),
    "target-constant": ("every_label_is_zero", "illnesses_looked_up_too_late"),
    "target-range": ("mobility_after_a_last_relu", "ten_digits_by_one_sigmoid"),
    "target-rows": ("genres_by_softmax", "answers_cut_off"),
    "target-scale": ("sunlight_told_in_watts", "price_in_thousands_beside_a_kind"),
    "unregistered": ("filters_of_words_in_a_list", "branches_merged_from_a_list"),
    "update-too-large": ("a_first_rate_of_one", "body_parts_that_stay_flat"),
    "update-too-small": ("one_hundred_thousandth_for_sgd", "ten_days_at_a_small_rate"),
    "weight-decay": ("decay_of_adamw_given_to_adam", "any_picture_the_same_place"),
    "wrong-mode": ("tested_once_and_never_back", "validated_in_mid_epoch"),
}
"""By finding, programs with that fault."""
