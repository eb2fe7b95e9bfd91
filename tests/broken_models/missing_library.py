"""Broken: imports a library that is not there."""

import a_library_that_nobody_has

from mer_bench.contracts import Baseline

BASELINE = Baseline(model=a_library_that_nobody_has.Net, view="flow@28")
