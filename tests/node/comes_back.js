// A client of `ws` with a reconnect loop as people write it: full jitter on 130 ms × 1.7^n, at most 1.7 s, anew after an open connection; stays
// away after 1008 and 4401.
'use strict';
const WebSocket = require('ws');
let failed = 0;
function connect() {
    const socket = new WebSocket(process.argv[2]);
    socket.on('open', () => { failed = 0; });
    socket.on('error', () => {});
    socket.on('close', (code) => {
        if (code === 1008 || code === 4401) return;
        setTimeout(connect, Math.random() * Math.min(1700, 130 * 1.7 ** failed));
        failed += 1;
    });
}
connect();
