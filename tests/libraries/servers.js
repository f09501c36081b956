// As much of each protocol as makes its library ready: what a server says when a WebSocket is open, and in answer to a message.
const json = value => JSON.stringify(value);

const acknowledges = {
  message(socket, payload, frame) {
    if (JSON.parse(payload).type === 'connection_init') socket.write(frame(json({ type: 'connection_ack' })));
  },
};
const page = (body, type) => `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;

module.exports = {
  ably: {
    // Its check of the internet, without which an attempt ends after 4 s.
    api: response => response.end('yes\n'),
    open(socket, frame) {
      const connectionDetails = { clientId: null, connectionKey: 'k', maxMessageSize: 65536, maxIdleInterval: 15000, connectionStateTtl: 120000, serverId: 's' };
      socket.write(frame(json({ action: 4, connectionId: 'c', connectionDetails })));
    },
  },
  actioncable: {
    open(socket, frame) {
      socket.write(frame(json({ type: 'welcome' })));
      const pings = setInterval(() => socket.write(frame(json({ type: 'ping', message: 1 }))), 3000);
      socket.on('close', () => clearInterval(pings));
    },
  },
  apollo: acknowledges,
  centrifuge: {
    message(socket, payload, frame) {
      for (const line of payload.toString().split('\n').filter(Boolean)) {
        const { id, connect } = JSON.parse(line);
        if (connect) socket.write(frame(json({ id, connect: { client: 'c', version: 'v', ping: 25, pong: true } })));
      }
    },
  },
  discord: {
    open: (socket, frame) => socket.write(frame(json({ op: 10, d: { heartbeat_interval: 41250 } }))),
    message(socket, payload, frame) {
      const d = { v: 10, session_id: 's', resume_gateway_url: 'ws://127.0.0.1', user: {}, guilds: [], application: {} };
      const { op } = JSON.parse(payload);
      if (op === 2) socket.write(frame(json({ op: 0, s: 1, t: 'READY', d })));
      if (op === 6) socket.write(frame(json({ op: 0, s: 2, t: 'RESUMED', d: {} })));
    },
  },
  'graphql-ws': acknowledges,
  'graphql-ws-retry-all': acknowledges,
  grpc: {
    raw(socket) {
      module.exports.grpc.server ??= require('node:http2').createServer();
      module.exports.grpc.server.emit('connection', socket);
    },
  },
  // CONNACK.
  mqtt: {
    message(socket, payload, frame) {
      if (payload[0] >> 4 === 1 && !socket.acknowledged) socket.write(frame(Buffer.from([0x20, 2, 0, 0]), 2));
      socket.acknowledged = true;
    },
  },
  nats: {
    ignoresProtocol: true,
    open(socket, frame) {
      const info = { server_id: 'S', version: '2.10.0', host: '127.0.0.1', port: 4222, headers: true, max_payload: 1048576, proto: 1, client_id: 1 };
      socket.write(frame(`INFO ${json(info)}\r\n`, 2));
    },
    message: (socket, payload, frame) => payload.includes('PING') && socket.write(frame('PONG\r\n', 2)),
  },
  pusher: {
    open(socket, frame) {
      const data = json({ socket_id: '1.1', activity_timeout: 120 });
      socket.write(frame(json({ event: 'pusher:connection_established', data })));
    },
  },
  signalr: { message: (socket, payload, frame) => payload.includes('"protocol"') && socket.write(frame('{}\x1e')) },
  slack: {
    api(response, port) {
      response.setHeader('content-type', 'application/json');
      response.end(json({ ok: true, url: `ws://127.0.0.1:${port}/` }));
    },
    open: (socket, frame) => socket.write(frame(json({ type: 'hello' }))),
  },
  // Its HTTP endpoint goes away with the rest.
  'slack-http-down': {
    request: socket => socket.end(page(json({ ok: true, url: `ws://127.0.0.1:${socket.localPort}/` }), 'application/json')),
    open: (socket, frame) => socket.write(frame(json({ type: 'hello' }))),
  },
  'socket.io': {
    open: (socket, frame) => socket.write(frame(`0${json({ sid: 'a', upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 100000 })}`)),
    message: (socket, payload, frame) => payload.toString() === '40' && socket.write(frame(`40${json({ sid: 'b' })}`)),
  },
  sockjs: {
    request: socket => socket.end(page(json({ websocket: true, origins: ['*:*'], cookie_needed: false, entropy: 1 }), 'application/json')),
    open: (socket, frame) => socket.write(frame('o')),
  },
  gql: acknowledges,
  'python-socketio': {
    open: (socket, frame) => socket.write(frame(`0${json({ sid: 'a', upgrades: [], pingInterval: 25000, pingTimeout: 20000, maxPayload: 100000 })}`)),
    message: (socket, payload, frame) => payload.toString().startsWith('40') && socket.write(frame(`40${json({ sid: 'b' })}`)),
  },
  stompjs: {
    message: (socket, payload, frame) => payload.toString().startsWith('CONNECT') && socket.write(frame('CONNECTED\nversion:1.2\nheart-beat:0,0\n\n\0')),
  },
  'subscriptions-transport-ws': acknowledges,
  // The second step of a sync of an empty document, in answer to the first.
  'y-websocket': { message: (socket, payload, frame) => payload[0] === 0 && payload[1] === 0 && socket.write(frame(Buffer.from([0, 1, 2, 0, 0]), 2)) },
};
