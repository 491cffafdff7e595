"""Load on an inference URL: replay a trace, time the tokens, watch who scales, test the wake from zero.

One direction: ``trace``/``generate`` make the requests, ``replay`` sends them (``sse`` reads the
answers), ``replicas`` watches the cluster beside it, ``view`` shows the progress, ``report`` sums up.
``run`` and ``wake`` put these together, ``cli`` is the command line.
"""
