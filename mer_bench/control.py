"""The driver's side of a search, whatever runs it: hands out proposals, races, and tells when to stop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from mer_bench import racing, trials
from mer_bench.proposer import Proposer
from mer_bench.studies import Study
from mer_bench.trials import Ended

SAME_ERROR = 3


class Control:
    """One search under way.

    Args:
        study: what is searched.
        on_end: called as each trial ends.
        budget: seconds after which no more trials start, None for no limit.
    """

    def __init__(self, study: Study, on_end: Callable[[Ended], None], budget: float | None) -> None:
        self._study, self._proposer, self._on_end = study, Proposer(study), on_end
        self._until = time.monotonic() + budget if budget is not None else None
        self._losses: dict[int, dict[int, float]] = {}
        self._whole: dict[int, dict[int, float]] = {}
        self._errors: list[str] = []
        for end in trials.everything(study):
            if end.state == trials.COMPLETE:
                self._whole[end.number] = trials.losses(study, end.number)

    @property
    def out_of_time(self) -> bool:
        """Whether the budget is spent: no more trials start, those under way end."""
        return self._until is not None and time.monotonic() >= self._until

    @property
    def broken(self) -> str:
        """The error that the last trials have in common, or nothing."""
        last = self._errors[-SAME_ERROR:]
        alike = {re.sub(r"\d+", "#", error) for error in last}
        return last[-1] if len(last) == SAME_ERROR and len(alike) == 1 and last[-1] else ""

    def next(self) -> int | None:
        """The number of the next trial, None if there is none."""
        asked = None if self.out_of_time or self.broken else self._proposer.next()
        return asked[0] if asked else None

    def fold(self, number: int, place: int, loss: float | None, diverged: str) -> bool:
        """Take a fold's loss; whether its trial is dropped."""
        if not self._study.racing or place < 0 or len(self._losses.get(number, ())) + 1 >= len(self._study.folds):
            return False
        if loss is None:
            return self._drop(number, diverged)
        self._losses.setdefault(number, {})[place] = loss
        look = racing.look(self._losses[number], self._whole, len(self._study.folds))
        return look is not None and look.drops and self._drop(number, look.reason)

    def _drop(self, number: int, reason: str) -> bool:
        trials.close(self._study, number, trials.PRUNED, reason)
        return True

    def end(self, number: int, reason: str = "") -> None:
        """A trial has ended, or its workers died for good, for `reason`."""
        end = trials.ended(self._study, number) or trials.close(self._study, number, trials.FAIL, reason)
        if self._study.racing and end.state == trials.COMPLETE:
            self._whole[number] = trials.losses(self._study, number)
        self._errors.append("" if end.state == trials.PRUNED else end.reason)
        self._proposer.tell(end)
        self._on_end(end)
