// A WebSocket client of `ws` that tells what its user sees, a JSON line for each thing: it opens connections to one URL as it is told.
//
//   node served.js URL [ca.pem]
//
// {"open": "a"} opens a connection, {"send": "a", "text": "…"} sends on it. Told: open, message, close with code and reason. With wss the first
// connection also tells the SHA-256 of the certificate that it sees. It ends when stdin does.
'use strict';
const fs = require('node:fs');
const readline = require('node:readline');
const WebSocket = require('ws');
const [url, ca] = process.argv.slice(2);
const options = ca ? { ca: fs.readFileSync(ca) } : {};
const sockets = new Map();
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

function open(id) {
    const socket = new WebSocket(url, options);
    sockets.set(id, socket);
    socket.on('upgrade', (response) => {
        const certificate = response.socket.getPeerCertificate?.();
        if (certificate?.fingerprint256) say({ id, told: 'certificate', text: certificate.fingerprint256 });
    });
    socket.on('open', () => say({ id, told: 'open' }));
    socket.on('message', (data) => say({ id, told: 'message', text: String(data) }));
    socket.on('error', () => {});
    socket.on('close', (code, reason) => say({ id, told: 'close', code, text: String(reason) }));
}

readline
    .createInterface({ input: process.stdin })
    .on('line', (line) => {
        const asked = JSON.parse(line);
        if (asked.open) open(asked.open);
        if (asked.send) sockets.get(asked.send).send(asked.text);
    })
    .on('close', () => process.exit(0));
