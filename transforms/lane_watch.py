"""A lane looks after itself: it notices that it stands still, that the log was cut, and that the topic is another one."""

import logging
import time
from collections.abc import Mapping

from transforms.lane_desk import Desk
from transforms.lane_types import LaneStalled
from transforms.log_reader import Bounds, LogReader, ReadFailed, TopicLookup, WrongTopic, check_within

_LOG = logging.getLogger(__name__)


class TopicIdentity:
    """Which topic the lane reads: `found` is its id, once the broker has told it."""

    def __init__(self, name: str, partitions: int, expected: str) -> None:
        self._name, self._partitions, self._expected = name, partitions, expected
        self.found = ""

    def check(self, found: str, partitions: int) -> None:
        """WrongTopic if it is not the topic that the stage names, or not the one that it was."""
        if partitions != self._partitions:
            raise WrongTopic(f"{self._name}: has {partitions} partitions, expected {self._partitions}")
        expected = self.found or self._expected
        if expected not in ("", found):
            raise WrongTopic(f"{self._name}: was re-created: its id is {found}, expected {expected}")
        self.found = found

    def check_claim(self, claimed: str) -> None:
        """The same for the topic of a claim."""
        if claimed not in ("", self.found):
            raise WrongTopic(f"{self._name}: was re-created: its id is {self.found}, the claim is for {claimed}")


class Watch:
    """Asks the broker each half of `stall_s` where the log ends, and compares with what was found before."""

    def __init__(self, identity: TopicIdentity, stall_s: float) -> None:
        self._identity, self._every = identity, stall_s / 2
        self._looked_at = time.monotonic()
        self._ends: dict[int, int] = {}

    def look(
        self, desks: Mapping[int, Desk], reader: LogReader, topic: TopicLookup, until: Mapping[int, int] | None
    ) -> int:
        """The lag of the lane: records that the log holds before `until` and it has not folded. LaneStalled, Gap or WrongTopic if
        something is wrong; a broker that does not answer is not: what the lane holds is as good as before."""
        now = time.monotonic()
        try:
            if topic.answered:
                self._identity.check(*topic.answer())
            if now - self._looked_at >= self._every:
                self._looked_at = now
                topic.ask()
                self._compare(desks, reader.topic, reader.bounds(desks), until)
        except ReadFailed as error:
            _LOG.warning("%s", error)
        lag = 0
        for number, desk in desks.items():
            lag += max(0, max(self._ends.get(number, 0), reader.end_seen(number)) - desk.shard.offset)
        return lag

    def _compare(
        self, desks: Mapping[int, Desk], topic: str, found: Mapping[int, Bounds], until: Mapping[int, int] | None
    ) -> None:
        for number, bounds in found.items():
            desk, offset = desks[number], desks[number].shard.offset
            check_within(topic, number, offset, bounds)
            end = bounds.end if until is None else min(bounds.end, until[number])
            if offset == desk.at_check < end:
                raise LaneStalled(
                    f"{'/'.join(map(str, desk.shard.source))}/{offset}: nothing read for {self._every:g} s, "
                    f"but the log goes on to {bounds.end}"
                )
            desk.at_check = offset if offset < end else -1
            self._ends[number] = bounds.end
