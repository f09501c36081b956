// The server of a library's protocol for `closestorm learn --upstream`, at a free port, which is printed: it makes the library ready and then says
// what it must.
//
//   node double.js LIBRARY
const net = require('node:net');
const { acceptOf, frame, unframe } = require('./frames.js');
const speaks = require('./servers.js')[process.argv[2]] ?? {};

function said(socket, { opcode, payload }) {
  if (opcode === 8) socket.end(frame(payload, 8));
  else if (opcode === 9) socket.write(frame(payload, 10));
  else speaks.message?.(socket, payload, frame);
}

function opened(socket, key, protocol) {
  const chosen = protocol && !speaks.ignoresProtocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : '';
  const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
  socket.write(`${head}Sec-WebSocket-Accept: ${acceptOf(key)}\r\n${chosen}\r\n`);
  speaks.open?.(socket, frame);
}

const server = net.createServer(socket => {
  let bytes = Buffer.alloc(0);
  let up = false;
  socket.on('error', () => {});
  socket.on('data', chunk => {
    bytes = Buffer.concat([bytes, chunk]);
    const end = bytes.indexOf('\r\n\r\n');
    if (!up && end >= 0) {
      const request = bytes.subarray(0, end).toString();
      bytes = bytes.subarray(end + 4);
      const [, key] = /sec-websocket-key: *(\S+)/i.exec(request) ?? [];
      const [, protocol] = /sec-websocket-protocol: *([^,\r\n]+)/i.exec(request) ?? [];
      if (!key) return speaks.request ? speaks.request(socket, request) : socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
      up = true;
      opened(socket, key, protocol);
    }
    if (!up) return;
    const [frames, rest] = unframe(bytes);
    bytes = rest;
    frames.forEach(one => said(socket, one));
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
// It ends with whoever started it.
process.stdin.resume().on('end', () => process.exit(0));
