"""Toxiproxy's client of PyPI, unchanged, against a control API: arguments are its port and that of an upstream that echoes."""

import socket
import sys
import time

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

API, UPSTREAM = int(sys.argv[1]), "127.0.0.1:" + sys.argv[2]


def echo(listen, text):
    """What comes back, and after how many seconds."""
    host, _, port = listen.rpartition(":")
    begun = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=20) as stream:
        stream.sendall(text)
        return stream.recv(100), time.monotonic() - begun


def raises(what, call):
    try:
        call()
    except what:
        return
    raise AssertionError(what)


server = Toxiproxy()
server.update_api_consumer("127.0.0.1", API)
assert server.running() and b"2.12.0" in server.version()
proxy = server.create(name="python", upstream=UPSTREAM)
assert (proxy.name, proxy.upstream, proxy.enabled) == ("python", UPSTREAM, True)
assert echo(proxy.listen, b"hello")[0] == b"hello"
raises(ProxyExists, lambda: server.create(name="python", upstream=UPSTREAM))

proxy.add_toxic(type="latency", attributes={"latency": 300})
assert proxy.toxics().keys() == {"latency_downstream"} and proxy.get_toxic("latency_downstream").attributes == {"latency": 300, "jitter": 0}
assert echo(proxy.listen, b"late")[1] >= 0.299
raises(ProxyExists, lambda: proxy.add_toxic(type="latency"))
raises(InvalidToxic, lambda: proxy.add_toxic(type="missing"))
assert proxy.destroy_toxic("latency_downstream")
raises(NotFound, lambda: proxy.destroy_toxic("latency_downstream"))
assert echo(proxy.listen, b"soon")[1] < 0.299

proxy.add_toxic(type="limit_data", name="few", attributes={"bytes": 3})
assert echo(proxy.listen, b"hello")[0] == b"hel"
with proxy.down():
    raises(ConnectionRefusedError, lambda: echo(proxy.listen, b"x"))
assert echo(proxy.listen, b"hello")[0] == b"hel"
server.reset()
assert echo(proxy.listen, b"hello")[0] == b"hello" and proxy.toxics() == {}

server.populate([{"name": "a", "listen": "127.0.0.1:0", "upstream": UPSTREAM}, {"name": "b", "listen": "127.0.0.1:0", "upstream": UPSTREAM}])
assert server.proxies().keys() == {"a", "b", "python"}
server.destroy_all()
assert server.proxies() == {}
print("ok")
