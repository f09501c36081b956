"""One library of Python as the client of `closestorm learn`, with its defaults:

    python client.py LIBRARY URL
"""

import asyncio
import sys

LIBRARY, URL = sys.argv[1:]


async def python_websockets():
    from websockets.asyncio.client import connect

    # How its documentation reconnects.
    async for websocket in connect(URL):
        try:
            async for _ in websocket:
                pass
        except Exception as error:  # noqa: BLE001
            print(error, flush=True)


async def gql():
    from gql import Client
    from gql import gql as parsed
    from gql.transport.websockets import WebsocketsTransport

    client = Client(transport=WebsocketsTransport(url=URL))
    session = await client.connect_async(reconnecting=True)
    while True:
        try:
            async for _ in session.subscribe(parsed("subscription { a }")):
                pass
        except Exception as error:  # noqa: BLE001
            print(repr(error), flush=True)
            # It reconnects when it is used and the connection is lost.
            await asyncio.sleep(0.01)


async def python_socketio():
    import socketio

    client = socketio.AsyncClient()
    await client.connect(URL.replace("ws:", "http:"), transports=["websocket"])
    # wait() returns at the end of a connection, also where it comes back.
    await asyncio.Event().wait()


asyncio.run({"python-websockets": python_websockets, "gql": gql, "python-socketio": python_socketio}[LIBRARY]())
