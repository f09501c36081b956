"""Writes values.json beside it: what scipy, statsmodels and lifelines say of small samples.

    pip install scipy==1.* statsmodels lifelines && python values.py

The tests of src/compare read the committed file and need no Python. Without ties, p is that of scipy's mannwhitneyu(method="exact");
with ties, of scipy's permutation_test over all splits. The interval has all shifts that mannwhitneyu does not refute at 5 %.
"""

import json
import math
import pathlib
import warnings

import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time
from scipy import stats
from statsmodels.stats.multitest import multipletests

INF = math.inf
random = np.random.default_rng(20260131)


def has_ties(base, new):
    return len(set(base) | set(new)) < len(base) + len(new)


def p_value(base, new):
    if not has_ties(base, new):
        return float(stats.mannwhitneyu(new, base, method="exact", alternative="two-sided").pvalue)
    ranks = stats.rankdata(np.concatenate([new, base]))
    sides = (ranks[: len(new)], ranks[len(new) :])
    result = stats.permutation_test(
        sides, lambda one, _: np.sum(one), permutation_type="independent", n_resamples=np.inf, alternative="two-sided"
    )
    return float(result.pvalue)


def interval(base, new):
    """Least and greatest shift that is not refuted: it changes only where new - shift passes a value of base."""
    edges = sorted({n - b for n in new for b in base})
    step = min(b - a for a, b in zip(edges, edges[1:])) / 4
    kept = []
    for edge in edges:
        for shift in (edge - step, edge + step):
            moved = [n - shift for n in new]
            if stats.mannwhitneyu(moved, base, method="exact").pvalue > 0.05:
                kept.append((shift, edge))
    low, high = min(kept), max(kept)
    # The first that is kept lies just above the lower end, the last just below the upper one.
    return [float(low[1]), float(high[1])]


def case(name, base, new):
    base, new = [float(v) for v in base], [float(v) for v in new]
    finite = all(math.isfinite(v) for v in base + new)
    bounded = finite and not has_ties(base, new) and stats.mannwhitneyu(range(len(new)), range(-len(base), 0), method="exact").pvalue <= 0.05
    plain = lambda values: [v if math.isfinite(v) else None for v in values]
    return {
        "name": name,
        "base": plain(base),
        "new": plain(new),
        "p": p_value(base, new),
        "estimate": float(np.median(np.subtract.outer(np.array(new), np.array(base)))) if finite else None,
        "interval": interval(base, new) if bounded else None,
    }


def draw(n, shift=0.0):
    return np.round(random.normal(100 + shift, 3, n), 4)


cases = [case(f"{n} against {m}, shifted by {shift}", draw(n), draw(m, shift)) for n, m, shift in [
    (1, 1, 0), (3, 3, 9), (4, 4, 9), (4, 4, 0), (5, 5, 4), (6, 6, 0), (6, 6, 10), (5, 8, 3), (8, 5, -3), (12, 12, 1), (3, 5, 20), (2, 9, 1),
]]
cases += [
    case("ties across", [1, 2, 2, 3, 4], [2, 3, 3, 5, 6]),
    case("all tied", [0, 0, 0, 0], [0, 0, 0, 0]),
    case("counts", [0, 0, 1, 0, 2, 0], [1, 3, 2, 0, 4, 2]),
    case("not reached in some", [3.1, 4.2, INF, 5.0, 3.9], [INF, INF, 6.1, INF, 7.0]),
    case("not reached in most of both", [INF, INF, INF, 5.0], [INF, INF, INF, INF]),
    case("reached before, not now", [3.1, 4.2, 3.3, 5.0, 3.9, 4.0], [INF] * 6),
]

families = []
for p in [[0.01, 0.04, 0.03], [0.002, 1.0], [0.0079, 0.0079, 0.0079, 0.0079, 0.0079], [0.6, 0.03, 0.03, 0.001], [0.05]]:
    families.append({"p": p, "adjusted": [float(v) for v in multipletests(p, method="holm")[1]]})

survival = []
for n, horizon in [(20, 60), (50, 90), (30, 100)]:
    times = random.integers(1, 101, n)
    ended = random.random(n) < 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = KaplanMeierFitter().fit(times, ended)
    survival.append({
        "ended": sorted(int(t) for t in times[ended]),
        "cut": sorted(int(t) for t in times[~ended]),
        "horizon": horizon,
        "restricted_mean": float(restricted_mean_survival_time(fitted, t=horizon)),
    })

log_rank = []
for n, m, factor in [(20, 25, 1.0), (40, 40, 1.6)]:
    sides = [(random.integers(1, 101, n), random.random(n) < 0.6), ((random.integers(1, 61, m) * factor).astype(int) + 1, random.random(m) < 0.8)]
    (t, e), (u, f) = sides
    split = lambda times, ended: {"ended": sorted(int(x) for x in times[ended]), "cut": sorted(int(x) for x in times[~ended])}
    statistic = logrank_test(t, u, event_observed_A=e, event_observed_B=f).test_statistic
    log_rank.append({"sides": [split(t, e), split(u, f)], "statistic": float(statistic)})

target = pathlib.Path(__file__).with_name("values.json")
target.write_text("{" + ",\n".join(f"\"{name}\": [\n" + ",\n".join(map(json.dumps, rows)) + "\n]" for name, rows in [("cases", cases), ("holm", families), ("survival", survival), ("log_rank", log_rank)]) + "}" + "\n")
