// Foreign clients, steered by JSON lines on stdin; what each library tells its user goes to stdout, a JSON line for each thing told.
//
//   node clients.js ws|browser      the package, or the WebSocket of browsers that is built into Node
//
// {"open": "7/1", "url": "ws://…"}   opens a connection that says who it is in Closestorm-Id
// {"close": "7/1"}                   closes it with 1000 "done"
// {"send": "7/1"}                    sends a message on it, and says so
//
// The first line says which versions these are. It ends when stdin does.
'use strict';
const readline = require('node:readline');
const WS = require('ws');

const library = process.argv[2];
const sockets = new Map();
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

// What an error event says; where it has only the kernel's word, that word. Addresses and ports differ from run to run.
function words(event) {
    const error = event.error;
    const text = event.message || error?.message || error?.code || 'no text';
    return text.replace(/ ?127\.0\.0\.1:\d+/, '');
}

function open(id, url) {
    const options = { headers: { 'Closestorm-Id': id } };
    const socket = library === 'ws' ? new WS(url, options) : new WebSocket(url, options);
    sockets.set(id, socket);
    socket.onopen = () => say({ id, told: 'open' });
    socket.onmessage = () => {};
    socket.onerror = (event) => say({ id, told: 'error', text: words(event) });
    socket.onclose = (event) => say({ id, told: 'close', code: event.code, text: event.reason, clean: event.wasClean });
}

say({ versions: library === 'ws' ? { ws: require('ws/package.json').version } : { node: process.versions.node } });
readline
    .createInterface({ input: process.stdin })
    .on('line', (line) => {
        const asked = JSON.parse(line);
        if (asked.open) open(asked.open, asked.url);
        if (asked.send) {
            sockets.get(asked.send).send('unread');
            say({ id: asked.send, told: 'sent' });
        }
        if (asked.close) sockets.get(asked.close).close(1000, 'done');
    })
    .on('close', () => process.exit(0));
