// A socket.io 4 server that tells everybody a number every 50 ms and drops half of its connections every 2 s: `node recovery.js PORT LOG on|off`, with
// or without connection state recovery. Its log has a line for each client that connects: what it says it has had, what was told by then, whether
// its state was recovered, and what it was sent again by that: what came after the packet that its offset names.
"use strict";
const fs = require("node:fs");
const http = require("node:http");
const { Server } = require("socket.io");
const [port, path, recovery] = [Number(process.argv[2]), process.argv[3], process.argv[4] === "on"];
const server = http.createServer();
const io = new Server(server, {
  pingInterval: 1000,
  pingTimeout: 2000,
  ...(recovery ? { connectionStateRecovery: { maxDisconnectionDuration: 60000 } } : {}),
});
let seq = 0;
setInterval(() => io.emit("news", { seq: ++seq }), 50);
io.on("connection", (socket) => {
  const { client, last } = socket.handshake.query;
  const { offset } = socket.handshake.auth;
  const packet = socket.recovered ? io.of("/").adapter.packets.find((packet) => packet.id === offset) : undefined;
  const again = packet ? seq - packet.data[1].seq : 0;
  const row = { joins: Number(client), last, published: seq, again, recovered: socket.recovered, id: socket.id };
  fs.appendFileSync(path, `${JSON.stringify(row)}\n`);
});
let drops = 0;
setInterval(() => {
  if (++drops > 3) return;
  // The socket beneath, so that nothing is said before.
  [...io.of("/").sockets.values()].filter((_, place) => place % 2 === 0).forEach((socket) => socket.conn.transport.socket.terminate());
}, 2000);
process.on("SIGTERM", () => process.exit(0));
server.listen(port, "127.0.0.1", 1024);
