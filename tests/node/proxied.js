// Client libraries that reconnect, through `closestorm proxy` to servers of their protocol: what each tells its user when its connection is cut,
// beside what the proxy's events say of it.
//
//   node proxied.js API        with the address of the control API of a proxy that tells clients apart by query:user
//
// Each library has a proxy of its own and is cut in turn by FIN, by RST, by a status code of its server, and by silence. It prints a JSON line
// for each: what the library told, and how the proxy saw it. Then "ok".
'use strict';
const assert = require('node:assert');
const http = require('node:http');
const { once } = require('node:events');
const { WebSocket, WebSocketServer } = require('ws');

const [api] = process.argv.slice(2);
/** Closes all connections of a library's server. */
const closers = {};

async function ask(method, path, body) {
  const answer = await fetch(`http://${api}${path}`, { method, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  const text = await answer.text();
  return text && JSON.parse(text);
}

/** Events of the proxy as they come, by the identity of the client. */
async function follow(seen) {
  const answer = await fetch(`http://${api}/v1/events`);
  const decoder = new TextDecoder();
  let text = '';
  let begun;
  const first = new Promise((done) => { begun = done; });
  (async () => {
    for await (const chunk of answer.body) {
      text += decoder.decode(chunk, { stream: true });
      begun();
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const lines = text.slice(0, end).split('\n');
        text = text.slice(end + 2);
        const of = (name) => lines.find((line) => line.startsWith(name))?.slice(name.length);
        const data = of('data: ') && JSON.parse(of('data: '));
        assert.notStrictEqual(of('event: '), 'missed');
        if (data?.identity) seen(data.identity, { event: of('event: '), ...data });
      }
    }
  })().catch(() => {});
  await first;
}

async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/** A server of `ws`; `talk` says what it does on a connection. */
function plain(name, talk, options) {
  const server = http.createServer();
  const sockets = new WebSocketServer({ server, ...options });
  if (talk) sockets.on('connection', talk);
  closers[name] = (code, reason) => sockets.clients.forEach((socket) => socket.close(code, reason));
  return listen(server);
}

const servers = {
  'reconnecting-websocket': () => plain('reconnecting-websocket'),
  partysocket: () => plain('partysocket'),
  'graphql-ws': () => {
    const { useServer } = require('graphql-ws/use/ws');
    const { buildSchema } = require('graphql');
    const server = http.createServer();
    const sockets = new WebSocketServer({ server, path: '/graphql' });
    const schema = buildSchema('type Query { a: Int } type Subscription { a: Int }');
    useServer({ schema, roots: { subscription: { async *a() { yield { a: 1 }; await new Promise(() => {}); } } } }, sockets);
    closers['graphql-ws'] = (code, reason) => sockets.clients.forEach((socket) => socket.close(code, reason));
    return listen(server);
  },
  'socket.io': () => {
    const { Server } = require('socket.io');
    const server = http.createServer();
    const io = new Server(server, { pingInterval: 300, pingTimeout: 300 });
    closers['socket.io'] = (code, reason) => {
      for (const socket of io.sockets.sockets.values()) socket.conn.transport.socket.close(code, reason);
    };
    return listen(server);
  },
  // As much of a server of Phoenix channels as its client needs: joins and heartbeats are answered.
  phoenix: () => plain('phoenix', (socket) => socket.on('message', (message) => {
    const [join, ref, topic] = JSON.parse(message);
    socket.send(JSON.stringify([join, ref, topic, 'phx_reply', { status: 'ok', response: {} }]));
  })),
};

/** Starts a client that tells `open` and `close`, with what its user is told. */
const clients = {
  'reconnecting-websocket'(address, tell) {
    const ReconnectingWebSocket = require('reconnecting-websocket');
    const options = { WebSocket, minReconnectionDelay: 100, maxReconnectionDelay: 100, minUptime: 1 };
    const socket = new ReconnectingWebSocket(`ws://${address}/?user=reconnecting-websocket`, [], options);
    socket.addEventListener('open', () => tell('open'));
    socket.addEventListener('close', ({ code, reason }) => tell('close', `${code} ${reason}`.trim()));
  },
  partysocket(address, tell) {
    const PartyWebSocket = require('partysocket/ws').default;
    const options = { WebSocket, minReconnectionDelay: 100, maxReconnectionDelay: 100, minUptime: 1 };
    const socket = new PartyWebSocket(`ws://${address}/?user=partysocket`, [], options);
    socket.addEventListener('open', () => tell('open'));
    socket.addEventListener('close', ({ code, reason }) => tell('close', `${code} ${reason}`.trim()));
  },
  'graphql-ws'(address, tell) {
    const { createClient } = require('graphql-ws');
    const retryWait = () => new Promise((done) => setTimeout(done, 100));
    let pong;
    const client = createClient({
      url: `ws://${address}/graphql?user=graphql-ws`,
      webSocketImpl: WebSocket,
      retryAttempts: 100,
      shouldRetry: () => true,
      retryWait,
      keepAlive: 300,
      on: {
        connected: () => tell('open'),
        closed: ({ code, reason }) => tell('close', `${code} ${reason}`.trim()),
        // As its documentation has it: a pong that does not come in time ends the connection.
        ping: (received) => { if (!received) pong = setTimeout(() => client.terminate(), 300); },
        pong: (received) => { if (received) clearTimeout(pong); },
      },
    });
    client.subscribe({ query: 'subscription { a }' }, { next() {}, error() {}, complete() {} });
  },
  'socket.io'(address, tell) {
    const { io } = require('socket.io-client');
    const socket = io(`http://${address}`, { transports: ['websocket'], query: { user: 'socket.io' }, reconnectionDelay: 100, randomizationFactor: 0 });
    socket.on('connect', () => tell('open'));
    // Its details hold the close event of the WebSocket, where there was one.
    socket.on('disconnect', (reason, details) => tell('close', `${reason}: ${details?.context?.code ?? details?.description ?? ''}`));
  },
  phoenix(address, tell) {
    const { Socket } = require('phoenix');
    const options = { transport: WebSocket, params: { user: 'phoenix' }, reconnectAfterMs: () => 100, heartbeatIntervalMs: 300 };
    const socket = new Socket(`ws://${address}/socket`, options);
    socket.onOpen(() => tell('open'));
    socket.onClose(({ code, reason }) => tell('close', `${code} ${reason}`.trim()));
    socket.connect();
  },
};

/** Waits for what is told, in order. */
class Told {
  constructor() {
    this.came = [];
    this.waiting = null;
  }

  add(what) {
    this.came.push(what);
    this.waiting?.();
  }

  async next(holds) {
    for (;;) {
      const at = this.came.findIndex(holds);
      if (at >= 0) return this.came.splice(0, at + 1).at(-1);
      await new Promise((done) => { this.waiting = done; });
    }
  }
}

/** How a library is cut. Whoever does not notice silence hears of its end when the fault is gone. */
const ways = {
  fin: (name, id) => ask('DELETE', `/v1/connections/${name}/${id}`),
  rst: (name, id) => ask('DELETE', `/v1/connections/${name}/${id}?end=rst`),
  code: (name) => closers[name](4001, 'enough'),
  silence: async (name) => {
    await ask('POST', '/v1/faults', { name: `silence-${name}`, proxy: name, inject: { partition: { on_revert: 'close' } } });
    await new Promise((done) => setTimeout(done, 1500));
    await ask('DELETE', `/v1/faults/silence-${name}`);
  },
};

async function check(name, events) {
  const told = new Told();
  const port = await servers[name]();
  const { listen: address } = await ask('POST', '/proxies', { name, listen: '127.0.0.1:0', upstream: `127.0.0.1:${port}` });
  clients[name](address, (what, detail) => told.add({ what, detail }));
  for (const way of Object.keys(ways)) {
    const opened = await events.next(({ event }) => event === 'opened');
    await told.next(({ what }) => what === 'open');
    // Some that hear nothing end the connection themselves, the others are cut when the silence is over.
    const [, closed, { detail }] = await Promise.all([
      ways[way](name, opened.connection),
      events.next(({ event, connection }) => event === 'closed' && connection === opened.connection),
      told.next(({ what }) => what === 'close'),
    ]);
    console.log(JSON.stringify({ name, way, told: detail, by: closed.by, how: closed.how, client: closed.client_side.close_code ?? null, server: closed.server_side.close_code ?? null }));
  }
  await told.next(({ what }) => what === 'open');
}

async function main() {
  const events = Object.fromEntries(Object.keys(clients).map((name) => [name, new Told()]));
  await follow((name, event) => events[name]?.add(event));
  for (const name of Object.keys(clients)) await check(name, events[name]);
  console.log('ok');
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
