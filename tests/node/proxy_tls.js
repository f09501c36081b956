// TLS through `closestorm proxy`, seen by Node at both ends: servers and clients of `ws` and of plain `net` and `tls`.
//
//   node proxy_tls.js CERTIFICATE KEY
//
// It prints its ports, a JSON line, and reads one: where the proxies are to which the clients go. At the end it prints "ok".
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const readline = require('node:readline');
const tls = require('node:tls');
const { once } = require('node:events');
const { WebSocket, WebSocketServer } = require('ws');

const [cert, key] = process.argv.slice(2).map((file) => fs.readFileSync(file));

/** The TCP socket below TLS, which alone can be reset. */
const below = (socket) => socket._parent ?? socket;

/** A client's socket, with TLS over a TCP socket of its own. */
function connect(port, secure) {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  return secure ? tls.connect({ socket, servername: 'localhost', ca: cert, allowHalfOpen: true }) : socket;
}

/** A server on a free port. */
async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/** An echo server of `ws`, with what it was told of each connection, in order. */
function webSockets(server) {
  const told = [];
  new WebSocketServer({ server }).on('connection', (socket, request) => {
    const one = { sni: request.socket.servername, messages: 0 };
    one.ended = new Promise((done) => socket.on('close', (code, reason) => done(`${code} ${reason}`.trim())));
    told.push(one);
    socket.on('message', (message, binary) => {
      one.messages += 1;
      socket.send(message, { binary });
    });
    if (request.url === '/cut') setTimeout(() => socket.terminate(), 100);
    if (request.url === '/close') setTimeout(() => socket.close(4002, 'enough'), 100);
  });
  return told;
}

/** Connections of a plain server, in order. */
function ends(server, event) {
  const waiting = [];
  const came = [];
  server.on(event, (socket) => (waiting.length ? waiting.shift()(socket) : came.push(socket)));
  return () => (came.length ? Promise.resolve(came.shift()) : new Promise((done) => waiting.push(done)));
}

/** What came until the other side ended, or how it was cut off. */
function toEnd(socket) {
  let text = '';
  socket.setEncoding('utf8');
  socket.on('data', (data) => { text += data; });
  return new Promise((done) => {
    socket.on('end', () => done(text));
    socket.on('error', (error) => done(error.code));
  });
}

async function frames(api) {
  const answer = await fetch(`http://${api}/v1/connections`);
  const [connection] = await answer.json();
  return { speaks: connection.speaks, up: connection.up.frames, down: connection.down.frames };
}

/** Messages, pings, codes both ways and a cut, through a proxy before the server that told this. */
async function checkWebSockets({ proxy, api, secure }, told, sni) {
  const url = `${secure ? 'wss' : 'ws'}://localhost:${proxy.split(':').pop()}`;
  const socket = new WebSocket(url, { ca: cert });
  await once(socket, 'open');
  const large = Buffer.alloc(3 << 20, 'large');
  for (const message of ['a', 'b', 'c', large]) {
    socket.send(message);
    const [back] = await once(socket, 'message');
    assert.ok(Buffer.from(message).equals(back));
  }
  socket.ping('p');
  const [pong] = await once(socket, 'pong');
  assert.strictEqual(pong.toString(), 'p');
  assert.deepStrictEqual(await frames(api), { speaks: 'websocket', up: { text: 3, binary: 1, ping: 1 }, down: { text: 3, binary: 1, pong: 1 } });
  socket.close(4001, 'bye');
  assert.strictEqual((await once(socket, 'close'))[0], 4001);
  const first = told.shift();
  assert.deepStrictEqual([await first.ended, first.messages, first.sni], ['4001 bye', 4, sni]);
  for (const [path, code] of [['/cut', 1006], ['/close', 4002]]) {
    const one = new WebSocket(url + path, { ca: cert });
    assert.strictEqual((await once(one, 'close'))[0], code);
    assert.strictEqual((await told.shift().ended).split(' ')[0], String(code));
  }
  const port = Number(proxy.split(':').pop());
  const reset = new WebSocket(url, { createConnection: () => connect(port, secure) });
  await once(reset, 'open');
  reset.on('error', () => {});
  below(reset._socket).resetAndDestroy();
  assert.strictEqual(await told.shift().ended, '1006');
}

/** A half-close from either side and a reset from either side, through a proxy before the server that this waits for. */
async function checkEnds({ proxy, secure }, next) {
  const port = Number(proxy.split(':').pop());
  const pair = async () => {
    const near = connect(port, secure);
    const far = await next();
    if (secure && !near.authorized) await once(near, 'secureConnect');
    return [near, far];
  };
  for (const order of [(pair) => pair, ([near, far]) => [far, near]]) {
    const [first, second] = order(await pair());
    const [answer, question] = [toEnd(first), toEnd(second)];
    first.end('question');
    assert.strictEqual(await question, 'question');
    second.write('answer, ');
    await new Promise((done) => setTimeout(done, 20));
    second.end('and more');
    assert.strictEqual(await answer, 'answer, and more');
  }
  for (const order of [(pair) => pair, ([near, far]) => [far, near]]) {
    const [first, second] = order(await pair());
    first.on('error', () => {});
    first.write('x');
    await once(second, 'data');
    const ended = toEnd(second);
    below(first).resetAndDestroy();
    assert.strictEqual(await ended, 'ECONNRESET');
  }
}

async function main() {
  const plain = http.createServer();
  const secure = https.createServer({ cert, key });
  const told = { plain: webSockets(plain), secure: webSockets(secure) };
  const [netServer, tlsServer] = [net.createServer({ allowHalfOpen: true }), tls.createServer({ cert, key, allowHalfOpen: true })];
  const next = { plain: ends(netServer, 'connection'), secure: ends(tlsServer, 'secureConnection') };
  const ports = { ws: await listen(plain), wss: await listen(secure), tcp: await listen(netServer), tls: await listen(tlsServer) };
  console.log(JSON.stringify(ports));
  const [line] = await once(readline.createInterface({ input: process.stdin }), 'line');
  const proxies = JSON.parse(line);
  for (const [upstream, sni] of [['plain', undefined], ['secure', 'localhost']]) {
    for (const near of ['plain', 'secure']) {
      const to = proxies[`${near}_to_${upstream}`];
      await checkWebSockets(to.ws, told[upstream], sni);
      await checkEnds(to.tcp, next[upstream]);
    }
  }
  console.log('ok');
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
