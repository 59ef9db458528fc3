"""Items come in (A1): each is checked by itself, made whole, and put on the log of its auction. Keyed by auction.

Flow: auction.items → item validation → auction.log. Made whole: tags in lower case, sorted, each once; the cell of the grid for the
place; the table of increments that counts, so that a later default changes nothing; how often a soft close may move the end. The items
can be asked for as a table by auction.current, which the auction house keeps.
"""

from auctions import topics
from auctions.addresses import address_error
from auctions.backing import is_id
from auctions.geography import cell_of
from auctions.increments import default_table, table_error
from payments.admission import MAX_MINOR, is_account_id
from payments.currencies import EXPONENTS
from schemas.auctions import ItemCancelled, ItemListed
from transforms.errors import BadRecord
from transforms.fold import Context, Processor
from transforms.topic_settings import DAY_MS

MAX_DURATION_MS = 400 * DAY_MS
MAX_SOFT_CLOSE_MS = DAY_MS
MAX_EXTENSIONS = 1_000
EXTENSIONS = 10  # where an item has a soft close and does not say how often
MAX_TAGS = 32
_MAX_CHARS = {"item_id": 128, "title": 200, "description": 20_000, "category": 100}
_MAX_TAG_CHARS = 50
MAX_REASON_CHARS = 500


class ItemValidation(Processor):
    """Keeps no state: the auction itself knows whether it was listed before."""

    stage = "auctions.items"
    reads = (ItemListed, ItemCancelled)
    from_clients = True

    def key(self, event: ItemListed | ItemCancelled) -> str:
        if not is_id(event.auction_id):
            raise BadRecord("BAD_ID", "auction_id")
        return event.auction_id

    def on_event(self, key: str, entity: None, event: ItemListed | ItemCancelled, context: Context) -> None:
        if isinstance(event, ItemCancelled):
            if len(event.reason) > MAX_REASON_CHARS:
                raise BadRecord("TOO_LONG", "reason")
            context.emit(topics.LOG, key, event)
            return
        check_item(event, context.clock)
        context.emit(topics.LOG, key, complete_item(event))


def check_item(item: ItemListed, clock: int) -> None:
    """BadRecord for an item that cannot be auctioned; `detail` names the field."""
    for name, most in _MAX_CHARS.items():
        if len(getattr(item, name)) > most:
            raise BadRecord("TOO_LONG", name)
    for name in ("item_id", "title", "category"):
        if not getattr(item, name).strip():
            raise BadRecord("EMPTY_FIELD", name)
    if not is_account_id(item.seller_id):
        raise BadRecord("BAD_ID", "seller_id")
    if len(item.tags) > MAX_TAGS or any(not 0 < len(tag.strip()) <= _MAX_TAG_CHARS for tag in item.tags):
        raise BadRecord("BAD_TAGS", "tags")
    if item.currency not in EXPONENTS:
        raise BadRecord("BAD_CURRENCY", "currency")
    start, reserve, buy_now = item.start_price, item.reserve, item.buy_now
    if not 0 < start <= MAX_MINOR:
        raise BadRecord("BAD_AMOUNT", "start_price")
    if reserve is not None and not start <= reserve <= MAX_MINOR:
        raise BadRecord("BAD_AMOUNT", "reserve is from start_price on")
    if buy_now is not None and not max(start, reserve or 0) <= buy_now <= MAX_MINOR:
        raise BadRecord("BAD_AMOUNT", "buy_now is from start_price and reserve on")
    wrong = None if item.increments is None else table_error(item.increments)
    if wrong is not None:
        raise BadRecord("BAD_INCREMENTS", wrong)
    if not 0 <= item.starts_at < item.ends_at <= item.starts_at + MAX_DURATION_MS:
        raise BadRecord("BAD_TIME", "ends_at is after starts_at, by 400 days at most")
    if item.ends_at <= clock:
        raise BadRecord("BAD_TIME", "ends_at has passed")
    if item.soft_close_ms is not None and not 0 < item.soft_close_ms <= MAX_SOFT_CLOSE_MS:
        raise BadRecord("BAD_TIME", "soft_close_ms")
    if item.max_extensions is not None:
        if item.soft_close_ms is None:
            raise BadRecord("BAD_TIME", "max_extensions without soft_close_ms")
        if not 0 <= item.max_extensions <= MAX_EXTENSIONS:
            raise BadRecord("BAD_TIME", "max_extensions")
    if item.geo is not None and not (-90 <= item.geo.lat <= 90 and -180 <= item.geo.lon <= 180):
        raise BadRecord("BAD_PLACE", "geo")
    wrong = None if item.address is None else address_error(item.address)
    if wrong is not None:
        raise BadRecord("BAD_ADDRESS", wrong)


def complete_item(item: ItemListed) -> ItemListed:
    """The item with all that it left open."""
    geo = item.geo
    return item._replace(
        title=item.title.strip(),
        category=item.category.strip(),
        tags=tuple(sorted({tag.strip().lower() for tag in item.tags})),
        increments=default_table(item.currency) if item.increments is None else item.increments,
        max_extensions=EXTENSIONS
        if item.soft_close_ms is not None and item.max_extensions is None
        else item.max_extensions,
        geo=None if geo is None else geo._replace(cell=cell_of(geo.lat, geo.lon)),
    )
