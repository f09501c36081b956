// Servers that close whoever does not speak their protocol: `node dialogues.js PORT socket.io|graphql-ws`. Pings every 2 s.
"use strict";
const http = require("node:http");
const [port, kind] = [Number(process.argv[2]), process.argv[3]];
const server = http.createServer();
if (kind === "socket.io") {
  const { Server } = require("socket.io");
  const io = new Server(server, { pingInterval: 2000, pingTimeout: 2000, connectTimeout: 2000 });
  io.on("connection", (socket) => socket.on("ask", (answer) => answer("told")));
  process.on("SIGTERM", () => io.close(() => process.exit(0)));
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
