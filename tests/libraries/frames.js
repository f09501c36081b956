// As much of RFC 6455 as small servers need.
const crypto = require('node:crypto');

/** A frame of a server: FIN, opcode, unmasked, below 64 KiB. */
function frame(payload, opcode = 1) {
  const body = Buffer.from(payload);
  const head = body.length < 126 ? [0x80 | opcode, body.length] : [0x80 | opcode, 126, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from(head), body]);
}

/** The whole frames of a client at the head of `bytes`, and what is left. */
function unframe(bytes) {
  const frames = [];
  for (;;) {
    if (bytes.length < 6) return [frames, bytes];
    const short = bytes[1] & 127;
    const [at, length] = short < 126 ? [2, short] : short === 126 ? [4, bytes.readUInt16BE(2)] : [10, Number(bytes.readBigUInt64BE(2))];
    if (bytes.length < at + 4 + length) return [frames, bytes];
    const mask = bytes.subarray(at, at + 4);
    const payload = Buffer.from(bytes.subarray(at + 4, at + 4 + length)).map((byte, index) => byte ^ mask[index & 3]);
    frames.push({ opcode: bytes[0] & 15, payload });
    bytes = bytes.subarray(at + 4 + length);
  }
}

/** Sec-WebSocket-Accept for a key. */
const acceptOf = key => crypto.createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

/** Answers the opening handshake that comes out of `socket` as the server of a library (an entry of servers.js) does, and hands on what follows. */
function follow(socket, speaks, opened, heard) {
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
      const chosen = protocol && !speaks.ignoresProtocol ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : '';
      const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
      socket.write(`${head}Sec-WebSocket-Accept: ${acceptOf(key)}\r\n${chosen}\r\n`);
      opened();
    }
    if (!up) return;
    const [frames, rest] = unframe(bytes);
    bytes = rest;
    heard(frames);
  });
}

/** Answers frames as that server does. */
function answer(socket, speaks, frames) {
  for (const { opcode, payload } of frames) {
    if (opcode === 8) socket.end(frame(payload, 8));
    else if (opcode === 9) socket.write(frame(payload, 10));
    else speaks.message?.(socket, payload, frame);
  }
}

module.exports = { answer, follow, frame };
