"""The tables of the auction views. No rows are made here: see `auctions.views`.

Money is integer minor units; times are those of the log, ms; `shard` and `position` are partition and offset. Each partition's rows depend
on that partition alone, so they are upserted in any order and as often as one likes; cells are counted over all partitions.
"""

from transforms.tables import Table, columns

AUCTIONS = Table(
    "auctions",
    columns(
        "auction_id TEXT, shard BIGINT, title TEXT, category TEXT, seller TEXT, currency TEXT, start_price BIGINT, reserve BIGINT, "
        "buy_now BIGINT, backed BOOLEAN, starts_at BIGINT, ends_at BIGINT, effective_end BIGINT, extensions BIGINT, outcome TEXT, "
        "winner TEXT, price BIGINT, unpaid BIGINT, unpaid_reason TEXT, bids BIGINT, bidders BIGINT, position BIGINT"
    ),
    ("auction_id",),
    "position",
)
DECISIONS = Table(
    "decisions",
    columns(
        "shard BIGINT, position BIGINT, auction_id TEXT, bid_id TEXT, bidder TEXT, status TEXT, maximum BIGINT, price BIGINT, "
        "leader TEXT, automatic BOOLEAN, effective_end BIGINT, extensions BIGINT, received_at BIGINT, cell TEXT"
    ),
    ("shard", "position"),
)
SPREADS = Table(
    "spreads",
    columns(
        "auction_id TEXT, mark TEXT, currency TEXT, category TEXT, at_ms BIGINT, ask BIGINT, bid BIGINT, absolute BIGINT, points BIGINT"
    ),
    ("auction_id", "mark"),
)
PRICES = Table(
    "price_ranges",
    columns(
        "key TEXT, level TEXT, currency TEXT, n BIGINT, p10 BIGINT, p25 BIGINT, p50 BIGINT, p75 BIGINT, p90 BIGINT, revision BIGINT"
    ),
    ("key",),
    "revision",
)
RANGES = Table(
    "auction_ranges",
    columns(
        "auction_id TEXT, asked_at BIGINT, level TEXT, currency TEXT, n BIGINT, p10 BIGINT, p25 BIGINT, p50 BIGINT, p75 BIGINT, "
        "p90 BIGINT, tried TEXT"
    ),
    ("auction_id", "asked_at"),
)
ADS = Table(
    "placements",
    columns("placement_id TEXT, person TEXT, auction_id TEXT, because_of TEXT, reason TEXT, at_ms BIGINT"),
    ("placement_id",),
)
ALERTS = Table(
    "alerts",
    columns("alert_id TEXT, signal TEXT, persons TEXT, score TEXT, rule_version BIGINT, at_ms BIGINT, evidence TEXT"),
    ("alert_id",),
)
NOTICES = Table(
    "notices",
    columns("notice_id TEXT, person TEXT, kind TEXT, auction_id TEXT, at_ms BIGINT"),
    ("notice_id",),
)
CELLS = Table(
    "cells",
    columns("window_ms BIGINT, cell TEXT, lat TEXT, lon TEXT, bids BIGINT, bidders BIGINT, spend TEXT"),
    ("window_ms", "cell"),
)

TABLES = (AUCTIONS, DECISIONS, SPREADS, PRICES, RANGES, ADS, ALERTS, NOTICES, CELLS)
"""All of them, in the order in which they are made."""
