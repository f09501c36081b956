// A chat server whose rooms count their messages, with a log of its own: `node chat.js PORT LOG BUFFER`. The log has what was published in which room, and
// for each client that joins what it says it has had, what was published by then, and what of it is sent again: at most BUFFER messages of this process.
"use strict";
const fs = require("node:fs");
const { WebSocketServer } = require("ws");
const [port, path, buffer] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])];
const rooms = new Map(["0", "1", "2", "3"].map((name) => [name, { name, seq: 0, recent: [], members: new Set() }]));
const log = (row) => fs.appendFileSync(path, `${JSON.stringify(row)}\n`);
if (fs.existsSync(path)) {
  for (const line of fs.readFileSync(path, "utf8").split("\n").filter(Boolean)) {
    const row = JSON.parse(line);
    if (row.seq) rooms.get(row.room).seq = row.seq;
  }
}
const publish = (room) => {
  room.seq += 1;
  log({ room: room.name, seq: room.seq });
  const message = { type: "message", room: room.name, seq: room.seq };
  room.recent.push(message);
  if (room.recent.length > buffer) room.recent.shift();
  for (const socket of room.members) socket.send(JSON.stringify(message));
};
setInterval(() => rooms.forEach(publish), 50);
const server = new WebSocketServer({ port, host: "127.0.0.1" });
server.on("connection", (socket) => {
  socket.on("error", () => {});
  socket.on("message", (text) => {
    const { client, room: name, last } = JSON.parse(text);
    const room = rooms.get(name);
    const again = last === "" ? [] : room.recent.filter((message) => message.seq > Number(last));
    log({ joins: client, room: name, last, published: room.seq, again: again.length });
    socket.send(JSON.stringify({ type: "joined" }));
    for (const message of again) socket.send(JSON.stringify({ ...message, replay: true }));
    room.members.add(socket);
    socket.on("close", () => room.members.delete(socket));
  });
});
process.on("SIGTERM", () => process.exit(0));
