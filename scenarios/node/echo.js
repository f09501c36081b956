// A `ws` server that answers each message with itself.
const { WebSocketServer } = require('ws');

new WebSocketServer({ port: Number(process.argv[2]) }).on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
