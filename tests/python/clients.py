"""Foreign clients, steered by JSON lines on stdin; what each library tells its user goes to stdout, a JSON line for each thing told.

    python clients.py websockets|aiohttp

{"open": "7/1", "url": "ws://…", "keepalive": false}   opens a connection that says who it is in Closestorm-Id
{"close": "7/1"}                                       closes it with 1000 "done"
{"send": "7/1"}                                        sends a message on it, and says so

With keepalive the library pings within two seconds, and waits one for the pong and for the end of TCP; without, it does what it does by itself. The
first line says which versions these are. It ends when stdin does.
"""

import asyncio
import json
import os
import re
import ssl
import sys

import aiohttp
import websockets

LIBRARY = sys.argv[1]
# aiohttp waits for the pong half as long as its heartbeat.
KEEPALIVE_S = 1
# aiohttp quotes whole messages of the peer.
TEXT_MAX = 120
SOCKETS = {}
# The certificate of the embedded server is made for the run.
UNCHECKED = ssl._create_unverified_context()


def say(line):
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def words(error):
    """What an exception says, without addresses, ports and object addresses, which differ from run to run."""
    text = re.sub(r"\('127\.0\.0\.1', \d+\)", "", str(error))
    text = re.sub(r"wss?://127\.0\.0\.1:\d+/?", "ws://…", re.sub(r"127\.0\.0\.1:\d+", "…", text))
    text = text.replace("wss://…", "ws://…")
    text = re.sub(r"<ssl\.SSLContext object at \w+>", "default", text.split("\n")[0].strip())
    return f"{type(error).__name__}: {text[:TEXT_MAX] + '…' if len(text) > TEXT_MAX else text}".removesuffix(": ")


async def live(id, url, keepalive):
    try:
        await (live_websockets if LIBRARY == "websockets" else live_aiohttp)(id, url, keepalive)
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        say({"id": id, "told": "exception", "text": words(error)})


async def live_websockets(id, url, keepalive):
    beat = {"ping_interval": KEEPALIVE_S, "ping_timeout": KEEPALIVE_S, "close_timeout": KEEPALIVE_S} if keepalive else {}
    async with websockets.connect(url, ssl=UNCHECKED if url.startswith("wss") else None, proxy=None, additional_headers={"Closestorm-Id": id}, **beat) as socket:
        SOCKETS[id] = socket
        say({"id": id, "told": "open"})
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed as closed:
            clean = isinstance(closed, websockets.ConnectionClosedOK)
            say({"id": id, "told": "exception", "text": words(closed)})
            say({"id": id, "told": "end", "code": socket.close_code, "text": socket.close_reason, "clean": clean})


async def live_aiohttp(id, url, keepalive):
    beat = {"heartbeat": 2 * KEEPALIVE_S} if keepalive else {}
    async with aiohttp.ClientSession(headers={"Closestorm-Id": id}) as session:
        async with session.ws_connect(url, ssl=UNCHECKED if url.startswith("wss") else True, **beat) as socket:
            SOCKETS[id] = socket
            say({"id": id, "told": "open"})
            while True:
                message = await socket.receive()
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    continue
                if message.type == aiohttp.WSMsgType.ERROR:
                    say({"id": id, "told": "ERROR", "text": words(message.data)})
                elif message.type == aiohttp.WSMsgType.CLOSE:
                    say({"id": id, "told": "CLOSE", "text": f"{message.data} {message.extra or ''}".strip()})
                elif message.type == aiohttp.WSMsgType.CLOSED:
                    say({"id": id, "told": "CLOSED"})
                if socket.closed:
                    say({"id": id, "told": "end", "code": socket.close_code})
                    return


async def close(id):
    socket = SOCKETS[id]
    if LIBRARY == "websockets":
        await socket.close(1000, "done")
    else:
        await socket.close(code=1000, message=b"done")


async def send(id):
    socket = SOCKETS[id]
    await (socket.send("unread") if LIBRARY == "websockets" else socket.send_str("unread"))
    say({"id": id, "told": "sent"})


async def main():
    package = websockets if LIBRARY == "websockets" else aiohttp
    say({"versions": {LIBRARY: package.version.version if LIBRARY == "websockets" else package.__version__}})
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = []
    while line := await reader.readline():
        asked = json.loads(line)
        if "open" in asked:
            tasks.append(asyncio.create_task(live(asked["open"], asked["url"], asked["keepalive"])))
        if "send" in asked:
            tasks.append(asyncio.create_task(send(asked["send"])))
        if "close" in asked:
            tasks.append(asyncio.create_task(close(asked["close"])))


if __name__ == "__main__":
    asyncio.new_event_loop().run_until_complete(main())
    # Whatever is still open goes with the process: closing it properly may take as long as a library's deadlines.
    sys.stdout.flush()
    os._exit(0)
