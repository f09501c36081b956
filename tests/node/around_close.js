// A client of `ws` that sends all the time, also once behind its Close frame, ends TCP 400 ms after that, and answers only the latest of several pings.
'use strict';
const WebSocket = require('ws');
// A text frame, masked by zeros, and the Close frame of a server with 1001.
const late = Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x78]);
const close = Buffer.from([0x88, 2, 0x03, 0xe9]);
function connect() {
    const socket = new WebSocket(process.argv[2], { autoPong: false });
    let latest = null;
    const ticks = setInterval(() => socket.readyState === WebSocket.OPEN && socket.send('tick'), 50);
    socket.on('open', () => {
        const raw = socket._socket;
        // The library ends its side at once.
        const end = raw.end.bind(raw);
        raw.end = () => setTimeout(end, 400);
        // Heard behind the library, which has answered.
        raw.on('data', chunk => chunk.includes(close) && raw.write(late));
    });
    socket.on('ping', data => {
        if (latest === null) setTimeout(() => {
            if (socket.readyState === WebSocket.OPEN) socket.pong(latest);
            latest = null;
        }, 20);
        latest = data;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
        clearInterval(ticks);
        setTimeout(connect, 100);
    });
}
connect();
