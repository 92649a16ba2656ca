"""osken-manager with a web server, for the applications of os-ken that are asked by REST.

The server came with the applications and left os-ken with them; here it is started as the manager
of its own release did. Arguments are osken-manager's, with --wsapi-host and --wsapi-port.
"""

import functools

from os_ken.cmd import manager  # first of all: it makes the threads green
import eventlet.wsgi

# Today's eventlet lacks it; only websockets, which nobody asks for here, would use it.
eventlet.wsgi.ALREADY_HANDLED = object()

from os_ken.app import wsgi
from os_ken.base.app_manager import AppManager
from os_ken.lib import hub


def with_server(instantiate):
    """The applications' threads and the server's."""

    @functools.wraps(instantiate)
    def threads(self, *args, **kwargs):
        return instantiate(self, *args, **kwargs) + [hub.spawn(wsgi.start_service(self))]

    return threads


AppManager.instantiate_apps = with_server(AppManager.instantiate_apps)
manager.main()
