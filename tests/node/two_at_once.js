// A client of `ws` that has two connections, each of which comes back after 150 ms, and looks by a plain GET before each attempt, as clients that negotiate do.
'use strict';
const http = require('http');
const WebSocket = require('ws');
const url = process.argv[2];
function connect() {
    http.get(url.replace('ws:', 'http:'), { agent: false }, response => {
        response.resume();
        const socket = new WebSocket(url);
        socket.on('error', () => {});
        socket.on('close', () => setTimeout(connect, 150));
    }).on('error', () => setTimeout(connect, 150));
}
connect();
setTimeout(connect, 50);
