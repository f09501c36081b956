// A small chat server on `ws`, whose repository tests/ci/pull-request.sh makes: what a team would run closestorm on.
//
//   node server.js PORT
'use strict';
const http = require('node:http');
const { WebSocketServer } = require('ws');

/** Asking who a token belongs to takes this long. */
const LOOKUP_MS = 100;

const chat = new WebSocketServer({ noServer: true });
const server = http.createServer();
server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    setTimeout(() => chat.handleUpgrade(request, socket, head, (client) => client.on('error', () => {})), LOOKUP_MS);
});

// A deploy: everybody is told, and the process ends when all of them are gone.
process.on('SIGTERM', () => {
    server.close(() => process.exit(0));
    for (const client of chat.clients) {
        client.close(1001, 'deploy');
    }
});

server.listen(Number(process.argv[2]), '127.0.0.1');
