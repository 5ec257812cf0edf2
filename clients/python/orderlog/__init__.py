"""A client of orderlog.

- `client` sends commands and queries, and retries them when a retry is safe.
- `errors` reads the details of an error.
- `connection` sets up TLS and tokens.
- `subscriber` follows the log, and applies each event exactly once.
- `money` converts amounts to decimals and back.
- `bulk` executes many commands over one stream.
- `streams` reads streams across breaks.
- `sync` has the same calls without `await`.
- `orders.v1` holds the messages of the contract.
"""

from orderlog.client import Orderlog
from orderlog.errors import HistoryError, OrderlogError
from orderlog.subscriber import SqliteStore, Store, follow

__all__ = ["HistoryError", "Orderlog", "OrderlogError", "SqliteStore", "Store", "follow"]
