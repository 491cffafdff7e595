"""Start-up probe of an engine: waits until GET http://$POD_IP:PORT/health answers 200, at most SECONDS.

It runs inside the engine's container, from its command line: standard library only, no imports of ours.
"""

import http.client
import os
import sys
import time

port, seconds = int(sys.argv[1]), float(sys.argv[2])
deadline = time.monotonic() + seconds
while True:
    connection = http.client.HTTPConnection(os.environ["POD_IP"], port, timeout=2)
    try:
        connection.request("GET", "/health")
        if connection.getresponse().status == 200:  # noqa: PLR2004
            sys.exit(0)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    if time.monotonic() > deadline:
        sys.exit(1)
    time.sleep(0.05)
