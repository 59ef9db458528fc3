"""The stages of bidding by name, and which topics get ticks: what live jobs, replays and the ticker agree on."""

from auctions import topics
from auctions.bids import BidValidation
from auctions.funds import Funds
from auctions.house import AuctionHouse
from auctions.items import ItemValidation
from payments import topics as payment_topics
from payments.live_stages import StageKind
from transforms.fold import DEAD_LETTERS

TICKED = (topics.BIDS,)
"""Bid validation hands the ticks on, and so moves the clock of auction.log, where the deadlines are."""

PATIENT = (topics.CURRENT, topics.RANGES, payment_topics.JOURNAL, payment_topics.BALANCES)
"""What no hop waits for, as payments.topics.PATIENT; here statuses are waited for: they are the answers about money behind bids."""

ITEMS = StageKind(ItemValidation.stage, topics.ITEMS, (topics.LOG, DEAD_LETTERS))
BIDS = StageKind(BidValidation.stage, topics.BIDS, (topics.LOG, DEAD_LETTERS))
HOUSE = StageKind(
    AuctionHouse.stage,
    topics.LOG,
    (topics.HISTORY, topics.OUTCOMES, payment_topics.INCOMING, DEAD_LETTERS),
    (topics.CURRENT, topics.RANGES),
)
FUNDS = StageKind(Funds.stage, payment_topics.STATUS, (topics.LOG, DEAD_LETTERS))
KINDS = (ITEMS, BIDS, HOUSE, FUNDS)
