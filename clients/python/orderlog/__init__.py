"""A client of orderlog.

`client` sends commands and asks queries, again where that is safe. `errors` reads what an error
says beside its code. `connection` knows TLS and tokens. `subscriber` follows the log and loses no
event and repeats none. `money` turns amounts into decimals and back. The messages are those of the
contract, in `orders.v1`, made by `generate.py`.
"""

from orderlog.client import Orderlog
from orderlog.errors import OrderlogError
from orderlog.subscriber import SqliteStore, Store, follow

__all__ = ["Orderlog", "OrderlogError", "SqliteStore", "Store", "follow"]
