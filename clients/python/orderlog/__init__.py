"""A client of orderlog.

- `client` sends commands and queries, and retries them when a retry is safe.
- `errors` reads the details of an error.
- `connection` sets up TLS and tokens.
- `subscriber` follows the log, and applies each event exactly once.
- `money` converts amounts to decimals and back.
- `orders.v1` holds the messages of the contract, which `generate.py` generates.
"""

from orderlog.client import Orderlog
from orderlog.errors import HistoryError, OrderlogError
from orderlog.subscriber import SqliteStore, Store, follow

__all__ = ["HistoryError", "Orderlog", "OrderlogError", "SqliteStore", "Store", "follow"]
