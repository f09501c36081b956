"""The actions and probes of chaostoolkit-toxiproxy, unchanged, against a control API: arguments are its port and that of an upstream that echoes."""

import socket
import sys
import time

from chaostoxi.proxy import actions as proxies
from chaostoxi.proxy.probes import proxy_exist
from chaostoxi.toxic import actions as toxics

SETTINGS = {"toxiproxy_url": "http://127.0.0.1:" + sys.argv[1]}


def echo(text):
    """What comes back until the other side ends or says as much, and after how many seconds."""
    begun, got = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", int(SETTINGS["chaos_PORT"])), timeout=20) as stream:
        stream.sendall(text)
        while len(got) < len(text):
            more = stream.recv(1 << 16)
            if not more:
                break
            got += more
    return got, time.monotonic() - begun


def toxic(create, name, **attributes):
    """With this toxic alone."""
    assert create("chaos", name, configuration=SETTINGS, **attributes)


assert not proxy_exist("chaos", SETTINGS)
assert proxies.create_proxy("chaos", "127.0.0.1", int(sys.argv[2]), listen_host="127.0.0.1", configuration=SETTINGS)
assert proxy_exist("chaos", SETTINGS)
assert echo(b"hello")[0] == b"hello"

toxic(toxics.create_latency_toxic, "late", latency=300)
assert echo(b"late")[1] >= 0.299
assert toxics.delete_toxic("chaos", "late", SETTINGS)
assert not toxics.delete_toxic("chaos", "late", SETTINGS)
toxic(toxics.create_bandwith_degradation_toxic, "slow", rate=50)
assert echo(b"x" * 20_000)[1] >= 0.3
assert proxies.reset(SETTINGS)
toxic(toxics.create_slicer_toxic, "pieces", average_size=2, size_variation=1, delay=100)
assert echo(b"in pieces")[0] == b"in pieces"
assert proxies.reset(SETTINGS)
toxic(toxics.create_limiter_toxic, "few", bytes_limit=3)
assert echo(b"hello")[0] == b"hel"
assert proxies.reset(SETTINGS)
toxic(toxics.create_timeout_toxic, "lost", timeout=200)
got, seconds = echo(b"lost")
assert got == b"" and seconds >= 0.199
assert proxies.reset(SETTINGS)
toxic(toxics.create_slow_connection_close_toxic, "lingering", delay=200)
assert toxics.create_toxic("chaos", "cut", "reset_peer", attributes={"timeout": 0}, configuration=SETTINGS)
try:
    echo(b"x")
    raise AssertionError("it was reset")
except ConnectionResetError:
    pass
assert proxies.reset(SETTINGS)

assert proxies.disable_proxy("chaos", SETTINGS)
try:
    echo(b"x")
    raise AssertionError("nobody listens")
except ConnectionRefusedError:
    pass
assert proxies.enable_proxy("chaos", SETTINGS)
assert echo(b"again")[0] == b"again"
proxies.delete_proxy("chaos", SETTINGS)
assert not proxy_exist("chaos", SETTINGS)
print("ok")
