"""Watermarks that a source of ours sets itself: Beam's manual estimator, with a coder that does not pickle."""

from typing import Any

from apache_beam import coders
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import WatermarkEstimatorProvider
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp


class TimestampCoder(coders.Coder):
    """A watermark: microseconds, 8 bytes. (Beam's own coder cuts them to milliseconds.)"""

    def encode(self, value: Timestamp) -> bytes:
        return int(value.micros).to_bytes(8, "big", signed=True)

    def decode(self, encoded: bytes) -> Timestamp:
        return Timestamp(micros=int.from_bytes(encoded, "big", signed=True))

    def is_deterministic(self) -> bool:
        return True


class ManualWatermarks(WatermarkEstimatorProvider):
    """For `DoFn.WatermarkEstimatorParam`: begins before all times."""

    def initial_estimator_state(self, element: Any, restriction: Any) -> Timestamp:
        return MIN_TIMESTAMP

    def create_watermark_estimator(self, estimator_state: Timestamp) -> ManualWatermarkEstimator:
        return ManualWatermarkEstimator(estimator_state)

    def estimator_state_coder(self) -> coders.Coder:
        return TimestampCoder()


def advance(watermark: Any, to: Timestamp) -> None:
    """Moves the watermark up to there, if it is not further already."""
    if to > watermark.current_watermark():
        watermark.set_watermark(to)
