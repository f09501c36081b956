// Foreign clients: each opens a connection, may close it, and prints what its close event reported, a JSON line each, in the order given.
//
//   node --experimental-websocket client.js '[{"library": "ws", "url": "ws://…", "id": "0/9", "code": 1000, "reason": "…"}]'
//
// library: `ws` (the package), or `browser` (the WebSocket of browsers, built into Node). `id` is sent as Closestorm-Id, `ws` only.
// With `code` the client closes once it is open and its echo has come; without, it waits for the server.
'use strict';
const WS = require('ws');

function open({ library, url, id }) {
    if (library === 'browser') return new WebSocket(url);
    return new WS(url, { headers: id ? { 'Closestorm-Id': id } : {} });
}

function live(job) {
    return new Promise((resolve) => {
        const socket = open(job);
        let opened = false;
        // As in the page: say hello, close, look at the event. Waiting for the echo shows that the server serves strangers.
        socket.onopen = () => { opened = true; if (job.code !== undefined) socket.send('Hello, server!'); };
        socket.onmessage = (event) => { if (event.data === 'Hello, server!') socket.close(job.code, job.reason); };
        socket.onerror = () => {};
        socket.onclose = (event) => resolve({ opened, code: event.code, reason: event.reason, clean: event.wasClean });
    });
}

Promise.all(JSON.parse(process.argv[2]).map(live)).then((events) => {
    events.forEach((event) => console.log(JSON.stringify(event)));
});
