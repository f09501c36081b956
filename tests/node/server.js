// An echo server on `ws`, for ws and wss, that closes connections as their URL asks, and prints what its close event reported, a JSON line each.
//
//   node server.js PORT [CERTIFICATE KEY] [--handshake-ms MS] [--login-ms MS]     with a certificate: wss
//
// --handshake-ms   busy work in each opening handshake, as a server has that checks a token: it blocks the one thread of Node
// --login-ms       the same for each HTTP request, which is answered with 204
//
// ?code=1001&reason=Going%20away   sends a Close frame    &after=500   so many ms after the opening handshake, default 300
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const { parseArgs } = require('node:util');
const { WebSocketServer } = require('ws');

const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'handshake-ms': { type: 'string', default: '0' }, 'login-ms': { type: 'string', default: '0' } } });
const [port, certificate, key] = positionals;
const handshake = Number(values['handshake-ms']);
const login = Number(values['login-ms']);
const server = certificate
    ? https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) })
    : http.createServer();

function work(ms) {
    for (const until = performance.now() + ms; performance.now() < until;);
}

function verifyClient() {
    work(handshake);
    return true;
}

server.on('request', (request, response) => {
    work(login);
    response.writeHead(204).end();
});

new WebSocketServer({ server, verifyClient }).on('connection', (ws, request) => {
    const asked = new URL(request.url, 'ws://localhost').searchParams;
    const id = request.headers['closestorm-id'] ?? null;
    let error = null;
    ws.on('message', (message, binary) => ws.send(message, { binary }));
    ws.on('error', (what) => { error = what.code ?? what.message; });
    ws.on('close', (code, reason) => console.log(JSON.stringify({ id, code, reason: reason.toString(), error })));
    if (asked.has('code')) {
        setTimeout(() => ws.close(Number(asked.get('code')), asked.get('reason') ?? ''), Number(asked.get('after') ?? 300));
    }
});

server.listen(Number(port), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
