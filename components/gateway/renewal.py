"""A renewed certificate without a lost request: the gateway's container watches its files, and HAProxy takes them over.

cert-manager renews a certificate in its Secret, weeks before the old one ends, and the kubelet writes the Secret's new
contents into the volume of running pods (within its sync period, a minute or so). HAProxy reads its certificate at its
start only. In master-worker mode, which is how its image runs it, SIGUSR2 makes the master start a new worker with the
same sockets; the old worker finishes what it has and goes. Source: HAProxy 2.8, doc/management.txt, "Stopping and
restarting HAProxy".

HAProxy's `hard-stop-after` counts for the end of the pod and for a worker that was replaced alike. Here it is as long
as an answer may take, so that a renewal cuts none off, and the script gives what is in flight at the pod's end the
drain's time.
"""

from __future__ import annotations

from typing import Final

SCRIPT_FILE: Final = "start.sh"
"""Of the gateway's ConfigMap. Not an argument of the container: Kubernetes halves every `$$` of one."""

CHECK_SECONDS: Final = 5
"""How often the files are looked at; the kubelet takes longer to write them."""


def start_script(certificate_variable: str, drain_seconds: int) -> str:
    """A shell script that runs HAProxy, hands on what stops it, and watches the certificate.

    The shell stays above HAProxy's master: a master ends only when all its children have ended, and a watch below it
    never would. A certificate that does not fit its key, or that is half written, is left alone until it does: HAProxy
    goes on with the one it has.

    Args:
        certificate_variable: environment variable with the path of the certificate's chain; its key is beside it, with
            `.key` added.
        drain_seconds: what requests get when the gateway itself is replaced.
    """
    files = f'"${certificate_variable}" "${certificate_variable}.key"'
    return f"""\
# Arguments: those of haproxy.
digest() {{ cat {files} | cksum; }}
watch() {{
    loaded=$(digest)
    while sleep {CHECK_SECONDS}; do
        found=$(digest)
        if [ "$found" != "$loaded" ] && haproxy -c "$@" > /dev/null; then
            echo "The certificate has been renewed: a new worker takes over."
            kill -USR2 "$master" && loaded=$found
        fi
    done
}}
deadline() {{
    # In small steps: who ends this leaves no long sleep behind.
    left={drain_seconds}
    while [ "$left" -gt 0 ]; do
        sleep 1
        left=$((left - 1))
    done
    kill -TERM "$master"
}}
drain() {{
    kill -USR1 "$master"
    deadline &
    deadline=$!
}}
deadline=
trap drain USR1
trap 'kill -TERM "$master"' TERM
haproxy -W -db "$@" &
master=$!
watch "$@" &
watch=$!
wait "$master"
status=$?
# A signal ends a wait before its time; a shell that has told the status already says 127.
while [ "$status" -gt 128 ]; do
    wait "$master"
    again=$?
    [ "$again" -eq 127 ] && break
    status=$again
    kill -0 "$master" 2> /dev/null || break
done
kill "$watch" $deadline
exit "$status"
"""
