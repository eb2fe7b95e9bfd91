import pytest
from hypothesis import given
from hypothesis import strategies as st

from mer_bench.reports import prose


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [(0.703, False, ".703"), (1.0, False, "1.000"), (0.0, False, ".000"), (-0.0201, True, "-.020"),
     (0.052, True, "+.052"), (-0.0001, True, "+.000"), (None, False, "–")],
)  # fmt: skip
def test_three_digits(value, signed, shown):
    assert prose.number(value, signed) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.02, "p = .02"), (0.0004, "p < .001"), (0.0032, "p = .003"), (0.049999, "p = .0499"), (1.0, "p = 1.00"),
     (0.0496, "p = .0496"), (0.047, "p = .047"), (0.05, "p = .05"), (None, "–")],
)  # fmt: skip
def test_p_values(p, shown):
    assert prose.p_value(p) == shown


@given(st.floats(0.001, 1.0))
def test_rounding_never_carries_p_over_the_line(p):
    assert (float(prose.p_value(p).removeprefix("p = ")) < prose.ALPHA) == (p < prose.ALPHA)


@pytest.mark.parametrize(("seconds", "shown"), [(12.4, "12 s"), (89.0, "89 s"), (754.0, "13 min"), (11_160.0, "3.1 h")])
def test_durations(seconds, shown):
    assert prose.duration(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0012, "1.2 µs"), (0.42, "0.42 ms"), (3.16, "3.2 ms"), (132.0, "132 ms"), (1340.0, "1.3 s"), (None, "–")],
)
def test_latencies(value, shown):
    assert prose.latency(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(811, "811"), (9999, "9999"), (12_345, "12.3 k"), (1_234_567, "1.23 M"), (4.1e9, "4.10 G")]
)
def test_counts(value, shown):
    assert prose.count(value) == shown


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.031, 0.004, 0.058, 0.02), "better by .031 UF1 [.004, .058], p = .02 by subjects"),
        ((-0.031, -0.058, -0.004, 0.02), "worse by .031 UF1 [.004, .058], p = .02 by subjects"),
        ((0.031, -0.004, 0.066, 0.09), "no difference shown: +.031 UF1 [-.004, .066], p = .09 by subjects"),
        ((0.031, 0.004, 0.058, 0.07), "no difference shown: +.031 UF1 [.004, .058], p = .07 by subjects"),
        ((0.031, -0.001, 0.058, 0.04), "no difference shown: +.031 UF1 [-.001, .058], p = .04 by subjects"),
    ],
)
def test_a_verdict_says_better_only_if_interval_and_test_agree(numbers, words):
    assert prose.verdict(*numbers) == words


def test_a_verdict_tells_of_seed_noise_and_of_equal_answers():
    assert prose.verdict(0.01, -0.1, 0.1, 0.6, seed_noise=True).endswith("; within seed noise")
    assert prose.verdict(0.0, 0.0, 0.0, 1.0, same=True).startswith("no difference: both say the same")


@pytest.mark.parametrize(
    ("words", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists(words, said):
    assert prose.listed(words) == said
