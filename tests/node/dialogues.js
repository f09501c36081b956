// Servers that close whoever does not speak their protocol: `node dialogues.js PORT socket.io|graphql-ws|mqtt`. Pings every 2 s.
"use strict";
const http = require("node:http");
const [port, kind] = [Number(process.argv[2]), process.argv[3]];
const server = http.createServer();
if (kind === "socket.io") {
  const { Server } = require("socket.io");
  const io = new Server(server, { pingInterval: 2000, pingTimeout: 2000, connectTimeout: 2000 });
  io.on("connection", (socket) => socket.on("ask", (answer) => answer("told")));
  process.on("SIGTERM", () => io.close(() => process.exit(0)));
} else if (kind === "mqtt") {
  const { WebSocketServer, createWebSocketStream } = require("ws");
  const { Aedes } = require("aedes");
  const wss = new WebSocketServer({ server, handleProtocols: (offered) => (offered.has("mqtt") ? "mqtt" : false) });
  Aedes.createBroker({ connectTimeout: 2000 }).then((aedes) => {
    wss.on("connection", (socket, request) => aedes.handle(createWebSocketStream(socket), request));
    // Rooms count their messages.
    let seq = 0;
    setInterval(() => aedes.publish({ topic: "room/1", qos: 0, payload: JSON.stringify({ seq: ++seq }) }, () => {}), 2000);
  });
  process.on("SIGTERM", () => {
    for (const socket of wss.clients) socket.close(1001);
    setTimeout(() => process.exit(0), 300);
  });
} else {
  const { WebSocketServer } = require("ws");
  const { useServer } = require("graphql-ws/use/ws");
  const { buildSchema } = require("graphql");
  const wss = new WebSocketServer({ server });
  const schema = buildSchema("type Query { told: Int }");
  const served = useServer({ schema, roots: { query: { told: 7 } }, connectionInitWaitTimeout: 2000 }, wss, 2000);
  process.on("SIGTERM", async () => {
    await served.dispose();
    process.exit(0);
  });
}
server.listen(port, "127.0.0.1", 1024);
