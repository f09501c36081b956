// Servers that close whoever does not speak their protocol: `node dialogues.js PORT socket.io|graphql-ws|mqtt|mqtt5`. Pings every 2 s.
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
} else if (kind === "mqtt5") {
  // aedes has no version 5: a broker of one client, on the packets of mqtt.js.
  const { WebSocketServer } = require("ws");
  const { parser, generate } = require("mqtt-packet");
  const five = { protocolVersion: 5 };
  const wss = new WebSocketServer({ server, handleProtocols: (offered) => (offered.has("mqtt") ? "mqtt" : false) });
  wss.on("connection", (socket) => {
    const late = setTimeout(() => socket.close(1002), 2000);
    const reader = parser(five);
    const send = (packet) => socket.send(generate(packet, five));
    const answers = {
      connect: () => {
        clearTimeout(late);
        send({ cmd: "connack", reasonCode: 0, sessionPresent: false, properties: { receiveMaximum: 10, assignedClientIdentifier: "a" } });
      },
      subscribe: ({ messageId }) => {
        send({ cmd: "suback", messageId, granted: [1], properties: { reasonString: "told" } });
        send({ cmd: "publish", topic: "room/1", qos: 1, messageId: 9, payload: "{}", properties: { contentType: "json" } });
      },
      publish: ({ messageId }) => send({ cmd: "puback", messageId, reasonCode: 16 }),
      pingreq: () => send({ cmd: "pingresp" }),
    };
    reader.on("packet", (packet) => answers[packet.cmd]?.(packet));
    reader.on("error", () => socket.close(1002));
    socket.on("message", (bytes) => reader.parse(bytes));
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
