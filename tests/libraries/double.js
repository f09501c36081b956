// The server of a library's protocol for `closestorm learn --upstream`, at a free port, which is printed: it makes the library ready and then says
// what it must.
//
//   node double.js LIBRARY
const net = require('node:net');
const { answer, follow, frame } = require('./frames.js');
const speaks = require('./servers.js')[process.argv[2]] ?? {};

const server = net.createServer(socket => {
  follow(socket, speaks, () => speaks.open?.(socket, frame), frames => answer(socket, speaks, frames));
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
// It ends with whoever started it.
process.stdin.resume().on('end', () => process.exit(0));
