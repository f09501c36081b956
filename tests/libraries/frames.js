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

module.exports = { acceptOf, frame, unframe };
