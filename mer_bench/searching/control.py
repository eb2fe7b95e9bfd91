"""The driver's side of a search, whatever runs it: hands out proposals, races, and tells when to stop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mer_bench.searching import racing, trials
from mer_bench.searching.proposer import Proposer
from mer_bench.searching.studies import Study
from mer_bench.searching.trials import Ended

SAME_ERROR = 3


@dataclass
class UnderWay:
    """A trial that workers have.

    Attributes:
        workers: how many: its own, and those that help it with a fold.
        taken: places of the folds that are done or given to a helper.
        ended: whether its end has been told.
        dropped: whether the race has dropped it.
    """

    workers: int = 1
    taken: set[int] = field(default_factory=set)
    ended: bool = False
    dropped: bool = False


class Control:
    """One search under way.

    Args:
        study: what is searched.
        on_end: called as each trial ends.
        budget: seconds after which no more trials start, None for no limit.

    Attributes:
        edited: what a worker says whose method's file was edited; then nothing more starts and no trial is ended.
    """

    def __init__(self, study: Study, on_end: Callable[[Ended], None], budget: float | None) -> None:
        self._study, self._proposer, self._on_end = study, Proposer(study), on_end
        self._until = time.monotonic() + budget if budget is not None else None
        self._under_way: dict[int, UnderWay] = {}
        self._losses: dict[int, dict[int, float]] = {}
        self._whole: dict[int, dict[int, float]] = {}
        self._errors: list[str] = []
        self._back: list[dict[str, Any]] = []
        self.edited = ""
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

    @property
    def over(self) -> bool:
        """Whether nothing more may start, whatever is left."""
        return bool(self.broken or self.edited)

    @property
    def idle(self) -> bool:
        """Whether no worker has anything."""
        return not any(trial.workers for trial in self._under_way.values())

    def next(self) -> int | None:
        """The number of the next trial, None if there is none."""
        asked = None if self.out_of_time or self.over else self._proposer.next()
        if asked is None:
            return None
        self._under_way[asked[0]] = UnderWay()
        return asked[0]

    def give_back(self, asked: dict[str, Any]) -> None:
        """A worker died before it came to what it was asked; that is asked again, in the same name."""
        self._back.append(asked)

    def again(self) -> dict[str, Any] | None:
        """What was given back and is to be asked again, None if there is nothing."""
        return self._back.pop(0) if self._back else None

    def spare(self) -> tuple[int, int] | None:
        """A fold for a worker that no trial is left for: the last of the trial that has most of them yet to begin.

        Its own worker is at one of them, and finds this one taken when it comes to it, or was there first.
        """
        places = range(len(self._study.folds))
        trying = {n: t for n, t in self._under_way.items() if t.workers and not (t.ended or t.dropped or self.over)}
        left = {n: [place for place in places if place not in t.taken] for n, t in trying.items()}
        number = max(left, key=lambda n: (len(left[n]), -n), default=None)
        if number is None or len(left[number]) < 2:
            return None
        trial, place = self._under_way[number], left[number][-1]
        trial.workers += 1
        trial.taken.add(place)
        return number, place

    def fold(self, number: int, place: int, loss: float | None, diverged: str) -> bool:
        """Take a fold's loss; whether its trial is dropped."""
        if place < 0:
            return False
        trial = self._under_way[number]
        trial.taken.add(place)
        if trial.ended or trial.dropped:
            return True
        if not self._study.racing or len(self._losses.get(number, ())) + 1 >= len(self._study.folds):
            return False
        if loss is None:
            return self._drop(number, diverged)
        self._losses.setdefault(number, {})[place] = loss
        look = racing.look(self._losses[number], self._whole, len(self._study.folds))
        return look is not None and look.drops and self._drop(number, look.reason)

    def _drop(self, number: int, reason: str) -> bool:
        trials.close(self._study, number, trials.PRUNED, reason)
        self._under_way[number].dropped = True
        return True

    def end(self, number: int, reason: str = "") -> None:
        """A worker is done with a trial, which ends with its last one at most, or died for good, for `reason`."""
        trial = self._under_way[number]
        trial.workers -= 1
        if self.edited:
            return  # it goes on when the file is put back
        if trial.ended:
            trials.finish(self._study, number)
            return
        end = None if reason else trials.finish(self._study, number)
        if end is None:
            if trial.workers and not reason:
                return
            end = trials.close(self._study, number, trials.FAIL, reason or "its workers left folds undone")
        trial.ended = True
        if self._study.racing and end.state == trials.COMPLETE:
            self._whole[number] = trials.losses(self._study, number)
        self._errors.append("" if end.state == trials.PRUNED else end.reason)
        self._proposer.tell(end)
        self._on_end(end)
