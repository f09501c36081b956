// A client of `ws` that does what `closestorm learn` asks for: waits for Retry-After, notices silence within four seconds (a ping each second, three
// without an answer), abandons an opening handshake after three, and stays away after 401 and 403.
'use strict';
const WebSocket = require('ws');
function connect() {
    const socket = new WebSocket(process.argv[2], { handshakeTimeout: 3000 });
    let missed = 0;
    let wait = 200 + Math.random() * 300;
    let away = false;
    const pings = setInterval(() => {
        if (socket.readyState !== WebSocket.OPEN) return;
        if (missed++ === 3) socket.terminate();
        else socket.ping();
    }, 1000);
    socket.on('pong', () => { missed = 0; });
    socket.on('unexpected-response', (request, response) => {
        const after = Number(response.headers['retry-after']);
        if (after) wait = after * 1000;
        away = [401, 403].includes(response.statusCode);
        request.destroy();
        socket.terminate();
    });
    socket.on('error', () => {});
    socket.on('close', () => {
        clearInterval(pings);
        if (!away) setTimeout(connect, wait);
    });
}
connect();
