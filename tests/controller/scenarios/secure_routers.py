"""Security groups where routers join networks."""

from routers import Routers
from security import Security


class SecureRouters(Security, Routers):
    """Intent: that of both."""

    NEXT, ROUTE, NEIGHBOUR, DELIVER, LEAVE = 10, 11, 12, 15, 30
