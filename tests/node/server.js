// An echo server on `ws` that ends connections as their URL asks, and prints what its close event reported, a JSON line each.
//
//   node server.js PORT [CERTIFICATE KEY] [--handshake-ms MS]     with a certificate: wss
//
// --handshake-ms   busy work in each opening handshake, as a server has that checks a token: it blocks the one thread of Node
//
// ?code=1001&reason=Going%20away   sends a Close frame    ?end=fin, ?end=rst   ends TCP without one    &after=500   ms, default 300
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { parseArgs } = require('node:util');
const { WebSocketServer } = require('ws');

const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'handshake-ms': { type: 'string', default: '0' } } });
const [port, certificate, key] = positionals;
const handshake = Number(values['handshake-ms']);
const server = certificate
    ? https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) })
    : http.createServer();

function end(ws, asked) {
    if (asked.has('code')) {
        ws.close(Number(asked.get('code')), asked.get('reason') ?? '');
    } else if (asked.get('end') === 'fin') {
        ws._socket.end();
    } else if (asked.get('end') === 'rst') {
        ws._socket.resetAndDestroy();
    }
}

function verifyClient() {
    for (const until = performance.now() + handshake; performance.now() < until;);
    return true;
}

new WebSocketServer({ server, verifyClient }).on('connection', (ws, request) => {
    const asked = new URL(request.url, 'ws://localhost').searchParams;
    const id = request.headers['closestorm-id'] ?? null;
    let error = null;
    ws.on('message', (message, binary) => ws.send(message, { binary }));
    ws.on('error', (what) => { error = what.code ?? what.message; });
    ws.on('close', (code, reason) => console.log(JSON.stringify({ id, code, reason: reason.toString(), error })));
    if (asked.has('code') || asked.has('end')) {
        setTimeout(end, Number(asked.get('after') ?? 300), ws, asked);
    }
});

server.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
