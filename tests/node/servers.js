// A foreign server that echoes, and says what its library tells its user: a JSON line on stdout for each thing told.
//
//   node servers.js ws
//
// ?close=1500     closes with 1000 "done" so many ms after the opening handshake
// ?watched=5000   says "over" so many ms after it: what is told later is not of interest
//
// The first line says which versions these are and on which port it listens. It ends when stdin does.
'use strict';
const { WebSocketServer } = require('ws');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });

server.on('connection', (socket, request) => {
    const id = request.headers['closestorm-id'];
    const asked = new URL(request.url, 'ws://localhost').searchParams;
    socket.on('message', (message, binary) => {
        if (message.toString().startsWith('early')) say({ id, told: 'message', text: message.toString() });
        socket.send(message, { binary });
    });
    socket.onerror = (event) => say({ id, told: 'error', text: event.message });
    socket.onclose = (event) => say({ id, told: 'close', code: event.code, text: event.reason, clean: event.wasClean });
    if (asked.has('close')) setTimeout(() => socket.close(1000, 'done'), Number(asked.get('close')));
    setTimeout(() => say({ id, told: 'over' }), Number(asked.get('watched')));
});
server.on('listening', () => say({ versions: { ws: require('ws/package.json').version }, port: server.address().port }));
process.stdin.on('end', () => process.exit(0)).resume();
