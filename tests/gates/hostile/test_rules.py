"""Which tests hold which rule of soundness. A rule without one, or a test that is gone, is an error."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from msgspec import Struct

from gates.spec.project import read_project
from tests.specs.patches import BY_NAME

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "soundness.md"
NUMBERS: tuple[int | str, ...] = (*range(1, 24), "23a", *range(24, 40))

HOSTILE = "tests/gates/hostile"
EVIDENCE, ASSERTIONS = f"{HOSTILE}/test_evidence.py", f"{HOSTILE}/test_assertions.py"
KEPT = f"{HOSTILE}/test_kept_proofs.py"
FAULTS, DEFECTS = f"{HOSTILE}/test_faults.py", f"{HOSTILE}/test_defects.py"
RELEASE, CASES = f"{HOSTILE}/test_release.py", "tests/specs/test_cases.py"
JUDGE, MAKING, VERIFY, CHAOS = (
    "tests/gates/judge",
    "tests/gates/release",
    "tests/gates/verify",
    "tests/chaos",
)


class Rule(Struct, frozen=True):
    """A rule in a few words, and where it is held: `tests` are `module::function`, `cases` are specs."""

    statement: str
    tests: tuple[str, ...]
    cases: tuple[str, ...] = ()


RULES: dict[int | str, Rule] = {
    1: Rule("an assertion sees one run", (
        f"{EVIDENCE}::test_rows_of_another_run_are_no_help",
        f"{EVIDENCE}::test_a_directory_that_was_renamed_is_no_run_of_that_gate",
        f"{EVIDENCE}::test_a_second_beginning_or_end_is_one_too_many",
        f"{JUDGE}/test_assertions.py::test_rows_of_other_gates_and_runs_are_never_seen",
    ), ("assertions/evidence-of-another-gate", "judged/of-another-gate")),
    2: Rule("inputs are recorded first, are the session's, and are committed", (
        f"{RELEASE}::test_what_is_told_of_runs_that_are_not_the_sessions_own",
        f"{RELEASE}::test_runs_that_are_not_the_sessions_own",
        f"{RELEASE}::test_evidence_of_an_earlier_session",
        f"{RELEASE}::test_a_policy_that_asks_for_nothing_still_wants_a_committed_source",
        f"{RELEASE}::test_a_run_is_the_releases_or_its_proofs_and_not_both",
        f"{EVIDENCE}::test_a_run_of_the_gate_before_it_was_edited",
        f"{EVIDENCE}::test_a_run_that_recorded_no_digests",
        f"{JUDGE}/test_integrity.py::test_two_healthy_runs_are_one_too_many",
        f"{HOSTILE}/test_attempts.py::test_attempts_are_numbered_without_a_gap",
        f"{HOSTILE}/test_attempts.py::test_an_attempt_does_not_begin_before_the_one_it_repeats_has_ended",
        f"{HOSTILE}/test_attempts.py::test_an_attempt_that_is_dropped_is_noticed",
        "tests/gates/spec/test_frozen.py::test_a_gate_that_is_changed_after_the_session_was_opened_is_run_as_it_was",
    )),
    3: Rule("a run is closed over all that it wrote and planned", (
        f"{EVIDENCE}::test_a_recorder_that_was_killed",
        f"{EVIDENCE}::test_a_file_that_was_cut_anywhere",
        f"{EVIDENCE}::test_a_file_that_is_gone",
        f"{EVIDENCE}::test_a_closing_that_lies",
        f"{EVIDENCE}::test_a_closing_that_was_put_right_afterwards",
        f"{EVIDENCE}::test_rows_that_are_there_twice",
        f"{JUDGE}/test_integrity.py::test_every_planned_step_ends_once",
        "tests/e2e/test_broken_runs.py::test_a_full_disk",
    ), ("assertions/none-at-all", "steps/repeat-zero", "steps/parallel-nothing")),
    4: Rule("the judge reads declared columns of what is shipped", (
        f"{EVIDENCE}::test_tables_that_are_not_those_that_were_sealed",
        f"{EVIDENCE}::test_a_table_that_is_missing",
        f"{RELEASE}::test_tables_in_another_form",
        f"{CHAOS}/evidence/test_sealing.py::test_what_looks_like_another_type_stays_what_it_is",
    )),
    5: Rule("intent is written before it is sent, and stays", (
        f"{EVIDENCE}::test_requests_that_were_never_answered_do_not_help",
        f"{CHAOS}/load/test_run.py::test_intents_are_recorded_before_their_first_byte_is_sent",
        f"{CHAOS}/load/test_run.py::test_a_request_without_answer_may_have_happened_and_is_not_sent_again",
        f"{CHAOS}/test_http.py::test_nothing_is_sent_twice",
    )),
    6: Rule("nothing is repeated until it is green", (
        f"{RELEASE}::test_fail_and_then_pass",
        f"{RELEASE}::test_a_gate_in_other_words_is_shown_beside_its_failures",
        f"{MAKING}/test_history.py::test_fail_and_then_pass_holds",
        f"{MAKING}/test_history.py::test_a_run_that_never_ended_holds_the_next",
        f"{MAKING}/test_history.py::test_a_deleted_ledger_is_noticed_and_its_last_failure_is_still_known",
        f"{MAKING}/test_history.py::test_an_unknown_holds_its_own_run_and_no_later_one",
        f"{MAKING}/test_history.py::test_what_failed_in_another_clone_is_known_by_the_ledger_that_both_name",
        f"{MAKING}/test_history.py::test_without_a_ledger_that_was_named_a_release_says_what_it_does_not_know",
        f"{HOSTILE}/test_attempts.py::test_a_host_that_was_slow_is_waited_for",
        f"{HOSTILE}/test_attempts.py::test_nothing_else_is_repeated",
        f"{JUDGE}/test_host.py::test_on_a_slow_machine_a_failure_is_a_failure",
        f"{JUDGE}/test_host.py::test_what_is_timed_speaks_of_times_only",
    )),
    7: Rule("a part never promotes", (
        f"{RELEASE}::test_a_part_of_a_release_is_none",
        f"{RELEASE}::test_a_partial_run_that_claims_the_whole",
        f"{MAKING}/test_history.py::test_an_interrupted_run_ends_in_the_ledger",
    )),
    8: Rule("something is seen from outside", (
        f"{JUDGE}/test_integrity.py::test_a_gate_that_rests_on_the_systems_word_only_is_unknown",
        "tests/gates/test_pinned_routes.py::test_the_matrix_of_roles_has_every_operation_of_the_contract",
    ), ("assertions/only-the-systems-own-word",)),
    9: Rule("configuration is changed by allowed keys only", (
        "tests/gates/lint/test_gate.py::test_what_is_wrong_with_a_gate",
        f"{CHAOS}/engine/test_run.py::test_the_configuration_of_the_gate_is_merged_before_the_start",
    ), ("frame/configuration-that-is-not-allowed",)),
    10: Rule("who shares a system only reads", (
        f"{EVIDENCE}::test_the_order_of_gates_changes_nothing",
        f"{CHAOS}/engine/test_run.py::test_gates_that_only_read_share_a_stack_and_each_has_its_own_evidence",
    ), ("steps/shared-with-load", "steps/shared-with-a-fault", "steps/shared-with-a-kill",
        "steps/shared-with-a-write-inside")),
    11: Rule("one clock, which does not jump", (
        f"{EVIDENCE}::test_a_clock_that_went_back_or_ahead",
        f"{EVIDENCE}::test_answers_from_before_the_question_meet_no_limit",
        f"{ASSERTIONS}::test_every_table_has_its_times_under_names_of_their_own",
        f"{CHAOS}/test_clock.py::test_another_process_that_is_told_the_origin_has_the_same_time",
    )),
    12: Rule("databases are copied when they are at rest, secrets are kept out", (
        f"{CHAOS}/engine/test_run.py::test_declared_tables_are_taken_from_a_copy_after_their_writers_stopped",
        f"{CHAOS}/load/test_run.py::test_a_planted_secret_is_nowhere",
        f"{CHAOS}/evidence/test_recorder.py::test_known_secrets_and_patterns_reach_no_file",
    )),
    13: Rule("a population is written, and of distinct rows", (
        f"{ASSERTIONS}::test_over_a_good_run_it_is_no_pass",
        f"{ASSERTIONS}::test_a_query_makes_no_population_out_of_nothing",
        f"{JUDGE}/test_assertions.py::test_a_join_that_multiplies_rows_does_not_multiply_the_population",
        f"{HOSTILE}/test_unknown.py::test_what_was_never_answered_helps_nothing",
        f"{HOSTILE}/test_unknown.py::test_nor_through_a_query",
        f"{HOSTILE}/test_unknown.py::test_what_is_known_of_it_may_be_said",
        f"{HOSTILE}/test_unknown.py::test_unanswered_inputs_do_not_count_for_at_least",
    ), ("assertions/at-least-missing", "assertions/at-least-zero", "assertions/at-least-negative",
        "sql/from-two-tables", "sql/from-a-range", "sql/a-fixed-table-hides-evidence", "judged/nobody-there",
        "judged/all-null")),
    14: Rule("a value is one finite number", (
        f"{ASSERTIONS}::test_what_is_no_finite_number_is_compared_with_nothing",
        f"{ASSERTIONS}::test_comparators_that_are_none",
        f"{JUDGE}/test_assertions.py::test_a_value_that_is_no_finite_number_is_unknown",
        f"{RELEASE}::test_times_that_are_none",
    ), ("assertions/value-is-nan", "judged/nothing-by-nothing", "judged/a-value-without-a-number")),
    15: Rule("SQL depends on nothing but the evidence", (
        f"{CASES}::test_refused_with_its_place",
        f"{JUDGE}/test_connection.py::test_a_release_is_closed_to_the_outside",
        f"{JUDGE}/test_connection.py::test_answers_depend_on_one_thread_and_no_time_zone",
        "tests/specs/test_fuzzing.py::test_sql_of_random_pieces",
    ), ("sql/random", "sql/now", "sql/two-statements", "sql/two-columns", "sql/from-a-file", "sql/a-query-attaches",
        "sql/a-query-has-a-pragma", "sql/a-query-copies", "sql/from-a-tablesample", "judged/a-cast-that-raises")),
    16: Rule("inside of a fault is wholly inside", (
        f"{ASSERTIONS}::test_what_a_request_was_inside_of_and_what_it_touched",
        f"{ASSERTIONS}::test_the_edges_of_a_window_are_of_no_use",
        f"{CHAOS}/evidence/test_sealing.py::test_an_unproven_fault_is_nothing_to_be_inside_of",
    )),
    17: Rule("shares have bounds that can be missed", (
        f"{ASSERTIONS}::test_one_degraded_answer_in_eighty_is_not_degraded",
        f"{JUDGE}/test_assertions.py::test_what_is_not_known_never_helps_a_share",
    ), ("assertions/share-that-cannot-fail", "assertions/share-of-a-constant", "judged/null-is-no-share")),
    18: Rule("what cannot fail does not pass", (
        f"{HOSTILE}/test_cannot_fail.py::test_a_value_that_is_always_the_same_is_refused",
        f"{HOSTILE}/test_cannot_fail.py::test_what_nothing_turns_red_is_unknown",
        f"{HOSTILE}/test_cannot_fail.py::test_nor_does_a_query_hide_it",
        f"{HOSTILE}/test_cannot_fail.py::test_what_can_fail_passes",
        f"{HOSTILE}/test_cannot_fail.py::test_what_can_fail_through_a_query_passes",
        f"{JUDGE}/test_selfcheck.py::test_an_assertion_that_nothing_turns_red_is_unknown",
        f"{JUDGE}/test_selfcheck.py::test_a_query_that_hides_a_constant_is_found_out",
        f"{ASSERTIONS}::test_a_predicate_that_its_population_implies_is_killed_by_nothing",
        f"{CASES}::test_not_passed",
    ), ("assertions/every-true", "assertions/every-one-is-one", "assertions/the-population-says-it",
        "judged/or-true", "judged/a-constant-in-a-query")),
    19: Rule("percentiles by exact bounds", (
        f"{ASSERTIONS}::test_percentiles_are_proven_and_refuted_by_the_exact_bounds",
        f"{ASSERTIONS}::test_a_percentile_of_a_join_with_itself_is_none",
        f"{JUDGE}/test_binomial.py::test_more_slow_ones_need_larger_samples",
        f"{JUDGE}/test_assertions.py::test_percentiles_are_judged_by_their_bounds",
    ), ("assertions/percentile-of-too-few", "assertions/percentile-of-all")),
    20: Rule("a load is all of what was planned, in time", (
        f"{EVIDENCE}::test_a_load_that_did_not_do_what_it_planned",
        f"{EVIDENCE}::test_a_load_with_more_rows_than_it_sent",
        f"{JUDGE}/test_integrity.py::test_lateness_matters_only_where_latency_is_limited",
        f"{JUDGE}/test_host.py::test_on_a_slow_machine_times_mean_nothing",
        f"{JUDGE}/test_host.py::test_a_control_that_says_nothing_is_no_slow_machine",
    ), ("assertions/latency-limit-beside-others", "steps/load-of-nothing", "judged/a-load-that-was-not-there")),
    21: Rule("paired probes show each fault", (
        f"{FAULTS}::test_a_link_that_stays_as_it_was",
        f"{FAULTS}::test_a_system_that_is_slow_or_gone_by_itself",
        f"{FAULTS}::test_a_phase_that_nobody_looked_at",
        f"{FAULTS}::test_a_fault_that_was_there_at_the_start_only",
        f"{FAULTS}::test_less_than_was_asked_for",
        f"{FAULTS}::test_a_fault_that_is_not_whole",
        f"{FAULTS}::test_the_probes_of_one_fault_prove_no_second",
        f"{CHAOS}/faults/test_signatures.py::test_dead_server_behind_a_live_proxy_is_no_cut",
    ), ("judged/a-fault-that-was-not-there",)),
    22: Rule("impossible and misspelt faults are refused", (
        f"{CHAOS}/faults/test_impossible.py::test_impossible_fault_says_why",
        f"{CHAOS}/links/test_proxies.py::test_misspelt_attribute_is_a_mismatch_and_leaves_nothing",
    ), ("faults/misspelt-attribute", "faults/probe-without-a-payload", "faults/slices-larger-than-the-probe",
        "faults/no-probe-on-the-link")),
    23: Rule("the system's own traffic met the fault", (
        f"{FAULTS}::test_a_link_that_was_by_passed",
        f"{FAULTS}::test_traffic_of_the_harness_is_not_the_targets_own",
        f"{FAULTS}::test_an_exercise_that_was_cut_off_shows_nothing",
        f"{FAULTS}::test_an_exercise_of_another_target_shows_nothing",
        f"{HOSTILE}/test_real_faults.py::test_faults_on_links_of_several_protocols",
        f"{JUDGE}/test_meeting.py::test_a_fault_after_the_traffic_has_ended_is_unknown",
        f"{CHAOS}/links/test_connections.py::test_connections_past_the_link_are_seen",
    )),
    "23a": Rule("a process is all that came of it, and its end is seen", (
        f"{CHAOS}/engine/test_trees.py::test_what_is_done_to_a_process_is_done_to_all_of_it",
        f"{CHAOS}/engine/test_trees.py::test_who_answers_in_the_place_of_a_process_is_not_taken_for_it",
        f"{CHAOS}/engine/test_trees.py::test_nothing_outlives_a_killed_worker_whatever_it_took_off",
        f"{EVIDENCE}::test_a_process_that_nobody_asked_to_end",
        f"{EVIDENCE}::test_what_outlives_a_run",
    )),
    24: Rule("without the fault something fails", (
        f"{FAULTS}::test_a_sham_that_is_presented_as_healthy",
        f"{DEFECTS}::test_it_is_not_proven",
        f"{JUDGE}/test_faults.py::test_a_sham_is_never_proven_but_its_assertions_are_judged",
    )),
    25: Rule("the path is clean again", (
        f"{FAULTS}::test_a_fault_that_never_went_away",
        f"{JUDGE}/test_faults.py::test_the_path_must_be_clean_again_by_its_probes",
        f"{CHAOS}/faults/test_run.py::test_fault_that_nobody_clears_ends_with_the_run",
        f"{CHAOS}/engine/test_run.py::test_a_toxiproxy_that_dies_breaks_the_run",
    ), ("faults/never-ends",)),
    26: Rule("a defect is red where it says, and only there", (
        f"{DEFECTS}::test_it_is_not_proven",
        f"{DEFECTS}::test_with_everything_seen_it_is_proven",
        f"{KEPT}::test_a_stale_defect_holds_the_release_and_stops_nothing",
    ), ("frame/defect-of-no-such-assertion",)),
    27: Rule("nothing kills nothing", (
        f"{DEFECTS}::test_every_assertion_has_its_killer",
        f"{RELEASE}::test_a_trial_less",
        f"{RELEASE}::test_proofs_that_say_so_themselves",
        f"{RELEASE}::test_a_policy_without_gates_still_wants_proofs",
    ), ("assertions/nothing-kills-it",)),
    28: Rule("the edit was executed, and nothing else was the matter", (
        f"{DEFECTS}::test_it_is_not_proven",
        f"{DEFECTS}::test_lines_beside_the_edit_are_not_the_edit",
        f"{DEFECTS}::test_a_defect_whose_text_is_not_there_once_is_stale",
        f"{VERIFY}/test_verify.py::test_proofs_that_do_not_follow_from_their_evidence",
        f"{DEFECTS}::test_a_stale_defect_is_not_proven_whatever_was_seen_of_it",
    ), ("frame/defect-in-no-python", "frame/defect-that-changes-nothing")),
    29: Rule("copies are compiled anew", (
        f"{DEFECTS}::test_a_copy_never_runs_what_was_compiled_before",
        f"{DEFECTS}::test_a_copy_that_was_compiled_anew_runs_what_it_holds",
    )),
    30: Rule("a proof is of exactly these inputs, and can be computed again", (
        f"{RELEASE}::test_a_cached_proof_is_of_exactly_these_inputs",
        f"{KEPT}::test_proofs_count_whenever_they_were_made_at_the_same_inputs",
        f"{KEPT}::test_proofs_at_other_inputs_do_not_count",
        f"{KEPT}::test_proofs_at_other_inputs_that_were_put_in_the_place_of_these",
        f"{KEPT}::test_a_trial_that_was_tampered_with_proves_nothing",
        f"{RELEASE}::test_proofs_in_another_form",
        f"{VERIFY}/test_verify.py::test_proofs_that_do_not_follow_from_their_evidence",
        f"{VERIFY}/test_verify.py::test_a_run_is_no_trial_twice",
    )),
    31: Rule("races are won five times of five", (
        f"{DEFECTS}::test_what_shows_by_timing_is_seen_with_five_seeds_of_five",
        f"{DEFECTS}::test_one_race_that_was_won_is_no_proof",
        f"{DEFECTS}::test_every_trial_that_is_needed_is_run",
    )),
    32: Rule("mutants are counted as what they came to", (
        f"{DEFECTS}::test_unknown_is_no_kill",
        f"{DEFECTS}::test_a_gate_is_asked_about_what_it_guards_and_the_tests_about_all_else",
        f"{DEFECTS}::test_of_no_mutants_no_share_is_told",
    )),
    33: Rule("what is attested follows, and is signed from outside", (
        f"{RELEASE}::test_a_failed_release_is_never_found_promoted",
        f"{RELEASE}::test_all_of_it_written_anew_is_nobodys",
        f"{RELEASE}::test_a_looser_policy_is_another_policy",
        f"{RELEASE}::test_what_was_not_measured_is_among_the_failed_tests",
        f"{RELEASE}::test_a_gate_that_is_not_proven_is_among_the_failed_tests",
        f"{VERIFY}/test_verify.py::test_a_changed_byte_anywhere_is_named",
        f"{VERIFY}/test_verify.py::test_another_wheel",
        f"{VERIFY}/test_verify.py::test_a_release_holds_regular_files_only",
        f"{VERIFY}/test_verify.py::test_what_is_rendered_is_rendered_again_and_compared",
        f"{VERIFY}/test_verify.py::test_without_a_key_too_an_envelope_holds_what_is_attested_and_no_more",
        f"{MAKING}/test_statements.py::test_there_is_one_attestation_of_one_verdict",
    )),
    34: Rule("loosening is shown, waivers change nothing", (
        f"{VERIFY}/test_diff.py::test_what_is_flagged",
        f"{VERIFY}/test_diff.py::test_gates_that_came_and_went",
        f"{MAKING}/test_waivers.py::test_a_waived_gate_holds_all_the_same",
        f"{MAKING}/test_waivers.py::test_reading",
        f"{MAKING}/test_waivers.py::test_of_strangers_and_of_nobody",
        "tests/gates/release/test_pins.py::test_pins",
    ), ("release/a-gate-removed", "release/a-gate-listed-twice", "release/a-count-that-is-too-small")),
    35: Rule("limits are told", (
        f"{HOSTILE}/test_rules.py::test_the_limits_of_the_method_are_in_every_report",
    )),
    36: Rule("nothing else is touched", (
        f"{CHAOS}/engine/test_paths.py::test_nothing_else_is_written",
        f"{CHAOS}/engine/test_paths.py::test_a_link_that_is_replaced_stands_for_itself",
        f"{CHAOS}/engine/test_paths.py::test_the_state_and_the_project_are_read",
        f"{DEFECTS}::test_an_edit_through_a_link_never_reaches_the_original",
        f"{DEFECTS}::test_a_link_that_no_copy_can_hold_is_refused",
    ), ("steps/writes-the-working-directory", "steps/writes-somewhere-else", "steps/writes-beside-the-state",
        "steps/writes-the-state-itself", "steps/writes-the-project", "steps/reads-somewhere-else")),
    37: Rule("a gate comes to an end", (
        f"{CHAOS}/engine/test_bounds.py::test_a_gate_ends_when_its_time_has_passed",
        f"{CHAOS}/engine/test_bounds.py::test_of_an_endless_output_a_part_is_kept_and_the_rest_is_said",
        f"{CHAOS}/engine/test_bounds.py::test_passes_of_all_repeats_are_counted_together",
        f"{CHAOS}/engine/test_bounds.py::test_an_expression_takes_time_in_proportion",
        f"{CHAOS}/engine/test_bounds.py::test_a_query_without_end_is_an_error",
        "tests/test_opening_files.py::test_only_regular_files_are_opened",
        "tests/test_opening_files.py::test_a_file_is_read_up_to_a_bound",
    )),
    38: Rule("the same answer is the same evidence", (
        f"{CHAOS}/evidence/test_recorder.py::test_a_planted_secret_is_found_in_every_spelling",
        f"{CHAOS}/evidence/test_recorder.py::test_a_secret_is_found_however_often_it_is_quoted",
        f"{CHAOS}/test_answers.py::test_an_answer_keeps_its_spelling",
        f"{CHAOS}/load/test_one_recorder.py::test_load_and_request_record_the_same",
        f"{CHAOS}/steps/test_request.py::test_an_answer_is_the_same_evidence_whoever_asked",
        f"{CHAOS}/engine/test_run.py::test_a_target_starts_with_a_clean_environment",
    )),
    39: Rule("order decides nothing", (
        f"{HOSTILE}/test_order.py::test_an_order_that_is_left_open_is_refused",
        f"{HOSTILE}/test_order.py::test_a_total_order_is_fine",
        f"{HOSTILE}/test_order.py::test_a_verdict_that_the_order_of_rows_decides_is_unknown",
        f"{HOSTILE}/test_order.py::test_evidence_in_another_order_is_not_what_was_sealed",
    )),
}  # fmt: skip


@cache
def functions_in(module: str) -> frozenset[str]:
    path = ROOT / module
    assert path.is_file(), f"there is no {module}"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_rule_is_there_once() -> None:
    assert tuple(RULES) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_rule_has_tests_and_each_of_them_exists(number: int | str) -> None:
    rule = RULES[number]
    assert rule.statement and rule.tests
    for test in rule.tests:
        module, _, function = test.partition("::")
        assert function.startswith("test_")
        assert function in functions_in(module), f"there is no {test}"
    for case in rule.cases:
        assert case in BY_NAME, case


def test_every_hostile_module_is_named() -> None:
    named = {test.partition("::")[0] for rule in RULES.values() for test in rule.tests}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / HOSTILE).glob("test_*.py")}
    assert modules <= named


def test_the_document_has_a_section_for_every_rule() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    sections = re.findall(
        r"^### (\d+a?)\. ([^\n]+)\n\n(.+?)(?=\n\n#|\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert [number for number, _, _ in sections] == list(map(str, NUMBERS))
    assert all(len(body.split()) > 10 for _, _, body in sections)


def test_the_limits_of_the_method_are_in_every_report() -> None:
    release = read_project(ROOT / "specs").release
    assert release is not None
    for words in ("clock skew between hosts", "TCP", "recorded rows", "fails less often"):
        assert any(words in limit for limit in release.limits), f"no limit speaks of {words}"
