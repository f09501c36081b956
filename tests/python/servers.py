"""A foreign server that echoes, and says what its library tells its user: a JSON line on stdout for each thing told.

    python servers.py websockets|aiohttp

?close=1500     closes with 1000 "done" so many ms after the opening handshake
?watched=5000   says "over" so many ms after it: what is told later is not of interest
?keepalive=1    the library pings within two seconds, and waits one for the pong and for the end of TCP

The first line says which versions these are and on which port it listens. It ends when stdin does.
"""

import asyncio
import logging
import os
import sys
from urllib.parse import parse_qs, urlsplit

import aiohttp
import websockets
from aiohttp import web
from clients import KEEPALIVE_S, LIBRARY, say, words

# What is wrong with a request goes to the log only.
logging.disable(logging.CRITICAL)
TASKS = set()


def later(ms, what):
    async def run():
        await asyncio.sleep(ms / 1000)
        await what()

    task = asyncio.create_task(run())
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)
    return task


def asked(path):
    return {key: int(values[0]) for key, values in parse_qs(urlsplit(path).query).items()}


async def over(id):
    say({"id": id, "told": "over"})


def heard(id, message):
    if isinstance(message, str) and message.startswith("early"):
        say({"id": id, "told": "message", "text": message})


def keepalive_websockets(socket, request):
    if "keepalive" in asked(request.path):
        socket.ping_interval = socket.ping_timeout = socket.close_timeout = KEEPALIVE_S


async def serve_websockets(socket):
    id, query = socket.request.headers.get("Closestorm-Id"), asked(socket.request.path)
    if "close" in query:
        later(query["close"], lambda: socket.close(1000, "done"))
    later(query.get("watched", 0), lambda: over(id))
    try:
        while True:
            message = await socket.recv()
            heard(id, message)
            await socket.send(message)
    except websockets.ConnectionClosed as closed:
        clean = isinstance(closed, websockets.ConnectionClosedOK)
        say({"id": id, "told": "exception", "text": words(closed)})
        say({"id": id, "told": "end", "code": socket.close_code, "text": socket.close_reason, "clean": clean})


async def serve_aiohttp(request):
    id, query = request.headers.get("Closestorm-Id"), asked(str(request.rel_url))
    socket = web.WebSocketResponse(heartbeat=2 * KEEPALIVE_S if "keepalive" in query else None)
    await socket.prepare(request)
    closing = later(query["close"], lambda: socket.close(code=1000, message=b"done")) if "close" in query else None
    later(query.get("watched", 0), lambda: over(id))
    while True:
        message = await socket.receive()
        if message.type == aiohttp.WSMsgType.TEXT:
            heard(id, message.data)
            await socket.send_str(message.data)
        elif message.type == aiohttp.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        else:
            if message.type == aiohttp.WSMsgType.ERROR:
                say({"id": id, "told": "ERROR", "text": words(message.data)})
            elif message.type == aiohttp.WSMsgType.CLOSE:
                say({"id": id, "told": "CLOSE", "text": f"{message.data} {message.extra or ''}".strip()})
            else:
                say({"id": id, "told": message.type.name})
            if message.type == aiohttp.WSMsgType.CLOSING:
                # It would end TCP as soon as this handler returns.
                await closing
            say({"id": id, "told": "end", "code": socket.close_code})
            return socket


async def main():
    if LIBRARY == "websockets":
        server = await websockets.serve(serve_websockets, "127.0.0.1", 0, process_request=keepalive_websockets)
        port, version = server.sockets[0].getsockname()[1], websockets.version.version
    else:
        app = web.Application()
        app.router.add_route("*", "/", serve_aiohttp)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port, version = site._server.sockets[0].getsockname()[1], aiohttp.__version__
    say({"versions": {LIBRARY: version}, "port": port})
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.new_event_loop().run_until_complete(main())
sys.stdout.flush()
os._exit(0)
