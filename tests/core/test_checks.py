"""Numbers, words and names of a caller: what is taken, and what is refused under which name."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.core import array_checks, checks
from mrinterp.core.errors import InputError

NUMPY = np.float64, np.float32


@pytest.mark.parametrize("good", [0.95, 0.5, *(t(0.5) for t in NUMPY)])
def test_levels(good):
    assert checks.checked_level(good) == good
    assert type(checks.checked_level(good)) is float


@pytest.mark.parametrize("bad", [0, 1, -0.1, 95, 200, True, "0.95", None, float("nan"), [0.95], np.True_])
def test_bad_levels(bad):
    with pytest.raises(InputError) as refused:
        checks.checked_level(bad)
    assert refused.value.where == "level"


def test_a_percentage_is_told_its_fraction():
    with pytest.raises(InputError, match=r"95\. Give 0\.95 for 95%"):
        checks.checked_level(95)


@pytest.mark.parametrize("bad", [0, 1, -3, 10**9, 2.0, True, "1000", None, float("inf")])
def test_bad_draws(bad):
    with pytest.raises(InputError, match="draws"):
        checks.checked_draws(bad)
    with pytest.raises(InputError, match="shuffles"):
        checks.checked_draws(bad, "shuffles")


@pytest.mark.parametrize("bad", [-1, 2**63, 0.0, True, "0", None])
def test_bad_seeds(bad):
    with pytest.raises(InputError, match="seed"):
        checks.checked_seed(bad)


@pytest.mark.parametrize("check", [checks.checked_draws, checks.checked_seed])
def test_whole_numbers_come_back_as_python_numbers(check):
    assert check(np.int32(7)) == 7
    assert type(check(np.int32(7))) is int


@pytest.mark.parametrize(("bad", "least", "most"), [(0, 1, None), (6, 1, 5), (2.0, 1, None), (True, 0, None)])
def test_bad_counts(bad, least, most):
    with pytest.raises(InputError, match=r"steps: .*whole number"):
        checks.checked_count(bad, "steps", least, most)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf"), True, "1", None, [1.0]])
def test_bad_numbers(bad):
    with pytest.raises(InputError, match=r"rope_sd: .*of at least 0 \(sd of the outcome\)"):
        checks.checked_number(bad, "rope_sd", least=0, unit="sd of the outcome")


@pytest.mark.parametrize(
    ("value", "zero", "one", "most", "taken"),
    [
        (0, True, True, 1, True),
        (0, False, True, 1, False),
        (1, True, False, 1, False),
        (1, True, True, 1, True),
        (0.5, False, False, 0.5, False),
        (0.2, False, False, 0.5, True),
        (2, True, True, 1, False),
        (True, True, True, 1, False),
        (float("nan"), True, True, 1, False),
    ],
)
def test_fractions_and_their_ends(value, zero, one, most, taken):
    def check() -> float:
        return checks.checked_fraction(value, "share", zero=zero, one=one, most=most)

    if taken:
        assert check() == value
    else:
        with pytest.raises(InputError, match=f"share: .*between 0 and {most}"):
            check()


def test_words_have_near_misses():
    assert checks.checked_choice("holm", "correction", ("holm", "none")) == "holm"
    with pytest.raises(InputError, match=r"correction: 'hol'\. Did you mean 'holm'\? Give one of holm, none"):
        checks.checked_choice("hol", "correction", ("holm", "none"))
    with pytest.raises(InputError, match=r"correction: 3 \(int\)"):
        checks.checked_choice(3, "correction", ("holm", "none"))


KNOWN = ("cause", "twin", "silent")


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ("twin", [1]),
        (2, [2]),
        (["silent", "cause"], [2, 0]),
        (np.array([1, 0]), [1, 0]),
        (["twin", 0], [1, 0]),
    ],
)
def test_names_and_numbers(given, places):
    assert checks.checked_numbers_of(given, "features", KNOWN).tolist() == places
    assert checks.checked_names(given, "features", KNOWN, numbers=True) == tuple(KNOWN[p] for p in places)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["caus"], "features: 'caus': not known. Did you mean 'cause'?"),
        (["zzzz"], "Known: 'cause', 'twin', 'silent'"),
        (3, "features: number 3: there are 3. They run from 0 to 2"),
        (-1, "number -1"),
        (["cause", 0], "features: 'cause': given 2 times"),
        ([], "none given"),
        (1.0, "1.0 (float)"),
        ([None], "None (NoneType)"),
        ([True, False], "True (bool)"),
    ],
)
def test_bad_names(given, message):
    with pytest.raises(InputError) as refused:
        checks.checked_numbers_of(given, "features", KNOWN)
    assert message in str(refused.value)


def test_numbers_are_no_names_unless_asked_for():
    with pytest.raises(InputError, match="names"):
        checks.checked_names([0], "outcomes", KNOWN)
    assert checks.checked_numbers_of([], "outcomes", KNOWN, least=0).shape == (0,)


@pytest.mark.parametrize("bad", [[1.0, 2.0], "one", None, [np.nan] * 3, {"a": 1}])
def test_bad_values(bad):
    with pytest.raises(InputError, match="values"):
        array_checks.checked_values(bad, "values", (2, 3))


def test_values_are_a_copy():
    given = np.zeros((2, 3))
    array_checks.checked_values(given, "values", (2, 3))[:] = 1
    assert not given.any()
